import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RelayProcess } from './relay-process.ts';
import type { RelayEndpoint } from '../../src/relay/relay.ts';
import { Stage, eventually, listener, local, ownNetwork } from './stage.ts';
import type { Client } from './stage.ts';

/** What of its files a relay leaves to the agent, and what that has open. */
const spared = 1024 + 200;

/** How many files a process of this machine may have open. */
function hardLimit(): number {
  const limits = readFileSync('/proc/self/limits', 'latin1');
  return Number(/^Max open files +\d+ +(\d+)/m.exec(limits)?.[1]);
}

/** An endpoint in a process of its own, which has as many files as the relay's clients have. */
class EchoProcess {
  readonly endpoint: RelayEndpoint;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.endpoint = { address: local, port, weight: 1 };
  }

  static async start(): Promise<EchoProcess> {
    const script =
      "const s = require('net').createServer((c) => c.pipe(c).on('error', () => {})).listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => console.log(s.address().port))";
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [port] = (await once(child.stdout, 'data')) as [Buffer];
    return new EchoProcess(child, Number(port.toString()));
  }

  async close(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}

/** What a process may have: file descriptors and memory. */
describe.skipIf(!ownNetwork)('a relay at its limits', () => {
  let stage: Stage;
  let relay: RelayProcess | undefined;

  beforeEach(() => {
    stage = new Stage({ workers: 1 });
  });

  afterEach(async () => {
    await relay?.close();
    await stage.close();
  });

  const echo = async () =>
    stage.endpoint((socket) => {
      socket.pipe(socket);
    });

  /** How much a number of open connections costs, and that each of them works. */
  it.each(['handles', 'sockets'] as const)(
    'has 4,900 connections open at once, by %s',
    async (wires) => {
      const count = 4900;
      relay = new RelayProcess({ wires });
      const web = listener('web', [await echo()]);
      await relay.open(web);
      const before = relay.residentKiB();
      const clients: Client[] = [];
      for (let opened = 0; opened < count; opened += 50) {
        const some = Array.from({ length: 50 }, async () => {
          const client = (await stage.client(web)).read();
          client.socket.write('hello');
          await eventually(() => client.text === 'hello');
          return client;
        });
        clients.push(...(await Promise.all(some)));
      }
      const each = (relay.residentKiB() - before) / count;
      process.stdout.write(`${wires}: ${each.toFixed(1)} KiB a connection\n`);
      expect(each).toBeLessThan(40);
      expect((await relay.stats()).get('web')).toMatchObject({
        connections: count,
        active: count,
        retries: 0,
      });
      for (const { socket } of clients) socket.destroy();
      await eventually(async () => (await relay?.stats())?.get('web')?.active === 0);
    },
  );

  it('has 10,000 connections open at once, or as many as this machine lets a process have', async () => {
    const count = Math.min(10_000, Math.floor((hardLimit() - spared) / 200) * 100);
    const echoing = await EchoProcess.start();
    try {
      relay = new RelayProcess();
      // No listener has more than three quarters of all.
      const all = [listener('web', [echoing.endpoint]), listener('beside', [echoing.endpoint])];
      await relay.open(...all);
      const before = relay.residentKiB();
      const clients: Client[] = [];
      for (let opened = 0; opened < count; opened += 50) {
        const some = Array.from({ length: 50 }, async (_, n) => {
          const to = all[n % 2] ?? listener('none', []);
          return (await stage.client(to)).read();
        });
        clients.push(...(await Promise.all(some)));
      }
      for (const { socket } of clients) socket.write('hello');
      await eventually(() => clients.every(({ text }) => text === 'hello'));
      const each = (relay.residentKiB() - before) / count;
      process.stdout.write(`${count} connections: ${each.toFixed(1)} KiB each\n`);
      expect(each).toBeLessThan(40);
      const stats = await relay.stats();
      expect(all.map(({ key }) => stats.get(key)?.active)).toEqual([count / 2, count / 2]);
      for (const { socket } of clients) socket.destroy();
      await eventually(async () => (await relay?.stats())?.get('web')?.active === 0);
    } finally {
      await echoing.close();
    }
  });

  it.each(['handles', 'sockets'] as const)(
    'names a lack of file descriptors, and lives on, by %s',
    async (wires) => {
      relay = new RelayProcess({ wires, workers: 1, files: 141 });
      // One alone would not get so many. By sockets only a dial says what it lacks: one file is left for the last client alone.
      const [web, beside] = [listener('web', [await echo()]), listener('beside', [await echo()])];
      await relay.open(web, beside);
      const outcomes: Promise<Client | undefined>[] = [];
      for (let i = 0; i < 120; i++) {
        outcomes.push(
          stage.client(i % 2 === 0 ? web : beside).then(
            (client) => client.read(),
            () => undefined,
          ),
        );
      }
      const clients = (await Promise.all(outcomes)).flatMap((client) => client ?? []);
      for (const { socket } of clients) socket.write('hello');
      await eventually(() =>
        clients.every(
          ({ text, error, isEnded }) => text === 'hello' || error !== undefined || isEnded,
        ),
      );
      const stats = [...(await relay.stats()).values()];
      expect(Math.max(...stats.map(({ dialFailures }) => dialFailures.files))).toBeGreaterThan(0);
      expect(stats.reduce((sum, { active }) => sum + active, 0)).toBeGreaterThan(20);
      const code = relay.log.map(({ fields }) => JSON.stringify(fields)).join('\n');
      expect(code).toMatch(/EMFILE|files/);
      expect(code).toContain('"cure":"raise the limit of open files');
      // It does not go round in circles: what has failed is over.
      const [busyBefore, from] = [relay.cpuSeconds(), performance.now()];
      await new Promise((resolve) => setTimeout(resolve, 500));
      const share = (relay.cpuSeconds() - busyBefore) / ((performance.now() - from) / 1000);
      expect(share).toBeLessThan(0.5);
      for (const { socket } of clients) socket.destroy();
      await eventually(async () => (await relay?.stats())?.get('web')?.active === 0);
      const again = (await stage.client(web)).read();
      again.socket.write('again');
      await eventually(() => again.text === 'again');
    },
  );

  /** Clients come to an end first with one of them, endpoints with the other. */
  it.each([100, 102])(
    'keeps some of %i files from connections: a new listener finds one',
    async (files) => {
      relay = new RelayProcess({ workers: 1, files });
      const to = await echo();
      const web = listener('web', [to]);
      await relay.open(web);
      const some = Array.from({ length: 60 }, async () => stage.client(web).catch(() => undefined));
      const clients = (await Promise.all(some)).flatMap((client) => client?.read() ?? []);
      for (const { socket } of clients) socket.write('hello');
      await eventually(() => clients.every(({ text, error }) => text === 'hello' || error));
      expect((await relay.stats()).get('web')?.dialFailures.files).toBeGreaterThan(0);
      const others = Array.from({ length: 10 }, (_, number) => listener(`other ${number}`, [to]));
      expect(await relay.open(...others)).toEqual([]);
      expect(relay.log.filter(({ level }) => level === 'error')).toEqual([]);
    },
  );
  it('leaves files for others where one listener is flooded, over all workers', async () => {
    relay = new RelayProcess({ workers: 2, files: 400 });
    const [flooded, other] = [
      listener('flooded', [await echo()]),
      listener('other', [await echo()]),
    ];
    await relay.open(flooded, other);
    const clients: Client[] = [];
    for (let i = 0; i < 140; i++) clients.push((await stage.client(flooded)).read());
    // three quarters of the 300 that connections may have, two for each
    await eventually(async () => (await relay?.stats())?.get('flooded')?.refused === 28);
    expect((await relay.stats()).get('flooded')).toMatchObject({ active: 112, connections: 112 });
    await eventually(() => clients.filter(({ error }) => error === 'ECONNRESET').length === 28);
    expect(relay.log).toContainEqual({
      level: 'warn',
      message: 'a listener has all connections that one may have',
      fields: expect.objectContaining({ listener: 'flooded', connections: 112 }),
    });
    const client = (await stage.client(other)).read();
    client.socket.write('there');
    await eventually(() => client.text === 'there');
    // whoever goes makes room
    for (const { socket } of clients) socket.destroy();
    await eventually(async () => (await relay?.stats())?.get('flooded')?.active === 0);
    const again = (await stage.client(flooded)).read();
    again.socket.write('again');
    await eventually(() => again.text === 'again');
  });

  it('makes room for new UDP flows before file descriptors are short', async () => {
    relay = new RelayProcess({ workers: 1, files: 100 });
    const to = listener(
      'dns',
      [await stage.udpEndpoint((bytes) => bytes)],
      { udpIdleMs: 1_000_000 },
      { protocol: 'UDP' },
    );
    await relay.open(to);
    for (let i = 0; i < 120; i++) {
      const socket = await stage.udpSocket();
      let answered = false;
      socket.on('message', () => (answered = true));
      await eventually(() => {
        socket.send('hello', to.port, to.address);
        return answered;
      });
    }
    const stats = (await relay.stats()).get('dns');
    expect(stats?.evicted).toBeGreaterThan(0);
    expect(stats?.dialFailures.files).toBe(0);
  });

  it('has the file descriptors that the hard limit allows', async () => {
    relay = new RelayProcess({ workers: 1 });
    await relay.stats();
    const limits = execFileSync('grep', ['Max open files', `/proc/${relay.pid}/limits`], {
      encoding: 'utf8',
    });
    const [, soft, hard] = /Max open files\s+(\d+)\s+(\d+)/.exec(limits) ?? [];
    expect(soft).toBe(hard);
  });

  it('probes connections that are silent', async () => {
    relay = new RelayProcess({ workers: 1 });
    const accepted: Socket[] = [];
    const web = listener('web', [await stage.endpoint((socket) => accepted.push(socket))]);
    await relay.open(web);
    const client = await stage.client(web);
    await eventually(() => accepted.length === 1);
    await eventually(() => {
      const sockets = execFileSync('ss', ['-tnoHp', 'state', 'established'], { encoding: 'utf8' });
      const own = sockets.split('\n').filter((line) => line.includes(`pid=${relay?.pid},`));
      return own.length === 2 && own.every((line) => line.includes('timer:(keepalive'));
    }, 30_000);
    client.socket.destroy();
  });
});
