import { familyOf } from '../../src/ip/address.ts';
import type { Address, Family } from '../../src/ip/address.ts';
import { lab4, lab6 } from '../support/node-lab.ts';
import type { Actor } from '../support/node-lab.ts';
import { address } from '../support/service-ports.ts';
import type { RawPort, RawService } from './objects.ts';
import { nodeAddress } from './place.ts';
import type { Made } from './twin-cluster.ts';

/** What of a service is asked. */
export type FrontendName =
  | 'cluster IP'
  | 'external IP'
  | 'load balancer IP'
  | 'node port'
  | 'node port on loopback'
  | 'node port on another address'
  | 'unused port'
  | 'returning clients';

/** A request by one actor for one address and port; both twins are asked it. */
export interface LabQuestion {
  readonly bundle: string;
  readonly service: string;
  readonly portName: string;
  readonly frontend: FrontendName;
  readonly actor: Actor;
  readonly source: Address;
  readonly to: Address;
  readonly port: number;
  readonly proto: 'tcp' | 'udp';
  /** Asked several times in turn, by one client. */
  readonly sticky: boolean;
  /** Asked by hundreds of clients instead: the source of the n-th of them. */
  readonly crowd?: (n: number) => Address;
  readonly family: Family;
}

interface Target {
  readonly frontend: FrontendName;
  readonly to: string;
  readonly port: number;
}

interface Asker {
  readonly actor: Actor;
  readonly source: string;
  readonly isCrowd?: true;
}

const actors = ['client', 'node', 'pod-a', 'pod-b', 'pod-c', 'remote'] as const;
/** One of the hundreds of clients, which source ranges tell from the first one. */
const otherClient = '198.18.0.7';

/**
 * Every address and port a service has, for its own and the pods' sake: asked by a client outside,
 * another client, the node itself, each pod of the node (an endpoint among them calls itself) and a pod of
 * another node.
 */
export function questionsOf({ bundle, services }: Made): readonly LabQuestion[] {
  return services.flatMap((service) =>
    (service.spec.ports ?? [])
      .filter(({ protocol }) => protocol !== 'SCTP')
      .flatMap((port) =>
        targets(service, port).flatMap((target) =>
          askers(service, target).map((asker) => question(bundle, service, port, target, asker)),
        ),
      ),
  );
}

function question(
  bundle: string,
  { metadata, spec }: RawService,
  { name, protocol }: RawPort,
  { frontend, to, port }: Target,
  { actor, source, isCrowd }: Asker,
): LabQuestion {
  return {
    bundle,
    service: metadata.name,
    portName: name,
    frontend,
    actor,
    source: address(source),
    to: address(to),
    port,
    proto: protocol === 'UDP' ? 'udp' : 'tcp',
    sticky: spec.sessionAffinity === 'ClientIP' && isCrowd === undefined,
    ...(isCrowd && { crowd }),
    family: familyOf(address(to)),
  };
}

function targets({ spec, status }: RawService, { port, nodePort = 0 }: RawPort): readonly Target[] {
  const clusterIPs = (spec.clusterIPs ?? []).filter((ip) => ip !== 'None');
  const balancers = (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip ?? []);
  const families = new Set([...clusterIPs, ...balancers].map((ip) => familyOf(address(ip))));
  const at = (frontend: FrontendName, list: readonly string[], number = port): readonly Target[] =>
    list.map((to) => ({ frontend, to, port: number }));
  return [
    ...at('cluster IP', clusterIPs),
    ...at('unused port', clusterIPs.slice(0, 1), port + 1),
    ...at('external IP', spec.externalIPs ?? []),
    ...at('load balancer IP', balancers),
    ...(nodePort === 0 ? [] : [...families].flatMap((family) => nodePorts(family, nodePort))),
  ];
}

function nodePorts(family: Family, port: number): readonly Target[] {
  const [loopback, other] =
    family === 'ipv4' ? ['127.0.0.1', lab4.podGateway] : ['::1', lab6.podGateway];
  return [
    { frontend: 'node port', to: nodeAddress(family), port },
    { frontend: 'node port on loopback', to: loopback, port },
    { frontend: 'node port on another address', to: other, port },
  ];
}

/** The n-th of hundreds of clients. */
export function crowd(n: number): Address {
  return address(`198.18.${1 + (n >> 8)}.${n & 255}`);
}

function askers({ spec }: RawService, { frontend, to }: Target): readonly Asker[] {
  const family = familyOf(address(to));
  const lab = family === 'ipv4' ? lab4 : lab6;
  const of = (actor: Actor): Asker => ({ actor, source: lab[actor] });
  const itself: Asker = { actor: 'node', source: to };
  switch (frontend) {
    case 'node port on loopback':
      return [itself];
    case 'node port on another address':
      return [of('client'), of('pod-a'), itself];
    case 'unused port':
      return [of('client'), of('pod-a')];
    case 'load balancer IP':
      return [...actors.map(of), ...others(family, { source: otherClient })];
    case 'cluster IP':
      // With affinity a client sees one endpoint; who else is there, only others can tell.
      return spec.sessionAffinity === 'ClientIP'
        ? [...actors.map(of), ...others(family, { source: crowd(0), isCrowd: true })]
        : actors.map(of);
    case 'external IP':
    case 'node port':
      return actors.map(of);
    case 'returning clients': // asked by one case alone
      return [];
    default:
      return frontend satisfies never;
  }
}

/** The hundreds of clients have IPv4 addresses only. */
function others(family: Family, asker: Omit<Asker, 'actor'>): readonly Asker[] {
  return family === 'ipv4' ? [{ actor: 'client', ...asker }] : [];
}
