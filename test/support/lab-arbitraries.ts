import * as fc from 'fast-check';
import type { NodeContext, PodDetector } from '../../src/graph/node-context.ts';
import type { Address, Family } from '../../src/ip/address.ts';
import type { Protocol, ServiceName, ServicePort } from '../../src/services/service-port.ts';
import { lab4, lab6, podPorts } from './node-lab.ts';
import type { Actor } from './node-lab.ts';
import { address, cidr, endpoint, servicePort } from './service-ports.ts';

/** A request in the lab, as the simulator takes it and as an actor asks it. */
export interface LabAttempt {
  readonly actor: Actor;
  readonly source: Address;
  /** The node's end of the actor's link; undefined: the node itself asks. */
  readonly inInterface: string | undefined;
  readonly protocol: 'tcp' | 'udp';
  readonly destination: Address;
  readonly destinationPort: number;
}

const localPods = ['pod-a', 'pod-b', 'pod-c'] as const;
const pods = [...localPods, 'remote'] as const;

/** The lab's addresses of a family, as typed ones. */
export function plan(family: Family): {
  readonly of: (actor: Actor) => Address;
  readonly localAddresses: readonly Address[];
  readonly service: (n: number) => Address;
  readonly external: (n: number) => Address;
  /** The pod that has an address. */
  readonly ownerOf: (address: Address) => string | undefined;
} {
  const lab = family === 'ipv4' ? lab4 : lab6;
  return {
    of: (actor) => address(lab[actor]),
    localAddresses: [lab.node, lab.podGateway].map(address),
    service: (n) => address(family === 'ipv4' ? `10.96.0.${n}` : `fd00:10:96::${n}`),
    external: (n) => address(family === 'ipv4' ? `203.0.113.${n}` : `2001:db8:ffff::${n}`),
    ownerOf: (found) => pods.find((pod) => lab[pod] === found),
  };
}

/** The lab's node under all settings that rules depend on. */
export function labNodes(family: Family): fc.Arbitrary<NodeContext> {
  const { of, localAddresses } = plan(family);
  const v4 = family === 'ipv4';
  return fc.record({
    family: fc.constant(family),
    nodeName: fc.constant('node-a'),
    podDetector: fc.constantFrom<PodDetector>(
      { kind: 'none' },
      { kind: 'cidr', cidr: cidr(v4 ? '10.244.0.0/24' : 'fd00:10:244::/64') },
      { kind: 'interfacePrefix', prefix: 'pod-' },
      { kind: 'interface', name: 'pod-a' },
    ),
    nodeAddress: fc.constant(of('node')),
    localAddresses: fc.constant(localAddresses),
    nodePortAddresses: fc.constantFrom(
      { kind: 'all' as const, loopback: v4 },
      { kind: 'list' as const, addresses: [of('node')] },
    ),
    masqueradeAll: fc.boolean(),
    serviceCidrs: fc.constantFrom([], [cidr(v4 ? '10.96.0.0/16' : 'fd00:10:96::/112')]),
  });
}

const protocols = fc.constantFrom<Protocol>('TCP', 'UDP');
const policies = fc.constantFrom('Cluster' as const, 'Local' as const);

/** Services without affinity (a second request would not be a first one), with the lab's pods behind them. */
export function labServicePorts(family: Family): fc.Arbitrary<readonly ServicePort[]> {
  const { of, service, external } = plan(family);
  const text = (at: Address, port: number): string =>
    family === 'ipv4' ? `${at}:${port}` : `[${at}]:${port}`;
  const one = fc.record({
    n: fc.integer({ min: 1, max: 24 }),
    port: fc.constantFrom(53, 80),
    protocol: protocols,
    externals: fc.subarray([1, 2, 3, 4], { maxLength: 1 }),
    balancers: fc.subarray([5, 6], { maxLength: 1 }),
    nodePort: fc.option(fc.integer({ min: 30_000, max: 30_019 }), { nil: 0 }),
    ranged: fc.boolean(),
    internalPolicy: policies,
    externalPolicy: policies,
    // Pods by name and port: over eight endpoints a pool is a tree.
    endpoints: fc.subarray(pods.flatMap((pod) => podPorts.map((port) => [pod, port] as const))),
  });
  return fc.array(one, { minLength: 24, maxLength: 24 }).map((list) =>
    list.map(({ n, externals, balancers, ranged, endpoints, ...rest }, i) =>
      servicePort({
        ...rest,
        service: `default/s${i}` as ServiceName,
        clusterIP: service(n),
        externalIPs: externals.map(external),
        loadBalancerIPs: balancers.map(external),
        sourceRanges: ranged ? [`${of('client')}/${family === 'ipv4' ? 32 : 128}`] : [],
        endpoints: endpoints.map(([pod, port]) =>
          endpoint(text(of(pod), port), { local: pod !== 'remote' }),
        ),
      }),
    ),
  );
}

/** Requests for what the services offer, for other ports, for pods and for addresses nobody has. */
export function labAttempts(
  family: Family,
  node: NodeContext,
  list: readonly ServicePort[],
): fc.Arbitrary<LabAttempt> {
  const { of, service } = plan(family);
  const offers = list.flatMap(({ clusterIP, externalIPs, loadBalancerIPs, ...one }) => [
    ...[clusterIP, ...externalIPs, ...loadBalancerIPs].map((at) => [at, one.port] as const),
    ...(one.nodePort === 0 ? [] : [[of('node'), one.nodePort] as const]),
  ]);
  const others = [
    [service(200), 80],
    [of('node'), 30_099],
    ...pods.map((pod) => [of(pod), podPorts[0]] as const),
  ] as const;
  const where = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...offers) },
    { weight: 1, arbitrary: fc.constantFrom(...others) },
  );
  const protocol = fc.constantFrom('tcp' as const, 'udp' as const);
  const routed = fc
    .tuple(fc.constantFrom('client', 'node', ...pods), where, protocol)
    .map(([actor, [destination, destinationPort], proto]): LabAttempt => ({
      actor,
      source: of(actor),
      inInterface: actor === 'node' ? undefined : actor,
      protocol: proto,
      destination,
      destinationPort,
    }))
    // What a pod says to its own address never passes the node.
    .filter(({ source, destination }) => source !== destination || source === of('node'));
  const nodePorts = offers.filter(([at]) => at === of('node'));
  const { nodePortAddresses: open } = node;
  if (open.kind !== 'all' || !open.loopback || nodePorts.length === 0) return routed;
  const own = fc
    .tuple(fc.constantFrom(...nodePorts), protocol)
    .map(([[, destinationPort], proto]): LabAttempt => {
      const loopback = address('127.0.0.1');
      const ends = { source: loopback, destination: loopback, destinationPort };
      return { actor: 'node', inInterface: undefined, protocol: proto, ...ends };
    });
  return fc.oneof({ weight: 10, arbitrary: routed }, { weight: 1, arbitrary: own });
}
