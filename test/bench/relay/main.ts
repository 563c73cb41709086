// `npm run bench:relay`: the relay beside haproxy (one thread) and socat, on one loopback device, in turns of a few seconds.
// usage: npm run bench:relay [-- --rounds=5 --only=bulk,short,idle,listeners]
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs, promisify } from 'node:util';
import type { Address } from '../../../src/ip/address.ts';
import type { Listener, ListenerKey } from '../../../src/relay/relay.ts';
import { bundle } from '../../../scripts/bundle.ts';
import { RelayProcess, relayProgram } from '../../relay/relay-process.ts';
import { printTable } from '../table.ts';
import { Programs, cpuSeconds, residentKiB } from './rivals.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    only: { type: 'string', default: 'bulk,short,idle,listeners' },
  },
});
const rounds = Number(values.rounds);
const seconds = 2;
const local = '127.0.0.1' as Address;
const run = promisify(execFile);
const sinkPort = 9001;
const webPort = 9002;

interface Rival {
  readonly name: string;
  readonly pid: number;
  readonly bulkPort: number;
  readonly shortPort: number;
}

/** One rival's figures, a round each. */
type Series = Map<string, number[]>;

function listener(key: string, port: number, to: number): Listener {
  const endpoints = [{ address: local, port: to, weight: 1 }];
  const pool = {
    endpoints,
    affinitySeconds: undefined,
    udpIdleMs: 250,
    drainSeconds: 0,
    proxyProtocol: false,
  };
  return {
    key: key as ListenerKey,
    address: local,
    port,
    protocol: 'TCP',
    routes: [{ sources: undefined, to: pool }],
  };
}

async function relayRival(
  name: string,
  ports: readonly [number, number],
  options: { readonly wires?: 'sockets'; readonly workers?: number },
): Promise<{ readonly rival: Rival; readonly relay: RelayProcess }> {
  const relay = new RelayProcess({ program, ...options });
  const [bulkPort, shortPort] = ports;
  const failures = await relay.open(
    listener('bulk', bulkPort, sinkPort),
    listener('short', shortPort, webPort),
  );
  if (failures.length > 0) throw new Error(JSON.stringify(failures));
  return { rival: { name, pid: relay.pid, bulkPort, shortPort }, relay };
}

function median(list: readonly number[]): number {
  const sorted = list.toSorted((a, b) => a - b);
  return ((sorted[(sorted.length - 1) >> 1] ?? 0) + (sorted[sorted.length >> 1] ?? 0)) / 2;
}

/** What a rival's tool could not tell is left out. */
function note(series: Series, name: string, value: number): void {
  if (Number.isNaN(value)) return;
  series.set(name, [...(series.get(name) ?? []), value]);
}

const of = (series: Series, name: string): readonly number[] => series.get(name) ?? [];

/** The median of the rounds' ratios to the better of the others in the same round. */
function ratio(series: Series, name: string, rivals: readonly string[]): string {
  const ratios = of(series, name).map(
    (value, round) => value / Math.max(...rivals.map((rival) => of(series, rival)[round] ?? 0)),
  );
  return `${median(ratios).toFixed(2)}×`;
}

async function bulk(rivals: readonly Rival[]): Promise<void> {
  const script = join(import.meta.dirname, 'bulk.py');
  for (const streams of [1, 16]) {
    const speed: Series = new Map();
    const cost: Series = new Map();
    for (let round = 0; round < rounds; round++) {
      for (const { name, pid, bulkPort } of rivals) {
        const before = cpuSeconds(pid);
        const args = [script, 'source', `${bulkPort}`, `${streams}`, `${seconds}`];
        const { stdout } = await run('python3', args);
        note(speed, name, Number(stdout));
        note(cost, name, (cpuSeconds(pid) - before) / ((Number(stdout) * seconds) / 8));
      }
    }
    printTable(
      `${streams} TCP stream${streams > 1 ? 's' : ''}: median of ${rounds} rounds`,
      ['', 'Gbit/s', 'beside the better of haproxy and socat', 'CPU seconds a GB'],
      rivals.map(({ name }) => [
        name,
        median(of(speed, name)).toFixed(1),
        ratio(speed, name, ['haproxy', 'socat']),
        median(of(cost, name)).toFixed(2),
      ]),
    );
  }
}

/** `12.3ms`, `1.2s`, `800us` → milliseconds. */
function milliseconds(text: string): number {
  const value = Number.parseFloat(text);
  if (text.endsWith('us')) return value / 1000;
  return text.endsWith('ms') ? value : value * 1000;
}

async function short(rivals: readonly Rival[]): Promise<void> {
  const rate: Series = new Map();
  const p99: Series = new Map();
  const cost: Series = new Map();
  for (let round = 0; round < rounds; round++) {
    for (const { name, pid, shortPort } of rivals) {
      const before = cpuSeconds(pid);
      const url = `http://127.0.0.1:${shortPort}/`;
      const close = ['-H', 'Connection: close', '--latency', url];
      const { stdout } = await run('wrk', ['-t1', '-c50', `-d${seconds}`, ...close]);
      note(rate, name, Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]));
      note(p99, name, milliseconds(/99%\s+(\S+)/.exec(stdout)?.[1] ?? ''));
      const requests = Number(/(\d+) requests in/.exec(stdout)?.[1]);
      note(cost, name, ((cpuSeconds(pid) - before) / requests) * 1e6);
    }
  }
  printTable(
    `Short connections (wrk -c50, Connection: close): median of ${rounds} rounds`,
    ['', 'a second', 'beside haproxy', 'p99', 'beside haproxy', 'CPU µs each'],
    rivals.map(({ name }) => [
      name,
      median(of(rate, name)).toFixed(0),
      ratio(rate, name, ['haproxy']),
      `${median(of(p99, name)).toFixed(1)} ms`,
      ratio(p99, name, ['haproxy']),
      median(of(cost, name)).toFixed(0),
    ]),
  );
}

/** As many as the limit of file descriptors allows, 10,000 at most. */
function idleCount(): number {
  const limit = Number(spawnSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).stdout);
  return Math.min(10_000, Math.floor((limit - 200) / 100 / 2) * 100);
}

async function idleKiB(port: number, endpointPort: number, count: number, pid: number) {
  const script = join(import.meta.dirname, 'idle.ts');
  const args = [script, `${port}`, `${endpointPort}`, `${count}`];
  const holder = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  const before = residentKiB(pid);
  holder.stdin.write('go\n');
  const [echoes] = (await once(holder.stdout, 'data')) as [Buffer];
  if (Number(echoes.toString()) !== count) throw new Error(`only ${echoes.toString()} connections`);
  const each = (residentKiB(pid) - before) / count;
  const ended = once(holder, 'exit');
  holder.stdin.end();
  await ended;
  return each;
}

async function idle(programs: Programs): Promise<void> {
  const count = idleCount();
  const rows: string[][] = [];
  for (const [name, wires] of [
    ['Switchyard', 'handles'],
    ['Switchyard, by streams', 'sockets'],
  ] as const) {
    const relay = new RelayProcess({ program, wires });
    await relay.open(listener('idle', 9600, 9601));
    const each = await idleKiB(9600, 9601, count, relay.pid);
    rows.push([name, `${each.toFixed(1)} KiB`]);
    await relay.close();
  }
  const pid = await programs.haproxy(9602, 9603);
  rows.push(['haproxy', `${(await idleKiB(9602, 9603, count, pid)).toFixed(1)} KiB`]);
  printTable(`Resident memory of an idle connection, at ${count}`, ['', 'each'], rows);
}

async function listeners(): Promise<void> {
  const rows: string[][] = [];
  for (const count of [1000, 10_000]) {
    const relay = new RelayProcess({ program });
    await relay.stats();
    const before = relay.residentKiB();
    const began = performance.now();
    const failures = await relay.open(
      ...Array.from({ length: count }, (_, i) => ({
        ...listener(`default/service-${i}:http/TCP cluster`, 10_000 + i, 80),
      })),
    );
    const took = (performance.now() - began) / 1000;
    if (failures.length > 0) throw new Error(JSON.stringify(failures.slice(0, 3)));
    rows.push([
      String(count),
      `${took.toFixed(2)} s`,
      `${(relay.residentKiB() / 1024).toFixed(0)} MiB`,
      `${(before / 1024).toFixed(0)} MiB`,
    ]);
    await relay.close();
  }
  printTable(
    'Listeners: until all are open, and resident memory of the relay alone',
    ['listeners', 'time', 'memory', 'without any'],
    rows,
  );
}

function whyBlocked(): string | undefined {
  if (!Object.keys(networkInterfaces()).every((name) => name === 'lo')) {
    return 'runs in a network namespace of its own: npm run bench:relay';
  }
  const missing = ['haproxy', 'socat', 'wrk', 'python3'].filter(
    (tool) => spawnSync(tool, ['-v']).error !== undefined,
  );
  return missing.length === 0 ? undefined : `needs ${missing.join(', ')} on the PATH`;
}

const blocked = whyBlocked();
if (blocked !== undefined) {
  process.stderr.write(`bench:relay: ${blocked}\n`);
  process.exit(1);
}
process.stdout.write(`node ${process.version}, ${new Date().toISOString().slice(0, 10)}\n`);
const only = new Set(values.only.split(','));
const programs = new Programs();
// As it is shipped: the sources would cost time and memory for what strips their types.
const program = join(programs.folder, 'relay.mjs');
await bundle(relayProgram, program);
try {
  if (only.has('listeners')) await listeners();
  if (only.has('idle')) await idle(programs);
  if (only.has('bulk') || only.has('short')) {
    await programs.start(
      sinkPort,
      'python3',
      join(import.meta.dirname, 'bulk.py'),
      'sink',
      `${sinkPort}`,
    );
    await programs.haproxy(webPort, undefined);
    const own = await relayRival('Switchyard', [9100, 9101], {});
    const streams = await relayRival('Switchyard, by streams', [9110, 9111], { wires: 'sockets' });
    const haproxy = {
      name: 'haproxy',
      pid: await programs.haproxy(9120, sinkPort),
      bulkPort: 9120,
      shortPort: 9121,
    };
    const shortPid = await programs.haproxy(9121, webPort);
    const socat = {
      name: 'socat',
      pid: await programs.socat(9130, sinkPort),
      bulkPort: 9130,
      shortPort: 0,
    };
    if (only.has('bulk')) await bulk([own.rival, streams.rival, haproxy, socat]);
    if (only.has('short')) await short([own.rival, streams.rival, { ...haproxy, pid: shortPid }]);
    await own.relay.close();
    await streams.relay.close();
  }
} finally {
  await programs.close();
}
