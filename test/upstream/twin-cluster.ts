import { setTimeout as delay } from 'node:timers/promises';
import type { AgentProcess } from '../support/agent-process.ts';
import { eventually } from '../support/node-lab.ts';
import type { Actor, NodeLab } from '../support/node-lab.ts';
import { hostPort } from '../../src/ip/address.ts';
import type { Address } from '../../src/ip/address.ts';
import { TwinNodes } from '../cluster/twin-nodes.ts';
import type { Twin, Twins } from '../cluster/twin-nodes.ts';
import { sliceOf } from './objects.ts';
import type { Bundle, RawService, RawSlice } from './objects.ts';
import { podAddress } from './place.ts';
import type { Places } from './place.ts';
import { inTurns } from './turns.ts';

export const twinNames = ['switchyard', 'upstream'] as const;

const services = '/api/v1/namespaces/default/services';
const slices = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';
const requestsAtOnce = 16;
const usualProgrammedMs = 60_000;
/**
 * Creation times have whole seconds of the API server's clock, which is not this one where it runs outside of a guest: its
 * next second is at most one away.
 */
const aSecondMs = 1010;

/**
 * The kernel sends 50 ICMP errors at once and 1000 a second, and hundreds of UDP questions are refused by
 * them. Older kernels have this setting for the whole machine only: there it stays as it is.
 */
const liftIcmpLimit =
  'for key in per_sec burst; do file=/proc/sys/net/ipv4/icmp_msgs_$key; [ ! -w $file ] || echo 1000000 > $file; done';

/** What the API server made of a bundle's objects. */
export interface Made {
  readonly bundle: string;
  readonly services: readonly RawService[];
  readonly slices: readonly RawSlice[];
}

/** The twins with their proxies; objects are made for both in one step, and both are waited for. */
export class TwinCluster {
  readonly twins: Twins;
  readonly #places: Places;
  readonly #programmedWithinMs: number;
  #proxies: readonly AgentProcess[] = [];
  #markers = 0;

  private constructor(twins: Twins, places: Places, programmedWithinMs: number) {
    this.#programmedWithinMs = programmedWithinMs;
    this.twins = twins;
    this.#places = places;
  }

  /** Pods answer with the endpoint that was reached: `10.244.0.5:8080`. */
  static async create(variant: 'legacy' | 'nft', places: Places): Promise<TwinCluster> {
    return TwinCluster.on(await TwinNodes.create(variant, { serverName: endpointName }), places);
  }

  /** The same on nodes that are there already, whose pods answer with {@link endpointName}; `close` closes them. */
  static async on(
    twins: Twins,
    places: Places,
    programmedWithinMs = usualProgrammedMs,
  ): Promise<TwinCluster> {
    const cluster = new TwinCluster(twins, places, programmedWithinMs);
    try {
      for (const [, lab] of cluster.labs()) {
        await lab.serveOnNode();
        await lab.onNode('sh', '-c', liftIcmpLimit);
      }
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  labs(): readonly (readonly [Twin, NodeLab])[] {
    return twinNames.map((twin) => [twin, this.twins.labs[twin]] as const);
  }

  /** Starts both proxies with these flags, in place of those that run. */
  async startProxies(flags: readonly string[]): Promise<void> {
    await this.stopProxies();
    this.#proxies = twinNames.map((twin) => this.twins.startProxy(twin, flags));
  }

  /** What the proxies have said so far. */
  logs(): readonly string[] {
    return this.#proxies.map(({ log }) => log);
  }

  async stopProxies(): Promise<void> {
    await Promise.all(this.#proxies.map(async (proxy) => proxy.stop()));
    this.#proxies = [];
  }

  /** Makes the objects, runs `use` once both proxies have programmed them, and removes them. */
  async with<T>(
    bundles: readonly Bundle[],
    use: (made: readonly Made[]) => Promise<T>,
  ): Promise<T> {
    const marker = this.#marker();
    const all = [...bundles, marker];
    try {
      const made = await this.#make(bundles);
      await this.#make([marker]);
      await this.#programmed(marker);
      // What was asked before is nothing that the questions to come should meet.
      await Promise.all(this.labs().map(async ([, lab]) => lab.onNode('conntrack', '-F')));
      return await use(made);
    } finally {
      await this.#remove(all);
    }
  }

  async close(): Promise<void> {
    await this.stopProxies();
    await this.twins.close();
  }

  /** Objects are seen in the order they were made: once the last is programmed, so are the others. */
  #marker(): Bundle {
    const name = `marker-${++this.#markers}`;
    const clusterIPs = [this.#places.clusterIP('ipv4'), this.#places.clusterIP('ipv6')];
    const spec = {
      clusterIP: clusterIPs[0] ?? '',
      clusterIPs,
      ipFamilies: ['IPv4', 'IPv6'],
      ipFamilyPolicy: 'RequireDualStack',
      ports: [{ name: 'http', protocol: 'TCP', port: 80 } as const],
    };
    return {
      name,
      services: [[{ metadata: { name }, spec }]],
      slices: (['IPv4', 'IPv6'] as const).map((addressType, n) =>
        sliceOf(name, n, {
          addressType,
          ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
          endpoints: [
            {
              addresses: [podAddress('pod-a', addressType === 'IPv4' ? 'ipv4' : 'ipv6')],
              nodeName: 'node-a',
              conditions: { ready: true },
            },
          ],
        }),
      ),
    };
  }

  async #programmed(marker: Bundle): Promise<void> {
    const clusterIPs = marker.services.flat().flatMap(({ spec }) => spec.clusterIPs ?? []);
    const told = async (twin: Twin, n: number, what: string, cause?: unknown): Promise<never> => {
      const log = this.#proxies[n]?.log.slice(-4000) ?? 'no proxy';
      throw new Error(`${twin} ${what}; it said:\n${log}`, { cause });
    };
    const ended = twinNames.map(async (twin, n) => {
      await this.#proxies[n]?.ended();
      await told(twin, n, 'has ended');
    });
    for (const each of ended) each.catch(() => {}); // the end of a proxy is no news once nobody waits for it
    const answered = this.labs().flatMap(([twin, lab], n) =>
      clusterIPs.map(async (to) => {
        try {
          await eventually(
            async () => lab.probe('client', { to, port: 80, timeoutMs: 400 }),
            (answer) => typeof answer !== 'string',
            this.#programmedWithinMs,
          );
        } catch (error) {
          await told(twin, n, `has not programmed ${to}:80`, error);
        }
      }),
    );
    await Promise.race([Promise.all(answered), ...ended]);
  }

  async #make(bundles: readonly Bundle[]): Promise<readonly Made[]> {
    const { plane } = this.twins;
    const found = new Map<string, RawService>();
    const waves = Math.max(0, ...bundles.map((bundle) => bundle.services.length));
    for (let wave = 0; wave < waves; wave++) {
      if (wave > 0) await delay(aSecondMs);
      const list = bundles.flatMap((bundle) => bundle.services[wave] ?? []);
      const before = [...found.values()];
      const younger = await inTurns(list, requestsAtOnce, async (service) =>
        this.#makeService(service),
      );
      mustBeYounger(younger, before);
      for (const service of younger) found.set(service.metadata.name, service);
    }
    const list = bundles.flatMap((bundle) => bundle.slices);
    const answers = await inTurns(list, requestsAtOnce, async (slice) =>
      plane.must('POST', slices, {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        ...slice,
      }),
    );
    const made = new Map(list.map((slice, n) => [slice.metadata.name, answers[n] as RawSlice]));
    return bundles.map((bundle) => ({
      bundle: bundle.name,
      services: bundle.services.flat().flatMap(({ metadata }) => found.get(metadata.name) ?? []),
      slices: bundle.slices.flatMap(({ metadata }) => made.get(metadata.name) ?? []),
    }));
  }

  async #makeService({ status, ...service }: RawService): Promise<RawService> {
    const { plane } = this.twins;
    const body = { apiVersion: 'v1', kind: 'Service', ...service };
    const made = await plane.must('POST', services, body);
    if (status === undefined) return made as RawService;
    const path = `${services}/${service.metadata.name}/status`;
    return (await plane.must(
      'PATCH',
      path,
      { status },
      'application/merge-patch+json',
    )) as RawService;
  }

  async #remove(bundles: readonly Bundle[]): Promise<void> {
    const paths = bundles.flatMap((bundle) => [
      ...bundle.slices.map(({ metadata }) => `${slices}/${metadata.name}`),
      ...bundle.services.flat().map(({ metadata }) => `${services}/${metadata.name}`),
    ]);
    await inTurns(paths, requestsAtOnce, async (path) => this.twins.plane.request('DELETE', path));
  }
}

/** What a server calls itself: the endpoint that was reached. */
export function endpointName(_: Actor, address: string, port: number): string {
  return hostPort(address as Address, port);
}

/** The creation times of a wave are later than those of the waves before it: they decide who is the older one. */
function mustBeYounger(wave: readonly RawService[], before: readonly RawService[]): void {
  const latest = before.map(createdAt).toSorted().at(-1) ?? '';
  const early = wave.find((service) => createdAt(service) <= latest);
  if (early) throw new Error(`${early.metadata.name} is not younger than what was made before it`);
}

function createdAt({ metadata }: RawService): string {
  return metadata.creationTimestamp ?? '';
}
