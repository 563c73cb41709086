// A tunnel ends on both sides, whichever of them ends, is cut off, or says nothing for too long.
import { once } from 'node:events';
import { IncomingMessage } from 'node:http';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { tunnel } from '../../../../../src/kubelet/server/streams/tunnel.ts';
import { until } from '../../../informer/widgets.ts';

/** One connection from its client's end to ours. */
interface Pair {
  readonly far: Socket;
  readonly near: Socket;
}

const servers: Server[] = [];
const sockets: Socket[] = [];

/** The runtime's end of the tunnel, once there is one. */
let runtime: Socket | undefined;
let runtimePort = 0;
let client: Pair;

beforeEach(async () => {
  runtime = undefined;
  runtimePort = await listening((socket) => {
    socket.resume();
    runtime = socket;
  });
  client = await pair();
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) {
    server.close();
    await once(server, 'close');
  }
});

async function listening(taken: (socket: Socket) => void): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    kept(socket);
    taken(socket);
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

function kept(socket: Socket): Socket {
  sockets.push(socket);
  return socket.on('error', () => {});
}

async function pair(): Promise<Pair> {
  let near: Socket | undefined;
  const port = await listening((socket) => void (near = socket));
  const far = kept(connect({ host: '127.0.0.1', port, allowHalfOpen: true }));
  await until('it is accepted', () => near !== undefined);
  if (near === undefined) throw new Error('not accepted');
  return { far, near };
}

/** Whether it has come to its end. */
function opened(idleMs: number, lingerMs = 60_000): () => boolean {
  let isOver = false;
  const { near } = client;
  const request = new IncomingMessage(near);
  request.method = 'POST';
  const url = new URL(`http://127.0.0.1:${runtimePort}/exec/token`);
  const take = () => ({ socket: near, head: Buffer.alloc(0) });
  void tunnel({ url, request, take, idleMs, lingerMs }).then(() => (isOver = true));
  return () => isOver;
}

async function linked(): Promise<Socket> {
  await until('the runtime is spoken to', () => (runtime?.bytesRead ?? 0) > 0);
  if (runtime === undefined) throw new Error('no runtime');
  return runtime;
}

const areGone = (): boolean => client.near.destroyed && client.far.readableEnded;

test('without a byte for so long, the client is let go as well as the runtime', async () => {
  const isOver = opened(30);
  client.far.resume();
  const far = await linked();
  await until('both are gone', () => isOver() && areGone() && far.readableEnded);
  expect(client.near.destroyed).toBe(true);
});

test('a client that does not end after the runtime has ended does not stay', async () => {
  const isOver = opened(30, 30);
  client.far.resume();
  const far = await linked();
  far.end('bye');
  await until('both are gone', () => isOver() && areGone());
  expect(client.far.bytesRead).toBe('bye'.length);
});

test('a runtime that does not end after the client has ended does not stay', async () => {
  const isOver = opened(30);
  client.far.resume();
  await linked();
  client.far.end();
  await until('both are gone', () => isOver() && areGone());
  expect(client.near.destroyed).toBe(true);
});

test('what is cut off on one side is cut off on the other', async () => {
  const isOver = opened(60_000);
  client.far.resume();
  const far = await linked();
  far.resetAndDestroy();
  await until('both are gone', () => isOver() && client.near.destroyed);
  runtime = undefined;
  client = await pair();
  const isNextOver = opened(60_000);
  const next = await linked();
  client.far.resetAndDestroy();
  await until('both are gone', () => isNextOver() && (next.readableEnded || next.destroyed));
  expect(client.near.destroyed).toBe(true);
});

test('a client that went before the runtime answered is nobody’s tunnel', async () => {
  client.near.destroy();
  await once(client.near, 'close');
  const isOver = opened(60_000);
  await until('it is over', isOver);
  expect(client.near.destroyed).toBe(true);
});
