import * as fc from 'fast-check';
import type { Family } from '../../src/ip/address.ts';
import { podPorts } from '../support/node-lab.ts';
import { sliceOf } from './objects.ts';
import type {
  Bundle,
  RawEndpoint,
  RawIngress,
  RawPort,
  RawServiceSpec,
  RawSlice,
} from './objects.ts';
import { localPods, podAddress } from './place.ts';
import type { Places } from './place.ts';

/** Among them one in the node's own network. */
const pods = [...localPods, 'remote', 'node'] as const;
const bothFamilies = ['ipv4', 'ipv6'] as const;
const labels = { ipv4: 'IPv4', ipv6: 'IPv6' } as const;

/** Ranges with the client inside, the hundreds of clients inside, the node inside, and nobody inside. */
const ranges = {
  ipv4: ['192.0.2.10/32', '198.18.0.0/24', '192.0.2.1/32', '198.51.100.0/24'],
  ipv6: ['2001:db8::10/128', '2001:db8:cafe::/48', '2001:db8::1/128', '2001:db8:beef::/48'],
} as const;

const conditions = fc.oneof<fc.MaybeWeightedArbitrary<Readonly<Record<string, boolean>>>[]>(
  { weight: 6, arbitrary: fc.constant({ ready: true }) },
  { weight: 1, arbitrary: fc.constant({ ready: true, serving: true, terminating: false }) },
  { weight: 2, arbitrary: fc.constant({ ready: false, serving: true, terminating: true }) },
  { weight: 1, arbitrary: fc.constant({ ready: false, serving: false, terminating: true }) },
  { weight: 1, arbitrary: fc.constant({ ready: false }) },
  { weight: 1, arbitrary: fc.constant({}) },
);

/** How the endpoints of a service are hinted: all alike, or the more interesting some of them. */
const hinting = fc.oneof(
  { weight: 4, arbitrary: fc.constant('none' as const) },
  { weight: 2, arbitrary: fc.constant('zones' as const) },
  { weight: 1, arbitrary: fc.constant('nodes' as const) },
  { weight: 1, arbitrary: fc.constant('some' as const) },
);

const endpointShape = fc.record({
  pod: fc.constantFrom(...pods),
  conditions,
  zones: fc.subarray(['a', 'b', 'c'], { minLength: 1, maxLength: 2 }),
  nodes: fc.constantFrom('node-a', 'node-b'),
  hinted: fc.boolean(),
});

const sliceShape = fc.record({
  port: fc.constantFrom(...podPorts),
  /** All endpoints terminate, or none of the node's is there: what policies depend on. */
  mood: fc.oneof(
    { weight: 5, arbitrary: fc.constant('any' as const) },
    { weight: 1, arbitrary: fc.constant('terminating' as const) },
    { weight: 1, arbitrary: fc.constant('elsewhere' as const) },
  ),
  endpoints: fc.uniqueArray(endpointShape, { maxLength: 4, selector: ({ pod }) => pod }),
  /** Leaves out a port of the service, or has it with another protocol. */
  gap: fc.oneof(
    { weight: 8, arbitrary: fc.constant('none' as const) },
    { weight: 1, arbitrary: fc.constant('no port' as const) },
    { weight: 1, arbitrary: fc.constant('protocol' as const) },
  ),
});

const policies = fc.constantFrom('Cluster', 'Local');

const shape = fc.record({
  type: fc.oneof(
    { weight: 4, arbitrary: fc.constant('ClusterIP' as const) },
    { weight: 4, arbitrary: fc.constant('NodePort' as const) },
    { weight: 6, arbitrary: fc.constant('LoadBalancer' as const) },
    { weight: 1, arbitrary: fc.constant('ExternalName' as const) },
    { weight: 1, arbitrary: fc.constant('Headless' as const) },
  ),
  families: fc.constantFrom<readonly Family[]>(
    ['ipv4'],
    ['ipv4'],
    ['ipv6'],
    ['ipv4', 'ipv6'],
    ['ipv6', 'ipv4'],
  ),
  ports: fc.uniqueArray(
    fc.record({ port: fc.constantFrom(53, 80, 443), protocol: fc.constantFrom('TCP', 'UDP') }),
    { minLength: 1, maxLength: 3, selector: ({ port, protocol }) => `${port}/${protocol}` },
  ),
  externals: fc.constantFrom(0, 0, 0, 1, 2),
  ingress: fc.array(
    fc.constantFrom(
      'VIP' as const,
      'VIP' as const,
      'default' as const,
      'Proxy' as const,
      'hostname' as const,
    ),
    { maxLength: 2 },
  ),
  ranges: fc.oneof(
    { weight: 3, arbitrary: fc.constant<number[]>([]) },
    { weight: 2, arbitrary: fc.subarray([0, 1, 2, 3], { minLength: 1, maxLength: 2 }) },
  ),
  /** Ranges of one family alone leave the other one open. */
  rangeFamilies: fc.constantFrom<readonly Family[]>(bothFamilies, bothFamilies, ['ipv4'], ['ipv6']),
  internalPolicy: policies,
  externalPolicy: policies,
  hasNodePorts: fc.oneof(
    { weight: 4, arbitrary: fc.constant(true) },
    { weight: 1, arbitrary: fc.constant(false) },
  ),
  affinitySeconds: fc.constantFrom(0, 0, 0, 30, 10_800),
  hinting,
  slices: fc.array(sliceShape, { maxLength: 3 }),
  /** An endpoint of the first slice stands in another one too; the twin terminates. */
  twin: fc.boolean(),
});
type Shape = typeof shape extends fc.Arbitrary<infer T> ? T : never;
type SliceShape = Shape['slices'][number];

/** Random Services with their EndpointSlices, at places of their own; the same for the same seed. */
export function randomServices(seed: number, count: number, places: Places): readonly Bundle[] {
  const shapes = fc.sample(fc.noBias(shape), { seed, numRuns: count });
  return shapes.map((one, n) => placed(one, `random-${n}`, places));
}

function placed(one: Shape, name: string, places: Places): Bundle {
  const ports = one.ports.map(({ port, protocol }) => ({
    name: `p${port}-${protocol.toLowerCase()}`,
    port,
    protocol: protocol as RawPort['protocol'],
  }));
  const spec = specOf(one, ports, places);
  const status = statusOf(one, places);
  return {
    name,
    services: [[{ metadata: { name }, spec, ...(status && { status }) }]],
    slices: slicesOf(one, name, ports),
  };
}

function specOf(one: Shape, ports: readonly RawPort[], places: Places): RawServiceSpec {
  const externalIPs = bothFamilies
    .flatMap((family) => Array.from({ length: one.externals }, () => places.external(family)))
    .slice(0, one.externals * one.families.length);
  const common = { ports, ...(externalIPs.length > 0 && { externalIPs }) };
  if (one.type === 'ExternalName')
    return { ...common, type: one.type, externalName: 'example.com' };
  if (one.type === 'Headless') return { ...common, type: 'ClusterIP', clusterIP: 'None' };
  const clusterIPs = one.families.map((family) => places.clusterIP(family));
  const hasNodePorts = one.type === 'NodePort' || (one.type === 'LoadBalancer' && one.hasNodePorts);
  const isOutside = one.type !== 'ClusterIP' || externalIPs.length > 0;
  return {
    ...common,
    type: one.type,
    clusterIP: clusterIPs[0] ?? '',
    clusterIPs,
    ipFamilies: one.families.map((family) => labels[family]),
    ipFamilyPolicy: one.families.length === 2 ? 'RequireDualStack' : 'SingleStack',
    internalTrafficPolicy: one.internalPolicy,
    ...(isOutside && { externalTrafficPolicy: one.externalPolicy }),
    ports: ports.map((port) => (hasNodePorts ? { ...port, nodePort: places.nodePort() } : port)),
    ...(one.type === 'LoadBalancer' && balancerOf(one, places)),
    ...(one.affinitySeconds > 0 && {
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: one.affinitySeconds } },
    }),
  };
}

function balancerOf(one: Shape, places: Places): Readonly<Record<string, unknown>> {
  const sourceRanges = one.rangeFamilies.flatMap((family) =>
    one.ranges.map((n) => ranges[family][n]),
  );
  return {
    ...(!one.hasNodePorts && { allocateLoadBalancerNodePorts: false }),
    ...(sourceRanges.length > 0 && { loadBalancerSourceRanges: sourceRanges }),
    ...(one.externalPolicy === 'Local' && { healthCheckNodePort: places.nodePort() }),
  };
}

function statusOf(one: Shape, places: Places) {
  if (one.type !== 'LoadBalancer' || one.ingress.length === 0) return undefined;
  const ingress = one.ingress.flatMap((kind, n): readonly RawIngress[] => {
    if (kind === 'hostname') return [{ hostname: `lb-${n}.example.com` }];
    return one.families.map((family) => ({
      ip: places.external(family),
      ...(kind !== 'default' && { ipMode: kind }),
    }));
  });
  return { loadBalancer: { ingress } };
}

function slicesOf(one: Shape, name: string, ports: readonly RawPort[]): readonly RawSlice[] {
  const [first] = one.slices;
  const twin = first?.endpoints[0];
  // Which of two terminating twins counts is undefined, too.
  const isClear = first?.mood !== 'terminating' && twin?.conditions['terminating'] !== true;
  const twins: readonly SliceShape[] =
    one.twin && isClear && first && twin
      ? [{ ...first, mood: 'terminating', gap: 'none', endpoints: [twin] }]
      : [];
  // Twins that are not terminating count as one of them, undefined which: pods stand in one slice a port.
  const seen = new Set<string>();
  const shapes = one.slices.map((slice) => ({
    ...slice,
    endpoints: slice.endpoints.filter(({ pod }) => {
      const key = `${pod}:${slice.port}`;
      return !seen.has(key) && seen.add(key);
    }),
  }));
  return [...shapes, ...twins].flatMap((slice, n) =>
    one.families.map((family, m) =>
      sliceOf(name, n * 2 + m, {
        addressType: labels[family],
        ports: slicePorts(slice, ports),
        endpoints: slice.endpoints
          .filter(({ pod }) => slice.mood !== 'elsewhere' || pod === 'remote')
          .map((each) => endpointOf(each, one, slice.mood, family)),
      }),
    ),
  );
}

function slicePorts({ gap, port }: SliceShape, ports: readonly RawPort[]): RawSlice['ports'] {
  const kept = gap === 'no port' ? ports.slice(1) : ports;
  const other = { TCP: 'UDP', UDP: 'TCP', SCTP: 'TCP' } as const;
  return kept.map(({ name, protocol }, n) => ({
    name,
    port,
    protocol: gap === 'protocol' && n === 0 ? other[protocol] : protocol,
  }));
}

function endpointOf(
  { pod, conditions: own, zones, nodes, hinted }: SliceShape['endpoints'][number],
  one: Shape,
  mood: SliceShape['mood'],
  family: Family,
): RawEndpoint {
  const terminating = { ready: false, serving: true, terminating: true };
  const forZones = zones.map((name) => ({ name }));
  const hints = {
    none: undefined,
    zones: { forZones },
    nodes: { forZones, forNodes: [{ name: nodes }] },
    some: hinted ? { forZones } : undefined,
  }[one.hinting];
  return {
    addresses: [podAddress(pod, family)],
    nodeName: pod === 'remote' ? 'node-b' : 'node-a',
    conditions: mood === 'terminating' ? terminating : own,
    ...(hints && { hints }),
  };
}
