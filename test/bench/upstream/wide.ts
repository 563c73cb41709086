import { join } from 'node:path';
import { parseAddress } from '../../../src/ip/address.ts';
import type { Address } from '../../../src/ip/address.ts';
import { parseTables } from '../../../src/walk/parse.ts';
import { walk } from '../../../src/walk/traverse.ts';
import { lab4 } from '../../support/node-lab.ts';
import { pause, sizesOf } from './bench.ts';
import type { Bench, Part } from './bench.ts';
import { SteadyChanges } from './changes.ts';
import { percent, percentLimit, spentWhile } from './cpu.ts';
import { chiSquared, spreadError } from './figures.ts';
import { mebibytes } from './memory.ts';
import { BenchNodes, inNamespace, memoryOf, startServer } from './nodes.ts';
import type { BySide, Side } from './nodes.ts';
import { askedServices, farPods, servicePort, slicesOf } from './objects.ts';
import type { Scale } from './objects.ts';
import { none } from './rows.ts';
import type { Figure, Target } from './rows.ts';
import { secondsFigure } from './start.ts';

const scale: Scale = { services: 1, endpoints: 5000 };
const settleMs = 5000;
const connects = 20_000;

/** One service of many endpoints, all of which one namespace owns. */
export const widePart: Part = {
  title: `One service of ${scale.endpoints} endpoints, one of them changing each second (legacy tools)`,
  limitMinutes: 15,
  async run(bench) {
    if (sizesOf(bench, 10_000).length === 0) return;
    const seen: BySide<Seen> = {};
    await BenchNodes.during(bench, scale, 'legacy', async (nodes) => {
      for (const side of ['switchyard', 'upstream'] as const) {
        await serveFarPods(bench, nodes, side);
        seen[side] = await measure(bench, nodes, side);
      }
    });
    for (const { what, target, figure } of lines) {
      const of = (side: Seen | undefined): Figure | undefined => side && figure(side, bench);
      bench.row({ what, upstream: of(seen.upstream), own: of(seen.switchyard), target });
    }
  },
};

interface Seen {
  readonly started: number | undefined;
  readonly cpu: number | undefined;
  readonly residentMiB: number | undefined;
  /** By the rules: how far an endpoint's share is from an equal one, at most. */
  readonly spread: number | undefined;
  /** By real connects: 1 is what equal shares give. */
  readonly chi: number | undefined;
}

const lines: readonly {
  readonly what: string;
  readonly target: Target;
  readonly figure: (seen: Seen, bench: Bench) => Figure | undefined;
}[] = [
  {
    what: 'CPU, process and its tools, of one core',
    target: percentLimit(20),
    figure: ({ cpu }) => percent(cpu),
  },
  {
    what: 'spread: largest error of a share, computed from the rules in the kernel',
    target: percentLimit(1),
    figure: ({ spread }) =>
      spread === undefined
        ? undefined
        : { value: spread * 100, text: `${(spread * 100).toFixed(4)} %` },
  },
  {
    // Three standard deviations above what equal shares give.
    what: `spread of ${connects} real connects: χ² a degree of freedom`,
    target: { kind: 'limit', limit: 1 + 3 * Math.sqrt(2 / scale.endpoints), text: '1.06' },
    figure: ({ chi }) => (chi === undefined ? undefined : { value: chi, text: chi.toFixed(2) }),
  },
  {
    what: 'start → the service answers',
    target: none,
    figure: ({ started }, { startSeconds }) => secondsFigure([started], startSeconds),
  },
  { what: 'resident', target: none, figure: ({ residentMiB }) => mebibytes(residentMiB) },
];

async function measure(bench: Bench, nodes: BenchNodes, side: Side): Promise<Seen> {
  const proxy = await nodes.startAndWait(side);
  try {
    const { seconds: started } = proxy;
    if (started === undefined) {
      return {
        started,
        cpu: undefined,
        residentMiB: undefined,
        spread: undefined,
        chi: undefined,
      };
    }
    await pause(settleMs, bench.signal);
    const changes = new SteadyChanges(nodes, 1, (n) => ({
      service: 0,
      part: n % slicesOf(nodes.scale),
    }));
    const cpu = await spentWhile(bench, proxy, changes);
    await pause(settleMs, bench.signal);
    const { residentMiB } = memoryOf(proxy);
    const spread = await sharesError(nodes, side);
    return { started, cpu, residentMiB, spread, chi: await realSpread(bench, nodes, side) };
  } finally {
    await proxy.process.crash();
  }
}

/** Gives all endpoints to one namespace of the lab, where each says its address. */
async function serveFarPods(bench: Bench, nodes: BenchNodes, side: Side): Promise<void> {
  const pods = nodes.namespace(side, 'remote');
  const local = ['ip', 'route', 'add', 'local', farPods.prefix, 'dev', 'lo'];
  await inNamespace(pods, local, bench.signal);
  startServer(pods, 'address');
  const via = ['via', lab4.remote, 'dev', 'remote', 'onlink'];
  const route = ['ip', 'route', 'add', farPods.prefix, ...via];
  await inNamespace(nodes.namespace(side, 'node'), route, bench.signal);
}

/** Sends one packet through the rules that the kernel has, along every way it can take. */
async function sharesError(nodes: BenchNodes, side: Side): Promise<number> {
  const packet = {
    protocol: 'tcp',
    source: address(lab4.client),
    sourcePort: 40_000,
    destination: address(serviceIP(nodes)),
    destinationPort: servicePort,
    inInterface: 'client',
    outInterface: 'remote',
    state: 'NEW',
  } as const;
  const node = { localAddresses: [address(lab4.node)], sets: new Map<string, Set<string>>() };
  const shares = new Map<string, number>();
  for (const each of walk(parseTables(await nodes.rules(side, 'nat')), node, packet)) {
    const endpoint = each.destination;
    shares.set(endpoint, (shares.get(endpoint) ?? 0) + each.probability);
  }
  return spreadError([...shares.values()], nodes.scale.endpoints);
}

async function realSpread(bench: Bench, nodes: BenchNodes, side: Side): Promise<number> {
  const script = join(import.meta.dirname, 'sample.py');
  const command = ['python3', script, serviceIP(nodes), `${servicePort}`, `${connects}`];
  const text = await inNamespace(nodes.namespace(side, 'client'), command, bench.signal);
  const said = JSON.parse(text) as Readonly<Record<string, number>>;
  return chiSquared(Object.values(said), nodes.scale.endpoints) / (nodes.scale.endpoints - 1);
}

function serviceIP({ scale: { services, endpoints } }: BenchNodes): string {
  return askedServices({ services, endpoints })[0]?.clusterIP ?? '';
}

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new TypeError(`no address: ${text}`);
  return parsed;
}
