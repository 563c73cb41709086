import { parseFlags } from '../../src/config/parse-flags.ts';
import { proxyFlags } from '../../src/config/proxy-flags.ts';
import { proxyConfig } from '../../src/config/read-proxy-config.ts';
import { compileAll } from '../../src/graph/compile.ts';
import { interpret } from '../../src/graph/interpret.ts';
import type { Outcome } from '../../src/graph/interpret.ts';
import { packetFrom } from '../../src/graph/packet.ts';
import type { RuleGraph } from '../../src/graph/rule-graph.ts';
import type { Kind, KubeObject } from '../../src/informer/kind.ts';
import { hostPort } from '../../src/ip/address.ts';
import type { Address, Family } from '../../src/ip/address.ts';
import { nodeContextOf } from '../../src/proxy/node-context.ts';
import { endpointSliceKind } from '../../src/services/endpoint-slice-kind.ts';
import { ServiceCatalog } from '../../src/services/service-catalog.ts';
import { serviceKind } from '../../src/services/service-kind.ts';
import { serviceCidrs, twinFlags } from '../cluster/twin-nodes.ts';
import { lab4, lab6 } from '../support/node-lab.ts';
import { address, cidr } from '../support/service-ports.ts';
import type { RawService } from './objects.ts';
import type { LabQuestion } from './questions.ts';
import type { Made } from './twin-cluster.ts';

/** Addresses of both twins; those of the links to the control plane differ, and nobody asks for them. */
export const localAddresses: readonly Address[] = [
  '127.0.0.1',
  '::1',
  lab4.node,
  lab4.podGateway,
  lab6.node,
  lab6.podGateway,
].map(address);

/** What `interpret` says of the objects on the twins' node, under the flags both proxies have. */
export class Expectation {
  readonly graphs: Readonly<Record<Family, RuleGraph>>;

  constructor(made: readonly Made[], flags: readonly string[]) {
    this.graphs = { ipv4: graphOf(made, flags, 'ipv4'), ipv6: graphOf(made, flags, 'ipv6') };
  }

  outcomes({ family, source, to, port, proto, actor }: LabQuestion): readonly Outcome[] {
    const graph = this.graphs[family];
    const protocol = proto === 'udp' ? 'UDP' : 'TCP';
    const inInterface = actor === 'node' ? undefined : actor;
    const packet = packetFrom(graph.node, { protocol, source, destination: to, port, inInterface });
    return interpret(graph, packet);
  }

  /** Addresses that may be reached. */
  endpoints(question: LabQuestion): readonly Address[] {
    return this.outcomes(question).flatMap((outcome) =>
      outcome.kind === 'endpoint' ? outcome.endpoint.address : [],
    );
  }

  /** The ways a request may end, sorted: `10.244.0.5:8080 kept`, `refused`, `timeout`. */
  answers(question: LabQuestion): readonly string[] {
    const texts = this.outcomes(question).map((outcome) => ending(question, outcome));
    return [...new Set(texts)].toSorted();
  }

  /**
   * Questions with one answer: with affinity, whom a client meets by one address of a service port it meets by
   * the others, and two first requests at once may well meet two.
   */
  clientOf(question: LabQuestion): string {
    const { sticky, service, portName, source, frontend, to, port, proto, actor } = question;
    const parts = sticky
      ? [service, portName, source]
      : [service, frontend, to, port, proto, actor, source];
    return parts.join(' ');
  }
}

/** An endpoint that a packet reaches. */
interface Reached {
  readonly kind: 'endpoint';
  readonly endpoint: { readonly address: Address; readonly port: number };
  readonly masquerade: boolean;
}

/** How a request ends whose packets end so. */
export function ending(
  question: LabQuestion,
  outcome: Reached | { readonly kind: 'reject' | 'drop' | 'pass' },
): string {
  const { source, family, to } = question;
  switch (outcome.kind) {
    case 'endpoint': {
      const { address: at, port } = outcome.endpoint;
      const gateway = family === 'ipv4' ? lab4.podGateway : lab6.podGateway;
      const seen = isMasqueraded(question, outcome) ? gateway : source;
      return reached(hostPort(at, port), source, seen);
    }
    case 'reject':
      return 'refused';
    case 'drop':
      return 'timeout';
    case 'pass':
      // Nobody listens on the node itself; addresses that nobody has lead nowhere.
      return localAddresses.includes(to) ? 'refused' : 'timeout';
    default:
      return outcome satisfies never;
  }
}

/** What would be expected if one service, perhaps another one of its name, were there without the others. */
export function expectationOf(
  service: RawService,
  made: readonly Made[],
  flags: readonly string[],
): Expectation {
  return new Expectation(aloneOf(service, made), flags);
}

/** One service, perhaps another one of its name, without the others. */
export function aloneOf(service: RawService, made: readonly Made[]): readonly Made[] {
  const owners = made.filter(({ services }) =>
    services.some(({ metadata }) => metadata.name === service.metadata.name),
  );
  return owners.map((each) => ({ ...each, services: [service] }));
}

/** What is for the node itself never leaves it: only what leaves can be masqueraded. */
export function isMasqueraded(
  { actor }: LabQuestion,
  { endpoint, masquerade }: Pick<Reached, 'endpoint' | 'masquerade'>,
): boolean {
  return masquerade && (actor === 'node' || !localAddresses.includes(endpoint.address));
}

const gateways: ReadonlySet<string> = new Set([lab4.podGateway, lab6.podGateway]);

const ownServers = [`${lab4.node}:`, `[${lab6.node}]:`];

/**
 * Who answered, and whether it saw the source address; masqueraded means the node's address on the pods' links.
 * Where the node talks to itself the kernel takes any of its addresses, by the order of its interfaces.
 */
export function reached(answeredBy: string, source: Address, sourceSeen: string): string {
  const isItself =
    localAddresses.includes(source) && ownServers.some((start) => answeredBy.startsWith(start));
  if (isItself && localAddresses.some((own) => own === sourceSeen)) return `${answeredBy} kept`;
  if (sourceSeen === source) return `${answeredBy} kept`;
  return `${answeredBy} replaced${gateways.has(sourceSeen) ? '' : ` by ${sourceSeen}`}`;
}

function graphOf(made: readonly Made[], flags: readonly string[], family: Family): RuleGraph {
  const config = proxyConfig(
    parseFlags(proxyFlags, ['--kubeconfig=none', ...twinFlags(flags)]).flags,
  );
  const catalog = new ServiceCatalog({ family, nodeName: 'node-a', zone: 'a' });
  for (const { services, slices } of made) {
    for (const object of read(services, serviceKind)) catalog.setService(object);
    for (const object of read(slices, endpointSliceKind)) catalog.setSlice(object);
  }
  const facts = {
    nodeName: 'node-a',
    nodeIPs: [lab4.node, lab6.node].map(address),
    interfaceAddresses: localAddresses,
    podCidrs: [],
    serviceCidrs: serviceCidrs.map(cidr),
  };
  return compileAll(catalog.take().servicePorts, nodeContextOf(config, facts, family));
}

function read<T extends KubeObject>(raws: readonly unknown[], kind: Kind<T>): readonly T[] {
  return raws.flatMap((raw) => {
    if (kind.selects?.(raw) === false) return [];
    const { object, problems } = kind.slim(raw);
    const [problem] = problems;
    if (problem) throw new Error(`${problem.field}: ${problem.reason}`);
    return object ?? [];
  });
}
