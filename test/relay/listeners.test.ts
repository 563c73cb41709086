import { once } from 'node:events';
import net from 'node:net';
import type { Socket } from 'node:net';
import type { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Address } from '../../src/ip/address.ts';
import type { Cidr } from '../../src/ip/cidr.ts';
import type { ListenFailure, ListenerKey, RelayEndpoint } from '../../src/relay/relay.ts';
import { Stage, eventually, listener, ownNetwork, poolOf } from './stage.ts';

const key = (text: string): ListenerKey => text as ListenerKey;
/** Nobody listens there. */
const nobody: RelayEndpoint = { address: '127.9.9.9' as Address, port: 9, weight: 1 };

/** Which endpoint a client gets, who is refused, and what a change does to those who are connected. */
describe.skipIf(!ownNetwork).each(['handles', 'sockets'] as const)('listeners by %s', (wires) => {
  let stage: Stage;

  beforeEach(() => {
    stage = new Stage({ wires, workers: 3 });
  });

  afterEach(async () => {
    await stage.close();
  });

  async function tally(to: Parameters<Stage['ask']>[0], times: number) {
    const counts: Record<string, number> = {};
    for (let asked = 0; asked < times; asked += 10) {
      const some = Array.from({ length: Math.min(10, times - asked) }, async () => stage.ask(to));
      for (const answer of await Promise.all(some)) counts[answer] = (counts[answer] ?? 0) + 1;
    }
    return counts;
  }

  it('shares connections out exactly by weight, over all workers', async () => {
    const names = ['a', 'b', 'c'];
    const endpoints = await Promise.all(names.map(async (name) => stage.named(name)));
    const [a, b, c] = endpoints as [RelayEndpoint, RelayEndpoint, RelayEndpoint];
    const web = listener('web', [a, { ...b, weight: 3 }, { ...c, weight: 2 }]);
    await stage.open(web);
    expect(await tally(web, 120)).toEqual({ a: 20, b: 60, c: 40 });
    await stage.open({ ...web, routes: [{ sources: undefined, to: poolOf(endpoints) }] });
    expect(await tally(web, 120)).toEqual({ a: 40, b: 40, c: 40 });
    expect(stage.stats('web')).toMatchObject({ connections: 240, retries: 0 });
  });

  it('passes by endpoints that refuse, and counts them', async () => {
    const web = listener('web', [nobody, await stage.named('a')]);
    await stage.open(web);
    expect(await tally(web, 20)).toEqual({ a: 20 });
    const { retries, dialFailures, refused } = stage.stats('web');
    expect(retries).toBeGreaterThan(0);
    expect(dialFailures).toMatchObject({ refused: retries, timeout: 0, files: 0 });
    expect(refused).toBe(0);
  });

  it('resets the client when no endpoint answers, and says why', async () => {
    const web = listener('web', [nobody]);
    await stage.open(web);
    expect(await stage.ask(web)).toBe('ECONNRESET');
    await eventually(() => stage.stats('web').active === 0);
    expect(stage.stats('web')).toMatchObject({
      refused: 1,
      retries: 3,
      dialFailures: { refused: 4 },
    });
    const warned = await eventually(() => stage.log[0] ?? false);
    expect(warned).toMatchObject({
      level: 'warn',
      message: 'no endpoint has answered a client',
      fields: { listener: 'web', tried: Array(4).fill('127.9.9.9:9 refused') },
    });
  });

  it('lets nobody in before it is admitted, nor after it has moved', async () => {
    const web = listener('web', [await stage.named('a')]);
    await stage.relay.change({ close: [], open: [web] });
    expect(await stage.ask(web)).toBe('ECONNRESET');
    await stage.relay.admit([web.key]);
    expect(await stage.ask(web)).toBe('a');
    const moved = { ...web, port: web.port + 5000 };
    await stage.relay.change({ close: [], open: [moved] });
    expect(await stage.ask(moved)).toBe('ECONNRESET');
    expect(await stage.ask(web)).toBe('ECONNREFUSED');
  });

  it('chooses the route by the source, and refuses who fits none', async () => {
    const web = listener(
      'web',
      [],
      {},
      {
        routes: [
          { sources: ['127.0.0.2/32' as Cidr], to: 'refuse' },
          { sources: ['127.0.0.0/30' as Cidr], to: poolOf([await stage.named('near')]) },
          {
            sources: ['127.1.0.0/16' as Cidr, '127.2.0.0/16' as Cidr],
            to: poolOf([await stage.named('far')]),
          },
        ],
      },
    );
    await stage.open(web);
    const from = async (address: string) => stage.ask(web, address);
    expect(await from('127.0.0.1')).toBe('near');
    expect(await from('127.0.0.2')).toBe('ECONNRESET');
    expect(await from('127.0.0.3')).toBe('near');
    expect(await from('127.2.9.9')).toBe('far');
    expect(await from('127.3.0.1')).toBe('ECONNRESET');
    expect(stage.stats('web')).toMatchObject({ connections: 3, refused: 2 });
  });

  it('keeps a client with its endpoint, also when affinity is asked for later', async () => {
    const names = ['a', 'b', 'c', 'd'];
    const endpoints = await Promise.all(names.map(async (name) => stage.named(name)));
    const web = listener('web', endpoints);
    await stage.open(web);
    expect(Object.keys(await tally(web, 40))).toHaveLength(4);
    await stage.open({
      ...web,
      routes: [{ sources: undefined, to: poolOf(endpoints, { affinitySeconds: 100 }) }],
    });
    for (const client of ['127.0.0.5', '127.0.0.6', '127.0.0.7']) {
      const answers = await Promise.all(
        Array.from({ length: 20 }, async () => stage.ask(web, client)),
      );
      expect(new Set(answers).size).toBe(1);
    }
    expect(stage.stats('web').connections).toBe(100);
  });

  it('forgets an affinity to an endpoint that does not answer', async () => {
    const gone = net.createServer((socket) => socket.end('gone')).listen(0, '127.0.0.1');
    await once(gone, 'listening');
    const { port } = gone.address() as net.AddressInfo;
    const web = listener('web', [{ ...nobody, address: '127.0.0.1' as Address, port }], {
      affinitySeconds: 100,
    });
    await stage.open(web);
    expect(await stage.ask(web)).toBe('gone');
    const to = poolOf(
      [{ address: '127.0.0.1' as Address, port, weight: 1 }, await stage.named('a')],
      { affinitySeconds: 100 },
    );
    await stage.open({ ...web, routes: [{ sources: undefined, to }] });
    expect(await stage.ask(web)).toBe('gone');
    gone.close();
    await once(gone, 'close');
    expect(await stage.ask(web)).toBe('a');
    expect(await stage.ask(web)).toBe('a');
  });

  it('tells the endpoint who connects and where, by a PROXY header', async () => {
    const got: Buffer[] = [];
    const endpoint = await stage.endpoint((socket) => {
      socket.on('data', (chunk: Buffer) => got.push(chunk));
      socket.on('end', () => socket.end());
    });
    const web = listener('web', [endpoint], { proxyProtocol: true });
    await stage.open(web);
    const client = await stage.client(web, '127.0.0.9');
    const { localPort = 0 } = client.socket;
    client.socket.end('GET');
    await client.whole();
    const bytes = Buffer.concat(got);
    expect(bytes.toString('hex')).toBe(
      `0d0a0d0a000d0a515549540a2111000c7f0000097f000001${hex(localPort)}${hex(web.port)}474554`,
    );
    expect(stage.stats('web').bytesIn).toBe(3);
  });

  /** A connection that stays open, and its endpoint's socket. */
  async function held(web: ReturnType<typeof listener>, accepted: Socket[]) {
    const client = (await stage.client(web)).read();
    const server = await eventually(() => accepted.shift() ?? false);
    const speaks = async (word: string): Promise<void> => {
      server.write(word);
      await eventually(() => client.text.endsWith(word));
    };
    await speaks('hello');
    return { client, speaks };
  }

  it('leaves connections alone whose endpoint stays, and ends others at their deadline', async () => {
    const accepted: Socket[] = [];
    const old = await stage.endpoint((socket) => accepted.push(socket));
    const other = await stage.named('other');
    const web = listener('web', [old], { drainSeconds: 0 });
    await stage.open(web);
    const connection = await held(web, accepted);
    await stage.open({
      ...web,
      routes: [{ sources: undefined, to: poolOf([old, other], { drainSeconds: 1000 }) }],
    });
    await connection.speaks('still there');
    await stage.open({
      ...web,
      routes: [{ sources: undefined, to: poolOf([other], { drainSeconds: 0 }) }],
    });
    await connection.speaks('draining');
    expect(await tally(web, 4)).toEqual({ other: 4 });
    const back = {
      ...web,
      routes: [{ sources: undefined, to: poolOf([old], { drainSeconds: 0 }) }],
    };
    await stage.open(back);
    await connection.speaks('back again');
    await stage.open({ ...web, routes: [{ sources: undefined, to: poolOf([other]) }] });
    await eventually(() => connection.client.error === 'ECONNRESET');
  });

  it('lets connections of a closed listener drain, while another takes its port', async () => {
    const accepted: Socket[] = [];
    const endpoint = await stage.endpoint((socket) => accepted.push(socket));
    const web = listener('web', [endpoint], { drainSeconds: 1000 });
    await stage.open(web);
    const { client, speaks } = await held(web, accepted);
    const next = listener('next', [await stage.named('next')], {}, { port: web.port });
    expect(await stage.relay.change({ close: [web.key], open: [next] })).toEqual([]);
    await stage.relay.admit([next.key]);
    expect(await tally(next, 9)).toEqual({ next: 9 });
    await speaks('draining');
    expect(stage.stats('web')).toMatchObject({ active: 1, connections: 1 });
    client.socket.resetAndDestroy();
    await eventually(() => !stage.relay.stats().has(key('web')));
    expect([...stage.relay.stats().keys()]).toEqual(['next']);
  });

  it('goes on counting when a listener comes back before its connections have ended', async () => {
    const accepted: Socket[] = [];
    const web = listener('web', [await stage.endpoint((socket) => accepted.push(socket))]);
    await stage.open(web);
    const { client, speaks } = await held(web, accepted);
    await stage.relay.change({ close: [web.key], open: [] });
    expect(await stage.ask(web)).toBe('ECONNREFUSED');
    await stage.open(web);
    await speaks('again');
    await held(web, accepted);
    expect(stage.stats('web')).toMatchObject({ active: 2, connections: 2 });
    client.socket.resetAndDestroy();
    await eventually(() => stage.stats('web').active === 1);
  });

  it('names places that are taken, and opens the rest', async () => {
    // The holder lets others share its port: that it is a stranger has to be found out all the same.
    const holder = net.createServer(() => {});
    holder.listen({ port: 0, host: '127.0.0.1', reusePort: true });
    await once(holder, 'listening');
    const { port } = holder.address() as net.AddressInfo;
    const web = listener('web', [await stage.named('a')]);
    const failures = await stage.open(
      { ...web, key: key('taken'), port },
      { ...web, key: key('foreign'), address: '192.0.2.77' as Address },
      web,
    );
    expect(failures.map((failure) => `${failure.key} ${failure.code}`).toSorted()).toEqual([
      'foreign EADDRNOTAVAIL',
      'taken EADDRINUSE',
    ]);
    expect(await stage.ask(web)).toBe('a');
    await eventually(() => stage.relay.stats().size === 1);
    holder.close();
    await once(holder, 'close');
    expect(await stage.open({ ...web, key: key('taken'), port })).toEqual([]);
    expect(await stage.ask({ ...web, port })).toBe('a');
  });

  /** Whether nobody comes in any more; who does so at the last moment goes again. */
  async function isRefused(web: ReturnType<typeof listener>): Promise<boolean> {
    try {
      const { socket } = await stage.client(web);
      socket.resetAndDestroy();
      return false;
    } catch (error) {
      return (error as { code: string }).code === 'ECONNREFUSED';
    }
  }

  it('drains: nobody comes in, and it waits for the last, or resets', async () => {
    const accepted: Socket[] = [];
    const web = listener('web', [await stage.endpoint((socket) => accepted.push(socket))]);
    await stage.open(web);
    const first = await held(web, accepted);
    const drained = stage.relay.drain(1_000_000);
    await eventually(async () => isRefused(web));
    await first.speaks('still there');
    first.client.socket.resetAndDestroy();
    await drained;
    accepted.length = 0;
    await stage.open(web);
    const second = await held(web, accepted);
    await stage.relay.drain(1);
    await eventually(() => second.client.error === 'ECONNRESET');
    expect(stage.relay.stats().size).toBe(0);
  });

  it('has left all places before anybody is drained', async () => {
    const accepted: Socket[] = [];
    const web = listener('web', [await stage.endpoint((socket) => accepted.push(socket))]);
    const dns = listener(
      'dns',
      [await stage.udpEndpoint(() => undefined)],
      {},
      { protocol: 'UDP' },
    );
    await stage.open(web, dns);
    const first = await held(web, accepted);
    await stage.relay.leave();
    const next = new Stage({ workers: 1 });
    try {
      expect(await next.open(web, dns)).toEqual([]);
    } finally {
      await next.close();
    }
    await first.speaks('still there');
    await stage.relay.drain(1);
    await eventually(() => first.client.error === 'ECONNRESET');
  });

  it('ends everything at once on close', async () => {
    const accepted: Socket[] = [];
    const web = listener('web', [await stage.endpoint((socket) => accepted.push(socket))]);
    await stage.open(web);
    const { client } = await held(web, accepted);
    await stage.relay.close();
    await eventually(() => client.error === 'ECONNRESET');
    expect(await stage.ask(web)).toBe('ECONNREFUSED');
    expect(process.getActiveResourcesInfo().filter((name) => name.includes('Worker'))).toEqual([]);
  });
});

describe.skipIf(!ownNetwork)('a worker that crashes', () => {
  it('is named, and another takes its place with all its listeners', async () => {
    const threads: Worker[] = [];
    const note = (worker: Worker): void => void threads.push(worker);
    process.on('worker', note);
    const stage = new Stage({ workers: 2 });
    try {
      const accepted: Socket[] = [];
      const endpoint = await stage.endpoint((socket) => {
        accepted.push(socket);
        socket.write('hello');
      });
      const shared = listener('shared', [endpoint]);
      const sticky = listener('sticky', [endpoint], { affinitySeconds: 100 });
      await stage.open(shared, sticky);
      expect(threads).toHaveLength(2);
      for (const thread of threads.splice(0)) await thread.terminate();
      const crashed = await eventually(
        () => stage.log.filter(({ level }) => level === 'error').length === 2 && stage.log,
      );
      expect(crashed[0]).toMatchObject({
        message: 'a worker of the relay has crashed; its connections are lost',
      });
      for (const each of [shared, sticky]) {
        const client = await eventually(async () => stage.client(each));
        client.read();
        await eventually(() => client.text === 'hello');
        client.socket.resetAndDestroy();
      }
    } finally {
      process.off('worker', note);
      await stage.close();
    }
  });

  it('costs no listener where changes are under way', async () => {
    const threads: Worker[] = [];
    const note = (worker: Worker): void => void threads.push(worker);
    process.on('worker', note);
    let skippedMs = 0;
    const stage = new Stage({ workers: 2, now: () => performance.now() + skippedMs });
    try {
      const [a, b] = [await stage.named('a'), await stage.named('b')];
      const web = listener('web', [a]);
      await stage.open(web);
      skippedMs = 60_000; // it has worked for so long: the next one is started at once
      const failures: ListenFailure[] = [];
      let left = Number.POSITIVE_INFINITY;
      // one change waits behind the other
      const changing = Array.from({ length: 4 }, async () => {
        for (; left > 0; left--) {
          const routes = [{ sources: undefined, to: poolOf(left % 2 === 0 ? [a] : [a, b]) }];
          failures.push(...(await stage.relay.change({ close: [], open: [{ ...web, routes }] })));
        }
      });
      await threads[0]?.terminate();
      await eventually(() => threads.length === 3);
      left = 40;
      await Promise.all(changing);
      expect(failures).toEqual([]);
      expect(await stage.ask(web)).toMatch(/^[ab]$/);
    } finally {
      process.off('worker', note);
      await stage.close();
    }
  });

  it('has listeners opened again whose place somebody had meanwhile', async () => {
    const threads: Worker[] = [];
    const note = (worker: Worker): void => void threads.push(worker);
    process.on('worker', note);
    const stage = new Stage({ workers: 1 });
    try {
      const web = listener('web', [await stage.named('a')]);
      await stage.open(web);
      await threads[0]?.terminate();
      const somebody = net.createServer((socket) => socket.end('somebody'));
      somebody.listen(web.port, web.address);
      await once(somebody, 'listening');
      const told = (): boolean =>
        stage.log.some(({ message }) => message === 'a listener could not be opened again');
      await eventually(told);
      somebody.close();
      await once(somebody, 'close');
      await eventually(async () => (await stage.ask(web)) === 'a', 30_000);
    } finally {
      process.off('worker', note);
      await stage.close();
    }
  });
});

function hex(port: number): string {
  return port.toString(16).padStart(4, '0');
}
