// A client that does not read a stream holds up who writes it: what is under way is what sockets hold, and all of it comes in the end.
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runtimeWith, ServerLab, upgraded } from '../server-lab.ts';

let lab: ServerLab;

beforeEach(async () => {
  lab = await ServerLab.open();
});

afterEach(async () => {
  await lab.close();
});

const mebibyte = 1024 ** 2;
const whole = 192;

/** A runtime's streaming server that writes as fast as it can; `taken` says how many MiB of it. */
async function writer(): Promise<{ readonly url: string; readonly taken: () => number }> {
  let taken = 0;
  const block = Buffer.alloc(mebibyte);
  const write = async (socket: Socket): Promise<void> => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n');
    for (; taken < whole; taken++) if (!socket.write(block)) await once(socket, 'drain');
    socket.end();
  };
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.resume();
      write(socket).catch(() => {});
    });
  });
  const url = `http://127.0.0.1:${await lab.listening(server)}/stream`;
  return { url, taken: () => taken };
}

/** When nothing was taken for a while. */
async function halted(taken: () => number): Promise<number> {
  for (let last = -1, still = 0; still < 20;) {
    const now = taken();
    still = now === last && now > 0 ? still + 1 : 0;
    last = now;
    await new Promise((resolve) => void setTimeout(resolve, 10));
  }
  return taken();
}

test.each([
  ['exec', '/exec/shop/web/app?command=cat&output=1'],
  ['attach', '/attach/shop/web/app?output=1'],
  ['portForward', '/portForward/shop/web?port=80'],
])('%s', async (call, path) => {
  const { url, taken } = await writer();
  const answer = async (): Promise<object> => Promise.resolve({ url });
  const { port } = await lab.served({}, { runtime: runtimeWith({ [call]: answer }) });
  const socket = await upgraded(port, path);
  socket.pause();
  // Four socket buffers of the kernel's, which may have several MiB each.
  expect(await halted(taken)).toBeLessThan(whole / 2);
  let bytes = 0;
  socket.end();
  for await (const part of socket) bytes += (part as Buffer).length;
  expect(bytes).toBe(whole * mebibyte + 'HTTP/1.1 101 Switching Protocols\r\n\r\n'.length);
});
