import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Stage, eventually, listener, ownNetwork } from './stage.ts';

/** What a client and an endpoint see of each other through a TCP listener. */
describe.skipIf(!ownNetwork).each(['handles', 'sockets'] as const)('TCP by %s', (wires) => {
  let stage: Stage;

  beforeEach(() => {
    stage = new Stage({ wires });
  });

  afterEach(async () => {
    await stage.close();
  });

  /** A client and its endpoint's socket, joined by the relay. */
  async function joined() {
    const accepted: Socket[] = [];
    const web = listener('web', [await stage.endpoint((socket) => accepted.push(socket))]);
    expect(await stage.open(web)).toEqual([]);
    const client = await stage.client(web);
    const server = await eventually(() => accepted[0] ?? false);
    return { web, client, server, accepted };
  }

  it('carries bytes both ways', async () => {
    const { client, server } = await joined();
    server.on('data', (chunk: Buffer) => server.write(`you said ${chunk.toString()}`));
    client.read().socket.write('hello');
    await eventually(() => client.text === 'you said hello');
    expect(stage.stats('web')).toMatchObject({
      connections: 1,
      active: 1,
      bytesIn: 5,
      bytesOut: 14,
    });
    client.socket.end();
    server.end();
    await eventually(() => stage.stats('web').active === 0);
  });

  it('passes the end of what the client sends on, and goes on the other way', async () => {
    const { client, server } = await joined();
    let heard = '';
    server.on('data', (chunk: Buffer) => (heard += chunk.toString()));
    client.socket.end('question');
    await once(server, 'end');
    expect(heard).toBe('question');
    server.write('late ');
    server.end('answer');
    expect(await client.whole()).toBe('late answer');
    await eventually(() => stage.stats('web').active === 0);
  });

  it('passes the end of what the endpoint sends on, and goes on the other way', async () => {
    const { client, server } = await joined();
    let heard = '';
    server.on('data', (chunk: Buffer) => (heard += chunk.toString()));
    server.end('bye');
    client.read();
    await eventually(() => client.isEnded);
    expect(client.text).toBe('bye');
    for (const word of ['still ', 'here']) {
      client.socket.write(word);
      await turn();
    }
    await eventually(() => heard === 'still here');
    client.socket.end();
    await eventually(() => stage.stats('web').active === 0);
  });

  it('loses nothing that was sent before an end', async () => {
    const { client, server } = await joined();
    const bytes = Buffer.alloc(32 * 2 ** 20, 'x');
    server.end(bytes);
    server.resume();
    client.socket.end(bytes);
    let heard = 0;
    server.on('data', (chunk: Buffer) => (heard += chunk.length));
    await client.whole();
    expect(client.bytes).toBe(bytes.length);
    await eventually(() => heard === bytes.length);
    await eventually(() => stage.stats('web').active === 0);
    expect(stage.stats('web')).toMatchObject({ bytesIn: bytes.length, bytesOut: bytes.length });
  });

  it.each(['before', 'after'] as const)(
    'passes a reset by the client on, %s the endpoint has ended',
    async (when) => {
      const { client, server } = await joined();
      server.resume();
      let error = '';
      server.on('error', (met: NodeJS.ErrnoException) => (error = met.code ?? ''));
      if (when === 'after') {
        server.end('bye');
        client.read();
        await eventually(() => client.isEnded);
      }
      client.socket.resetAndDestroy();
      await eventually(() => error !== '');
      expect(error).toBe('ECONNRESET');
      await eventually(() => stage.stats('web').active === 0);
    },
  );

  it.each(['before', 'after'] as const)(
    'passes a reset by the endpoint on, %s the client has ended',
    async (when) => {
      const { client, server } = await joined();
      client.read();
      // An endpoint that resets before the relay knows of it has not answered: another dial follows.
      server.write('hello');
      await eventually(() => client.text === 'hello');
      if (when === 'after') {
        client.socket.end('that is all');
        server.resume();
        await once(server, 'end');
      }
      server.resetAndDestroy();
      await eventually(() => client.error !== undefined);
      expect(client.error).toBe('ECONNRESET');
      await eventually(() => stage.stats('web').active === 0);
    },
  );

  // Node's streams drop what they have not read when a write fails.
  it.skipIf(wires === 'sockets')(
    'brings the answer of an endpoint that does not want the rest of the question',
    async () => {
      const { client, server } = await joined();
      const answer = Buffer.alloc(100_000, 'n');
      // More than the relay can hand on, and all of it sent: a client that still writes would not read what came before a reset.
      const question = Buffer.alloc(5 * 2 ** 20);
      await new Promise((resolve) => client.read().socket.write(question, resolve));
      server.write(answer, () => server.destroy());
      await eventually(() => client.error !== undefined || client.isEnded);
      expect(client.bytes).toBe(answer.length);
      await eventually(() => stage.stats('web').active === 0);
    },
  );

  it('stops the sender of what is not read: memory stays, and all arrives in the end', async () => {
    const { client, server } = await joined();
    const chunk = Buffer.alloc(2 ** 20, 'z');
    const total = 2 ** 30;
    let sent = 0;
    const send = (): void => {
      while (sent < total) {
        sent += chunk.length;
        if (!server.write(chunk)) {
          server.once('drain', send);
          return;
        }
      }
      server.end();
    };
    const before = process.memoryUsage().rss;
    send();
    // It stands still when it has not moved for many turns of the loop.
    let last = -1;
    await eventually(async () => {
      const isStill = last === sent;
      last = sent;
      await new Promise((resolve) => setTimeout(resolve, 200));
      return isStill;
    });
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    process.stdout.write(
      `${wires}: ${(sent / 2 ** 20).toFixed(0)} MiB sent to a stalled reader, memory grew by ${grown.toFixed(0)} MiB\n`,
    );
    expect(sent).toBeLessThan(total / 4);
    expect(grown).toBeLessThan(64);
    await client.whole();
    expect(client.bytes).toBe(total);
  });
});
