import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseAddress } from '../../../src/ip/address.ts';
import { cidrContains, parseCidr } from '../../../src/ip/cidr.ts';
import { address, cidr, nodeContext } from '../../support/service-ports.ts';
import { ingress, nodes, rawService, rawSlice, Scene, zones } from '../../support/scene.ts';

/**
 * What the specification (sections 1 to 3) says of one Service, written down a second time and as
 * plainly as it can be, against raw objects that went all the way through the rule graph.
 */

const here = 'node-1';
const podCidr = cidr('10.244.0.0/16');
const clusterIP = '10.96.0.41';

interface RawEndpoint {
  readonly ip: string;
  readonly nodeName: string | undefined;
  readonly ready: boolean | undefined;
  readonly serving: boolean | undefined;
  readonly terminating: boolean | undefined;
  readonly zones: readonly string[];
  readonly nodes: readonly string[];
}

const condition = fc.constantFrom(undefined, true, false);
const endpoints = fc.uniqueArray(
  fc.record<RawEndpoint>({
    ip: fc.integer({ min: 1, max: 9 }).map((n) => `10.244.1.${n}`),
    nodeName: fc.constantFrom(here, 'node-2', undefined),
    ready: fc.oneof({ weight: 2, arbitrary: fc.constant(true) }, condition),
    serving: condition,
    terminating: condition,
    zones: fc.oneof(fc.constant(['a']), fc.subarray(['a', 'b', ''])),
    nodes: fc.subarray([here, 'node-2']),
  }),
  { maxLength: 6, selector: ({ ip }) => ip },
);

const policy = fc.constantFrom(undefined, 'Cluster', 'Local');
const balancers = fc.subarray([
  { ip: '203.0.113.9' },
  { ip: '203.0.113.8', ipMode: 'VIP' },
  { ip: '203.0.113.7', ipMode: 'Proxy' },
  { hostname: 'lb.example' },
  { ip: '2001:db8::9' },
]);

const worlds = fc.record({
  type: fc.constantFrom('ClusterIP', 'NodePort', 'LoadBalancer'),
  nodePort: fc.constantFrom(0, 30_080),
  externalIPs: fc.subarray(['203.0.113.1', '2001:db8::1']),
  ranges: fc.subarray([' 198.51.100.7/24', '192.168.0.0/24', 'fd00::/8', 'none'], { maxLength: 2 }),
  internal: policy,
  external: policy,
  balancers,
  endpoints,
  zone: fc.constantFrom(undefined, '', 'a', 'b'),
  detector: fc.boolean(),
  masqueradeAll: fc.boolean(),
});

type World = typeof worlds extends fc.Arbitrary<infer T> ? T : never;

function sceneOf(world: World): Scene {
  const service = rawService(
    {
      type: world.type,
      clusterIP,
      ports: [{ name: 'http', port: 80, nodePort: world.nodePort }],
      externalIPs: world.externalIPs,
      loadBalancerSourceRanges: world.ranges,
      internalTrafficPolicy: world.internal,
      externalTrafficPolicy: world.external,
    },
    ingress(...world.balancers),
  );
  const slice = rawSlice(
    world.endpoints.map(({ ip, nodeName, ready, serving, terminating, ...hints }) => ({
      addresses: [ip],
      nodeName,
      conditions: { ready, serving, terminating },
      hints: { ...zones(...hints.zones), ...nodes(...hints.nodes) },
    })),
  );
  const node = nodeContext({
    podDetector: world.detector ? { kind: 'cidr', cidr: podCidr } : { kind: 'none' },
    masqueradeAll: world.masqueradeAll,
    localAddresses: ['127.0.0.1', '192.168.0.2'].map(address),
  });
  return new Scene([service], [slice], { node, zone: world.zone });
}

/** The answers the specification gives for one world. */
class Oracle {
  readonly #world: World;
  readonly #balancers: readonly string[];
  readonly #external: boolean;
  readonly #externalLocal: boolean;

  constructor(world: World) {
    this.#world = world;
    this.#balancers = world.balancers.flatMap((each) =>
      'ip' in each && isV4(each.ip) && !('ipMode' in each && each.ipMode === 'Proxy')
        ? [each.ip]
        : [],
    );
    this.#external =
      world.nodePort !== 0 || this.#balancers.length > 0 || world.externalIPs.some(isV4);
    const outward = world.type !== 'ClusterIP' || world.externalIPs.length > 0;
    this.#externalLocal = outward && world.external === 'Local' && this.#external;
  }

  answer(from: string, to: string, port: number): string {
    const isNode = to === '192.168.0.2' || to === '127.0.0.1';
    if (to === clusterIP && port === 80) return this.#internal(from);
    if (isNode && port === this.#world.nodePort) return this.#outer(from);
    if (port !== 80) return 'pass';
    if (this.#balancers.includes(to)) return this.#mayEnter(from) ? this.#outer(from) : 'drop';
    return this.#world.externalIPs.includes(to) ? this.#outer(from) : 'pass';
  }

  #internal(from: string): string {
    if (!this.#hasAny()) return 'reject';
    const list = this.#world.internal === 'Local' ? this.#local() : this.#cluster();
    if (list.length === 0) return 'drop';
    const hidden = this.#world.masqueradeAll || (this.#world.detector && !this.#isPod(from));
    return spread(list, hidden, from);
  }

  #outer(from: string): string {
    if (!this.#hasAny()) return 'reject';
    if (!this.#externalLocal) return spread(this.#cluster(), true, from);
    if (this.#isPod(from)) return spread(this.#cluster(), false, from);
    if (from === '192.168.0.2' || from === '127.0.0.1') return spread(this.#cluster(), true, from);
    const list = this.#local();
    return list.length === 0 ? 'drop' : spread(list, false, from);
  }

  #mayEnter(from: string): boolean {
    const ranges = this.#world.ranges.map((text) => text.trim()).filter(isV4Range);
    if (ranges.length === 0 || !this.#hasAny()) return true;
    const holds = (who: string) => ranges.some((range) => cidrContains(cidr(range), address(who)));
    return holds(from) || (holds('192.168.0.2') && this.#balancers.includes(from));
  }

  #isPod(from: string): boolean {
    return this.#world.detector && cidrContains(podCidr, address(from));
  }

  #hasAny(): boolean {
    const { internal, endpoints: all } = this.#world;
    const usesLocal = internal === 'Local' || this.#externalLocal;
    const somewhere = all.some((each) => isReady(each) || takesOver(each));
    const usesCluster = internal !== 'Local' || this.#external;
    return (usesCluster && this.#cluster().length > 0) || (usesLocal && somewhere);
  }

  #cluster(): readonly RawEndpoint[] {
    const { endpoints: all, zone } = this.#world;
    const ready = all.filter(isReady);
    const byNode = ready.filter((each) => each.nodes.includes(here));
    const byZone = ready.filter((each) => each.zones.includes(zone ?? ''));
    let list = ready;
    if (ready.every((each) => each.nodes.length > 0) && byNode.length > 0) list = byNode;
    else if (zone && ready.every((each) => each.zones.length > 0) && byZone.length > 0)
      list = byZone;
    return list.length > 0 ? list : all.filter(takesOver);
  }

  #local(): readonly RawEndpoint[] {
    const local = this.#world.endpoints.filter(({ nodeName }) => nodeName === here);
    const ready = local.filter(isReady);
    return ready.length > 0 ? ready : local.filter(takesOver);
  }
}

function isReady({ ready }: RawEndpoint): boolean {
  return ready ?? true;
}

function takesOver({ serving, terminating }: RawEndpoint): boolean {
  return (serving ?? true) && (terminating ?? false);
}

function isV4(text: string): boolean {
  return parseAddress(text) !== undefined && !text.includes(':');
}

function isV4Range(text: string): boolean {
  return parseCidr(text) !== undefined && !text.includes(':');
}

function spread(list: readonly RawEndpoint[], hidden: boolean, from: string): string {
  const share = list.length === 1 ? '1' : `1/${list.length}`;
  return list
    .toSorted((a, b) => (a.ip < b.ip ? -1 : 1))
    .map(({ ip }) => `${ip}:8080 ${share}${hidden || ip === from ? ' masq' : ''}`)
    .join(', ');
}

const sources = [
  '10.244.1.1',
  '10.244.9.9',
  '8.8.8.8',
  '198.51.100.3',
  '192.168.0.77',
  '192.168.0.2',
  '127.0.0.1',
  '203.0.113.9',
];
const targets: readonly (readonly [string, number])[] = [
  [clusterIP, 80],
  [clusterIP, 81],
  ['203.0.113.1', 80],
  ['192.168.0.2', 30_080],
  ['127.0.0.1', 30_080],
  ['203.0.113.7', 80],
  ['203.0.113.8', 80],
  ['203.0.113.9', 80],
];

it('one Service means what the specification says, from everywhere to everywhere', () => {
  fc.assert(
    fc.property(worlds, (world) => {
      const scene = sceneOf(world);
      const oracle = new Oracle(world);
      for (const from of sources) {
        for (const [to, port] of targets) {
          const question = `${from} → ${to}:${port}: `;
          expect(question + scene.sent(from, to, port)).toBe(
            question + oracle.answer(from, to, port),
          );
        }
      }
    }),
    { numRuns: 300 },
  );
});
