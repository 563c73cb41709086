// Holds idle connections to a port, and their other ends. usage: node idle.ts PORT ENDPOINT-PORT COUNT; says `ready`, ends with its input.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import process from 'node:process';

const [port = 0, endpointPort = 0, count = 0] = process.argv.slice(2).map(Number);
let echoes = 0;
const server = createServer((socket) => {
  socket.on('data', (bytes) => socket.write(bytes));
  socket.on('error', () => {});
}).listen({ port: endpointPort, host: '127.0.0.1', backlog: 4096 });
await once(server, 'listening');
process.stdout.write('listens\n');
await once(process.stdin, 'data');
for (let opened = 0; opened < count; opened += 50) {
  const some = Array.from({ length: Math.min(50, count - opened) }, async () => {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write('hello');
    await once(socket, 'data');
    echoes++;
  });
  await Promise.all(some);
}
process.stdout.write(`${echoes}\n`);
process.stdin.on('end', () => process.exit());
process.stdin.resume();
