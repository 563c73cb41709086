import { once } from 'node:events';
import type { Socket } from 'node:dgram';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Address } from '../../src/ip/address.ts';
import { mostFlowsOf } from '../../src/relay/flow-table.ts';
import type { Listener, ListenerKey, RelayEndpoint, RelayPool } from '../../src/relay/relay.ts';
import { Stage, eventually, listener, local, ownNetwork, poolOf } from './stage.ts';

/** A client's datagrams to one endpoint, and its answers. */
describe.skipIf(!ownNetwork)('UDP', () => {
  let stage: Stage;

  beforeEach(() => {
    stage = new Stage({ workers: 3 });
  });

  afterEach(async () => {
    await stage.close();
  });

  const named = async (name: string): Promise<RelayEndpoint> => stage.udpEndpoint(() => name);

  it('answers from the address that was asked, a flow for each port of a client', async () => {
    const sources = new Set<number>();
    const to = dns([
      await stage.udpEndpoint((bytes, from) => {
        sources.add(from.port);
        return `echo ${bytes.toString()}`;
      }),
    ]);
    expect(await stage.open(to)).toEqual([]);
    const [one, two] = [await stage.udpSocket(), await stage.udpSocket()];
    for (const word of ['a', 'b', 'c']) {
      for (const socket of [one, two]) {
        expect(await ask(socket, to, word)).toEqual({
          text: `echo ${word}`,
          from: `127.0.0.1:${to.port}`,
        });
      }
    }
    expect(sources.size).toBe(2);
    expect(stage.stats('dns')).toMatchObject({
      connections: 2,
      active: 2,
      bytesIn: 6,
      bytesOut: 36,
    });
  });

  it('carries the longest datagram whole', async () => {
    const longest = Buffer.alloc(65_507, 'l');
    const to = dns([await stage.udpEndpoint((bytes) => bytes)]);
    await stage.open(to);
    const { text } = await ask(await stage.udpSocket(), to, longest);
    expect(text).toHaveLength(longest.length);
  });

  it('shares flows out in turn, and ends them when they are idle', async () => {
    const to = dns([await named('a'), await named('b')], { udpIdleMs: 100 });
    await stage.open(to);
    const socket = await stage.udpSocket();
    const first = await ask(socket, to);
    await eventually(() => stage.stats('dns').active === 0);
    // Another listener's flow, which may be idle for long, holds nothing up.
    const patient = {
      ...dns([await named('c')], { udpIdleMs: 1_000_000 }),
      key: 'patient' as ListenerKey,
    };
    await stage.open(patient);
    await ask(socket, patient);
    const second = await ask(socket, to);
    await eventually(() => stage.stats('dns').active === 0);
    expect(stage.stats('patient').active).toBe(1);
    expect([first.text, second.text].toSorted()).toEqual(['a', 'b']);
  });

  it('keeps a client with its endpoint from flow to flow, where affinity is asked for', async () => {
    const to = dns([await named('a'), await named('b'), await named('c')], { affinitySeconds: 60 });
    await stage.open(to);
    const answers = new Set<string>();
    for (let i = 0; i < 9; i++) answers.add((await ask(await stage.udpSocket(), to)).text);
    expect(answers.size).toBe(1);
    expect(stage.stats('dns').connections).toBe(9);
  });

  it('moves a flow whose endpoint refuses to the next, with the next datagram', async () => {
    const nobody: RelayEndpoint = { address: '127.9.9.9' as Address, port: 9, weight: 1 };
    const to = dns([nobody, await named('a')]);
    await stage.open(to);
    const socket = await stage.udpSocket();
    let answer = '';
    socket.on('message', (bytes) => (answer = bytes.toString()));
    await eventually(() => {
      socket.send('who?', to.port, to.address);
      return answer === 'a';
    });
    const other = await stage.udpSocket();
    other.on('message', (bytes) => (answer = `other ${bytes.toString()}`));
    await eventually(() => {
      other.send('who?', to.port, to.address);
      return answer === 'other a';
    });
    await eventually(() => stage.stats('dns').dialFailures.refused > 0);
    expect(stage.stats('dns')).toMatchObject({ active: 2, connections: 2 });
    expect(stage.stats('dns').retries).toBeGreaterThan(0);
  });

  it('ends flows to an endpoint that has left at once', async () => {
    const [a, b] = [await named('a'), await named('b')];
    const to = dns([a]);
    await stage.open(to);
    const socket = await stage.udpSocket();
    expect((await ask(socket, to)).text).toBe('a');
    await stage.open({ ...to, routes: [{ sources: undefined, to: poolOf([b]) }] });
    expect(stage.stats('dns').active).toBe(0);
    expect((await ask(socket, to)).text).toBe('b');
    expect(stage.stats('dns')).toMatchObject({ active: 1, connections: 2 });
  });

  it('gives up the flow that has been idle longest where a listener has half of those that its files allow', async () => {
    // A quarter of them is kept for what the process does besides, and a quarter of the others for flows.
    await stage.close();
    stage = new Stage({ workers: 1, files: 400 });
    const most = Math.floor(mostFlowsOf(300, 1) / 2);
    expect(most).toBe(37);
    const to = dns([await stage.udpEndpoint(() => 'a')], { udpIdleMs: 1_000_000 });
    await stage.open(to);
    const sockets = [];
    for (let i = 0; i < most; i++) sockets.push(await stage.udpSocket());
    const [first, second] = sockets;
    if (first === undefined || second === undefined) throw new Error('no sockets');
    for (const socket of sockets) await ask(socket, to);
    await ask(first, to);
    expect(stage.stats('dns')).toMatchObject({ active: most, evicted: 0 });
    await ask(await stage.udpSocket(), to);
    expect(stage.stats('dns')).toMatchObject({ active: most, evicted: 1 });
    const { connections } = stage.stats('dns');
    await ask(first, to);
    expect(stage.stats('dns').connections).toBe(connections);
    await ask(second, to);
    expect(stage.stats('dns').connections).toBe(connections + 1);
  });

  it('ignores datagrams before it is admitted, and after it is closed', async () => {
    const to = dns([await named('a')]);
    await stage.relay.change({ close: [], open: [to] });
    const socket = await stage.udpSocket();
    const heard: string[] = [];
    socket.on('message', (bytes) => heard.push(bytes.toString()));
    socket.send('too early', to.port, to.address);
    await stage.relay.admit([to.key]);
    await eventually(() => {
      socket.send('who?', to.port, to.address);
      return heard.length > 0;
    });
    await stage.relay.change({ close: [to.key], open: [] });
    await eventually(() => stage.relay.stats().size === 0);
    expect(await stage.open({ ...to, key: 'next' as ListenerKey })).toEqual([]);
  });

  it('names a place that is taken', async () => {
    const taken = await stage.udpSocket();
    const failures = await stage.open({ ...dns([await named('a')]), port: taken.address().port });
    expect(failures).toMatchObject([{ key: 'dns', code: 'EADDRINUSE' }]);
  });

  it('speaks IPv6', async () => {
    const loopback = '::1' as Address;
    const echo = await stage.udpEndpoint((bytes) => bytes, loopback);
    const to = { ...dns([echo]), address: loopback };
    expect(await stage.open(to)).toEqual([]);
    const answer = await ask(await stage.udpSocket(loopback), to, 'six');
    expect(answer).toEqual({ text: 'six', from: `::1:${to.port}` });
    expect(local).toBe('127.0.0.1');
  });
});

function dns(endpoints: readonly RelayEndpoint[], pool: Partial<RelayPool> = {}): Listener {
  return listener('dns', endpoints, pool, { protocol: 'UDP' });
}

/** Sends a datagram; answers what comes back, and from where. */
async function ask(
  socket: Socket,
  to: Listener,
  bytes: string | Uint8Array = 'who?',
): Promise<{ readonly text: string; readonly from: string }> {
  const answered = once(socket, 'message', { signal: AbortSignal.timeout(10_000) });
  socket.send(bytes, to.port, to.address);
  const [reply, from] = (await answered) as [Buffer, { address: string; port: number }];
  return { text: reply.toString('latin1'), from: `${from.address}:${from.port}` };
}
