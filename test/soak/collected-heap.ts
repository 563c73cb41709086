// Prints the bytes of heap of a Node process after a collection, by its inspector on the default port of the
// namespace it is run in. usage: node collected-heap.ts
import process from 'node:process';

interface HeapUsage {
  readonly usedSize?: number;
}

const list = await fetch('http://127.0.0.1:9229/json/list');
const [{ webSocketDebuggerUrl }] = (await list.json()) as [{ webSocketDebuggerUrl: string }];
const socket = new WebSocket(webSocketDebuggerUrl);
const answers: ((usage: HeapUsage) => void)[] = [];
socket.addEventListener('message', ({ data }) => {
  answers.shift()?.((JSON.parse(String(data)) as { result: HeapUsage }).result);
});
await new Promise((resolve) => {
  socket.addEventListener('open', resolve);
});
await call('HeapProfiler.collectGarbage');
await call('HeapProfiler.collectGarbage');
process.stdout.write(String((await call('Runtime.getHeapUsage')).usedSize));
socket.close();

async function call(method: string): Promise<HeapUsage> {
  const answer = new Promise<HeapUsage>((resolve) => answers.push(resolve));
  socket.send(JSON.stringify({ id: answers.length, method }));
  return answer;
}
