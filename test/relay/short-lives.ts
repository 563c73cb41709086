// A program for young.test.ts, started with --expose-gc: makes short connections to itself by handles, has the young generation
// collected after each few, and prints how many bytes of each connection have become old.
import process from 'node:process';
import v8 from 'node:v8';
import { HandleWires } from '../../src/relay/handle-wire.ts';
import { tcpHandles } from '../../src/relay/tcp-handles.ts';
import type { Wire, WireEvents } from '../../src/relay/wire.ts';
import type { Address } from '../../src/ip/address.ts';

const local = '127.0.0.1' as Address;
const port = 9107;
const turns = 60;
const atOnce = 50;

const handles = tcpHandles();
if (handles === undefined) throw new Error('this Node has no handles that are known');
const wires = new HandleWires(handles);

/** Goes when its peer does; `over` is called then. */
function talk(wire: Wire, over: () => void, data: WireEvents['data'] = () => true): void {
  const events: WireEvents = {
    data,
    ended: () => {
      wire.close();
      over();
    },
    failed: over,
    broken: () => {},
    sent: () => {
      wire.resume();
    },
  };
  wire.tell(events);
  wire.resume();
}

/** One connection: says a word, sends its end, and is over when both sides are. */
async function once(): Promise<void> {
  await new Promise<void>((resolve) => {
    const wire = wires.connect({ address: local, port }, () => {
      talk(wire, resolve);
      wire.write(Buffer.from('word'));
      wire.end();
    });
  });
}

function oldBytes(): number {
  const space = v8.getHeapSpaceStatistics().find((each) => each.space_name === 'old_space');
  return space?.space_used_size ?? 0;
}

const { gc } = globalThis as unknown as { gc: (options: { type: 'minor' }) => void };
const stop = await wires.listen({ address: local, port }, false, {
  accepted: (wire) => {
    const echo = (chunk: Uint8Array): boolean => wire.write(chunk);
    talk(wire, () => {}, echo);
  },
  failed: (code) => {
    throw new Error(code);
  },
});
let before = 0;
for (let turn = 0; turn < 2 * turns; turn++) {
  // Node makes much of its own in the first turns.
  if (turn === turns) before = oldBytes();
  await Promise.all(Array.from({ length: atOnce }, once));
  await new Promise(setImmediate);
  gc({ type: 'minor' });
}
process.stdout.write(`${Math.round((oldBytes() - before) / (turns * atOnce))}\n`);
await stop();
