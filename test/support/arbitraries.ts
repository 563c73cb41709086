import * as fc from 'fast-check';
import type { NodeContext, PodDetector } from '../../src/graph/node-context.ts';
import { hostPort } from '../../src/ip/address.ts';
import type { Address, Family } from '../../src/ip/address.ts';
import type { Balancing } from '../../src/services/balancing.ts';
import type { Protocol, ServiceName, ServicePort } from '../../src/services/service-port.ts';
import { address, cidr, endpoint, servicePort } from './service-ports.ts';

/** Which addresses generated graphs and packets share, so that packets hit what is there. */
const plans = {
  ipv4: {
    at: (net: string, n: number) =>
      address(
        `${{ svc: '10.96.0.', ext: '203.0.113.', pod: '10.1.0.', far: '10.1.1.' }[net] ?? '198.51.100.'}${n}`,
      ),
    node: [address('192.0.2.1'), address('192.0.2.2')],
    services: cidr('10.96.0.0/16'),
    pods: cidr('10.1.0.0/24'),
    range: cidr('198.51.100.0/29'),
    nodeRange: cidr('192.0.2.0/24'),
    everybody: cidr('0.0.0.0/0'),
  },
  ipv6: {
    at: (net: string, n: number) =>
      address(
        `${{ svc: 'fd96::', ext: '2001:db8:e::', pod: 'fd01::', far: 'fd02::' }[net] ?? '2001:db8:c::'}${n}`,
      ),
    node: [address('2001:db8::1'), address('2001:db8::2')],
    services: cidr('fd96::/64'),
    pods: cidr('fd01::/64'),
    range: cidr('2001:db8:c::/125'),
    nodeRange: cidr('2001:db8::/64'),
    everybody: cidr('::/0'),
  },
} as const;

const protocols = fc.constantFrom<Protocol>('TCP', 'UDP', 'SCTP');
const policy = fc.constantFrom('Cluster' as const, 'Local' as const);
const ports = fc.constantFrom(53, 80, 443);
const nodePorts = fc.integer({ min: 30_000, max: 30_006 });
const healthPorts = fc.integer({ min: 30_007, max: 30_009 });

/** A node of the family: every detector, node ports everywhere or on one address. */
export function nodeContexts(family: Family): fc.Arbitrary<NodeContext> {
  const { node, services, pods } = plans[family];
  return fc.record({
    family: fc.constant(family),
    nodeName: fc.constant('node-1'),
    podDetector: fc.constantFrom<PodDetector>(
      { kind: 'none' },
      { kind: 'cidr', cidr: pods },
      { kind: 'interface', name: 'cni0' },
      { kind: 'interfacePrefix', prefix: 'cni' },
    ),
    nodeAddress: fc.constant(node[0]),
    localAddresses: fc.constant(node),
    nodePortAddresses: fc.constantFrom(
      { kind: 'all' as const, loopback: false },
      { kind: 'all' as const, loopback: family === 'ipv4' },
      { kind: 'list' as const, addresses: node.slice(0, 1) },
    ),
    masqueradeAll: fc.boolean(),
    serviceCidrs: fc.constantFrom([], [services]),
  });
}

/** More than a chain of random choices holds. */
const crowd = Array.from({ length: 80 }, (_, i) => ({
  n: 21 + i,
  local: false,
  ready: true,
  serving: true,
  terminating: false,
}));

/** What annotations may ask: mostly nothing, else weights of some endpoints and of a node, and a scheduler. */
function balancings(family: Family): fc.Arbitrary<Balancing | undefined> {
  const weight = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 65_535 }));
  const key = fc.oneof(
    fc
      .tuple(fc.constantFrom('pod', 'far'), fc.integer({ min: 1, max: 22 }))
      .map(([net, n]): string => plans[family].at(net, n)),
    fc.constantFrom('node/node-1', 'node/node-2'),
  );
  const asked = fc.record({
    weights: fc
      .array(fc.tuple(key, weight), { minLength: 1, maxLength: 12 })
      .map((entries) => new Map(entries)),
    scheduling: fc.constantFrom(
      { scheduler: 'wrr' as const, flags: [] },
      { scheduler: 'mh' as const, flags: ['mh-port' as const] },
    ),
    drainSeconds: fc.constantFrom(0, 30),
  });
  return fc.oneof(
    { weight: 2, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: asked.map(({ weights }) => ({ weights })) },
    { weight: 1, arbitrary: asked },
  );
}

/** Service ports that are crowded on few addresses, with up to 20 endpoints each; one in ten has a crowd besides. */
export function servicePortLists(family: Family): fc.Arbitrary<readonly ServicePort[]> {
  const plan = plans[family];
  const some = (net: string) =>
    fc.uniqueArray(
      fc.integer({ min: 1, max: 4 }).map((n) => plan.at(net, n)),
      { maxLength: 2 },
    );
  const endpoints = fc.uniqueArray(
    fc.record({
      n: fc.integer({ min: 1, max: 20 }),
      local: fc.boolean(),
      ready: fc.boolean(),
      serving: fc.boolean(),
      terminating: fc.boolean(),
    }),
    { maxLength: 20, selector: ({ n }) => n },
  );
  const one = fc.record({
    n: fc.integer({ min: 1, max: 40 }),
    port: fc.oneof(ports, fc.integer({ min: 8000, max: 8030 }), nodePorts),
    protocol: protocols,
    outside: fc.boolean(),
    externalIPs: fc.oneof(some('ext'), fc.constant(plan.node.slice(0, 1))),
    loadBalancerIPs: some('ext'),
    nodePort: fc.option(nodePorts, { nil: 0 }),
    sourceRanges: fc.constantFrom(
      [],
      [],
      [],
      [plan.range],
      [plan.range],
      [plan.range, plan.nodeRange],
      [plan.everybody],
    ),
    healthPort: fc.option(healthPorts, { nil: 0 }),
    /** A pod in the network of the node, at a port that may be another's node port. */
    hosted: fc.option(nodePorts, { freq: 4 }),
    affinity: fc.boolean(),
    internalPolicy: policy,
    externalPolicy: policy,
    balancing: balancings(family),
    endpoints,
    crowd: fc.nat(9).map((n) => (n === 0 ? crowd : [])),
  });
  return fc.array(one, { minLength: 1, maxLength: 40 }).map((list) =>
    list.map((s, i) =>
      servicePort({
        service: `default/s${i}` as ServiceName,
        clusterIP: plan.at(s.outside ? 'ext' : 'svc', s.outside ? s.n + 10 : s.n),
        port: s.port,
        protocol: s.protocol,
        externalIPs: s.externalIPs,
        loadBalancerIPs: s.loadBalancerIPs,
        nodePort: s.nodePort,
        sourceRanges: s.sourceRanges,
        healthCheckNodePort: s.healthPort,
        affinitySeconds: s.affinity ? 10_800 : undefined,
        internalPolicy: s.internalPolicy,
        externalPolicy: s.externalPolicy,
        ...(s.balancing && { balancing: s.balancing }),
        endpoints: [
          ...[...s.endpoints, ...s.crowd].map(({ n, ...state }) =>
            endpoint(hostPort(plan.at(state.local ? 'pod' : 'far', n), 8080), state),
          ),
          ...(s.hosted === null
            ? []
            : [endpoint(hostPort(plan.node[0], s.hosted), { local: true })]),
        ],
      }),
    ),
  );
}

/** Where a connection starts and what it asks for. */
export interface Attempt {
  readonly protocol: Protocol;
  readonly source: Address;
  readonly destination: Address;
  readonly port: number;
  readonly inInterface: string | undefined;
}

/** Attempts at what the service ports offer, at their other ports, and at hosts beside them. */
export function attempts(family: Family, list: readonly ServicePort[]): fc.Arbitrary<Attempt> {
  const plan = plans[family];
  const sources = fc.oneof(
    fc
      .integer({ min: 1, max: 20 })
      .map((n) => ({ source: plan.at('pod', n), inInterface: 'cni0' })),
    fc
      .integer({ min: 1, max: 12 })
      .map((n) => ({ source: plan.at('out', n), inInterface: 'eth0' })),
    fc.constantFrom(...plan.node).map((source) => ({ source, inInterface: undefined })),
  );
  const offers = list.flatMap((s) => [
    ...[s.clusterIP, ...s.externalIPs, ...s.loadBalancerIPs].map((destination) => ({
      destination,
      port: s.port,
      protocol: s.protocol,
    })),
    ...(s.nodePort === 0
      ? []
      : plan.node.map((destination) => ({ destination, port: s.nodePort, protocol: s.protocol }))),
  ]);
  const checked = list.flatMap((s) =>
    s.healthCheckNodePort === 0
      ? []
      : [...plan.node, s.clusterIP, ...s.loadBalancerIPs].map((destination) => ({
          destination,
          port: s.healthCheckNodePort,
          protocol: 'TCP' as const,
        })),
  );
  // Hosts that are no service's: beside cluster IPs, where masquerading is hoisted, and elsewhere.
  const neighbour = fc.record({
    destination: fc
      .tuple(fc.constantFrom('svc', 'ext', 'pod'), fc.integer({ min: 60, max: 70 }))
      .map(([net, n]) => plan.at(net, n)),
    port: ports,
    protocol: protocols,
  });
  const hit = fc.constantFrom(...offers);
  const miss = fc
    .record({ at: hit, port: ports, protocol: protocols })
    .map(({ at, port, protocol }) => ({ ...at, port, protocol }));
  const where = fc.oneof(
    { weight: 8, arbitrary: hit },
    { weight: 2, arbitrary: miss },
    { weight: 1, arbitrary: neighbour },
    ...(checked.length === 0 ? [] : [{ weight: 1, arbitrary: fc.constantFrom(...checked) }]),
  );
  const routed = fc.tuple(sources, where).map(([from, to]) => ({ ...from, ...to }));
  return fc.oneof({ weight: 12, arbitrary: routed }, { weight: 1, arbitrary: loopback(family) });
}

/** The node asks for a node port of its own loopback address. */
function loopback(family: Family): fc.Arbitrary<Attempt> {
  const own = address(family === 'ipv4' ? '127.0.0.1' : '::1');
  return fc.record({
    source: fc.constant(own),
    destination: fc.constant(own),
    port: nodePorts,
    protocol: protocols,
    inInterface: fc.constant(undefined),
  });
}
