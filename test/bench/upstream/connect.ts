import { join } from 'node:path';
import { lab4, NodeLab } from '../../support/node-lab.ts';
import { sizesOf } from './bench.ts';
import type { Bench, Part, Variant } from './bench.ts';
import { percentile } from './figures.ts';
import { BenchNodes, inNamespace, startPods } from './nodes.ts';
import type { Side } from './nodes.ts';
import { askedServices, podPort, servicePort } from './objects.ts';
import type { Scale } from './objects.ts';
import type { Figure, Target } from './rows.ts';

const rounds = 7;
const connects = 800;

/** What is connected to, and from where. */
interface ConnectTarget {
  readonly name: 'floor' | `${Side} service` | `${Side} bystander`;
  readonly client: string;
  readonly address: string;
  readonly port: number;
}

/**
 * TCP connects of a client behind the node, through services all over the list and to a pod that is no service's,
 * in turn with a third node that tracks connections and has no service rule. The proxies have ended; rules stay.
 */
export const connectPart: Part = {
  title: `TCP connect: p50 over the floor (p50); least of ${rounds} rounds of ${connects}, mean of the services`,
  limitMinutes: 30,
  async run(bench) {
    const floor = await NodeLab.create('legacy', 'swyfloor');
    try {
      startPods(floor);
      await floor.onNode(
        'iptables',
        ...'-t nat -A POSTROUTING -m conntrack --ctstate INVALID'.split(' '),
      );
      for (const services of sizesOf(bench, 50, 10_000, 30_000)) {
        for (const variant of ['legacy', 'nft'] as const) {
          await connectRows(bench, services, variant, floor.namespace('client'));
        }
      }
    } finally {
      await floor.close();
    }
  },
};

async function connectRows(
  bench: Bench,
  services: number,
  variant: Variant,
  floorClient: string,
): Promise<void> {
  const hasUpstream = variant === 'legacy' || bench.upstreamNft || services <= 1000;
  const scale: Scale = { services, endpoints: 3 };
  await BenchNodes.during(bench, scale, variant, async (nodes) => {
    const programmed: Side[] = [];
    for (const side of hasUpstream
      ? (['upstream', 'switchyard'] as const)
      : (['switchyard'] as const)) {
      const proxy = await nodes.startAndWait(side);
      await proxy.process.stop();
      if (proxy.seconds !== undefined) programmed.push(side);
    }
    const floorTarget = { name: 'floor', client: floorClient, ...bystander } as const;
    const bystanders = programmed.map((side) => bystanderOf(nodes, side));
    const asked = programmed.flatMap((side) => servicesOf(nodes, side));
    const p50 = await inTurn(bench, mixed([floorTarget, ...bystanders], asked));
    const [floor] = p50.get('floor') ?? [];
    if (floor === undefined) throw new TypeError('the floor was not measured');
    const over = (side: Side, what: 'service' | 'bystander'): Figure | undefined =>
      overFloor(p50.get(`${side} ${what}`), floor);
    for (const [what, target] of [
      ['service', micros(12)],
      ['bystander', micros(6)],
    ] as const) {
      const name = what === 'service' ? 'through a service' : "to a pod that is no service's";
      bench.row({
        what: `${services} services, ${variant} tools, ${name} (floor ${floor.toFixed(0)} µs)`,
        upstream: over('upstream', what),
        own: over('switchyard', what),
        target,
      });
    }
  });
}

const bystander = { address: lab4['pod-a'], port: podPort } as const;

function servicesOf(nodes: BenchNodes, side: Side): readonly ConnectTarget[] {
  const client = nodes.namespace(side, 'client');
  return askedServices(nodes.scale).map(({ clusterIP }) => ({
    name: `${side} service` as const,
    client,
    address: clusterIP,
    port: servicePort,
  }));
}

function bystanderOf(nodes: BenchNodes, side: Side): ConnectTarget {
  return { name: `${side} bystander`, client: nodes.namespace(side, 'client'), ...bystander };
}

/** So many services between two turns of what there is one of: it would else have a tenth of their chances of a quiet moment. */
const stride = 5;

/** The few again and again among the many. */
function mixed(
  few: readonly ConnectTarget[],
  many: readonly ConnectTarget[],
): readonly ConnectTarget[] {
  return [...many.flatMap((each, i) => (i % stride === 0 ? [...few, each] : [each])), ...few];
}

/** The machine's speed drifts, so all take turns; the least p50 of each target, by name. */
async function inTurn(
  bench: Bench,
  targets: readonly ConnectTarget[],
): Promise<ReadonlyMap<string, readonly number[]>> {
  const least = new Map<string, Map<string, number>>();
  for (let round = 0; round < rounds; round++) {
    for (const target of targets) {
      const { name, address } = target;
      const ofName = least.get(name) ?? new Map<string, number>();
      const p50 = await connectP50(target, bench.signal);
      least.set(name, ofName.set(address, Math.min(ofName.get(address) ?? Infinity, p50)));
    }
  }
  return new Map(Array.from(least, ([name, ofName]) => [name, [...ofName.values()]]));
}

async function connectP50(
  { client, address, port }: ConnectTarget,
  signal: AbortSignal,
): Promise<number> {
  const script = join(import.meta.dirname, '../connect.py');
  const command = ['python3', script, address, `${port}`, `${connects}`];
  return (JSON.parse(await inNamespace(client, command, signal)) as { readonly p50: number }).p50;
}

function overFloor(p50s: readonly number[] | undefined, floor: number): Figure | undefined {
  if (p50s === undefined) return undefined;
  const mean = p50s.reduce((sum, each) => sum + each, 0) / p50s.length;
  const more = mean - floor;
  const worst = percentile(p50s, 1);
  const shown = p50s.length > 1 ? `${mean.toFixed(0)}, worst ${worst.toFixed(0)}` : mean.toFixed(0);
  return { value: more, text: `${more < 0 ? '' : '+'}${more.toFixed(1)} µs (${shown})` };
}

function micros(limit: number): Target {
  return { kind: 'limit', limit, text: `+${limit} µs` };
}
