import { SwitchyardError } from '../error.ts';
import type { NodeContext, PodDetector } from './node-context.ts';
import type { Journey } from './packet.ts';
import type { Frontend, RuleGraph } from './rule-graph.ts';
import { addressBytes, familyLabel, familyOf, formatAddress, parseAddress } from '../ip/address.ts';
import type { Address, Family } from '../ip/address.ts';
import { cidrAddress, cidrContains } from '../ip/cidr.ts';
import type {
  Protocol,
  ServiceName,
  ServicePort,
  ServicePortKey,
} from '../services/service-port.ts';

/** One family of what a question is asked of. */
export interface AskedFamily {
  readonly graph: RuleGraph;
  /** Those the graph was compiled from. */
  readonly servicePorts: ReadonlyMap<ServicePortKey, ServicePort>;
  /** Services without a port here, and why. */
  readonly skipped: ReadonlyMap<ServiceName, string>;
}

/** `TO:PORT[/PROTO]` as it was typed: TO is an address, `node`, or a Service. */
export interface Destination {
  readonly to: string;
  /** A number, or the name of a service port. */
  readonly port: string;
  readonly protocol: Protocol | undefined;
}

/** Addresses that stand for "somebody outside" (documentation prefixes, RFC 5737 and RFC 3849). */
const outside = { ipv4: '203.0.113.1', ipv6: '2001:db8::1' } as const;

/** Reads `10.96.0.10:80`, `[fd00::10]:53/UDP`, `default/web:http`, `node:30080`. */
export function parseDestination(text: string): Destination {
  const match =
    /^(?:\[(?<v6>[^\]]+)\]|(?<to>[^:]+)):(?<port>[a-z0-9-]+)(?:\/(?<proto>\w+))?$/i.exec(text);
  const groups = match?.groups;
  const protocol = groups?.['proto']?.toUpperCase();
  if (groups === undefined || !isProtocol(protocol)) {
    throw new SwitchyardError('usage', `${JSON.stringify(text)} is not a destination`, {
      hint: 'expected TO:PORT[/PROTO], e.g. 10.96.0.10:80, [fd00::10]:53/UDP, default/web:http or node:30080',
    });
  }
  return { to: groups['v6'] ?? groups['to'] ?? '', port: groups['port'] ?? '', protocol };
}

/** The family a question is about; undefined where neither end tells. */
function familyOfQuestion(from: string, destination: Destination): Family | undefined {
  const address = parseAddress(destination.to) ?? parseAddress(from);
  return address === undefined ? undefined : familyOf(address);
}

/**
 * The family for where neither end tells: the one asked for (`--ip-family`), else the first that has
 * the Service. Asking for one family with an address of the other is a usage error.
 */
export function familyAsked(
  flag: string,
  from: string,
  destination: Destination,
  graphOf: (family: Family) => RuleGraph | undefined,
): Family {
  const told = familyOfQuestion(from, destination);
  if (flag === '') {
    const service = serviceOf(destination);
    const has = (family: Family): boolean =>
      [...(graphOf(family)?.frontends.values() ?? [])].some((f) => f.origin.service === service);
    return told ?? (!has('ipv4') && has('ipv6') ? 'ipv6' : 'ipv4');
  }
  const asked = flag === 'ipv6' ? 'ipv6' : 'ipv4';
  if (told === undefined || told === asked) return asked;
  const address = parseAddress(destination.to) ?? from;
  throw new SwitchyardError(
    'usage',
    `--ip-family=${asked}: ${address} is an address of ${familyLabel(told)}`,
    { hint: 'leave --ip-family out: an address tells its family' },
  );
}

/** The packet's way: both ends as addresses. `where` Services are known, for messages: `the manifests`. */
export function journeyOf(
  { graph, skipped }: Pick<AskedFamily, 'graph' | 'skipped'>,
  from: string,
  destination: Destination,
  where: string,
): Journey {
  const source = sourceOf(graph.node, from);
  const address = parseAddress(destination.to);
  if (address !== undefined) return { ...source, ...fixed(address, destination) };
  if (destination.to === 'node')
    return { ...source, ...fixed(nodeAddressOf(graph.node), destination) };
  const frontend = frontendOf(graph, skipped, destination, where);
  if (frontend.address === undefined) throw new Error(`${frontend.id} has no address`);
  return {
    ...source,
    destination: frontend.address,
    port: frontend.port,
    protocol: frontend.protocol,
  };
}

type Source = Pick<Journey, 'source' | 'inInterface'>;

function fixed(address: Address, { port, protocol }: Destination): Omit<Journey, keyof Source> {
  const number = Number(port);
  if (!Number.isInteger(number) || number < 1 || number > 65_535) {
    throw new SwitchyardError('usage', `port ${JSON.stringify(port)}: expected 1 to 65535`, {
      hint: 'names of ports work with a Service: default/web:http',
    });
  }
  return { destination: address, port: number, protocol: protocol ?? 'TCP' };
}

function sourceOf(node: NodeContext, from: string): Source {
  const address = parseAddress(from);
  if (address !== undefined) {
    if (familyOf(address) === node.family) return { source: address };
    throw new SwitchyardError('usage', `${from} and the destination are not of one family`);
  }
  switch (from) {
    case 'pod':
      return podSource(node);
    case 'node':
      return { source: nodeAddressOf(node) };
    case 'outside':
      return { source: outside[node.family] as Address };
    default:
      throw new SwitchyardError('usage', `${JSON.stringify(from)} is not a source`, {
        hint: 'expected an IP address, or one of: pod, node, outside',
      });
  }
}

/** Some pod of this node: by the detector's prefix or interface. */
function podSource(node: NodeContext): Source {
  const detector: PodDetector = node.podDetector;
  switch (detector.kind) {
    case 'cidr':
      return {
        source: lastAddress(cidrAddress(detector.cidr), (a) => cidrContains(detector.cidr, a)),
      };
    case 'interface':
      return { source: outside[node.family] as Address, inInterface: detector.name };
    case 'interfacePrefix':
      return { source: outside[node.family] as Address, inInterface: `${detector.prefix}0` };
    case 'none':
      throw new SwitchyardError('usage', 'nothing tells this node’s pods from others', {
        hint: 'add --cluster-cidr=CIDR, or give the pod’s address instead of "pod"',
      });
    default:
      return detector satisfies never;
  }
}

/** The highest address of the prefix that starts at `first` and is no pod's in practice, but one below the last. */
function lastAddress(first: Address, inside: (address: Address) => boolean): Address {
  const bytes = addressBytes(first);
  for (let i = 0; i < bytes.length; i++) {
    for (let bit = 0; bit < 8; bit++) {
      const wider = Uint8Array.from(bytes);
      wider[i] = (bytes[i] ?? 0) | (128 >> bit);
      if (inside(formatAddress(wider))) bytes[i] = wider[i] ?? 0;
    }
  }
  const last = bytes.length - 1;
  const below = Uint8Array.from(bytes);
  below[last] = (bytes[last] ?? 0) - 1;
  return inside(formatAddress(below)) ? formatAddress(below) : formatAddress(bytes);
}

function nodeAddressOf(node: NodeContext): Address {
  if (node.nodeAddress !== undefined) return node.nodeAddress;
  throw new SwitchyardError('usage', `the node has no known ${node.family} address`, {
    hint: 'give an address, or to manifests its Node object and --node-name',
  });
}

function frontendOf(
  graph: RuleGraph,
  skipped: AskedFamily['skipped'],
  destination: Destination,
  where: string,
): Frontend {
  const service = serviceOf(destination);
  const candidates = [...graph.frontends.values()]
    .filter((frontend) => frontend.kind === 'clusterIP' && frontend.origin.service === service)
    .toSorted((a, b) => a.port - b.port || (a.protocol < b.protocol ? -1 : 1));
  if (candidates.length === 0) {
    const why = skipped.get(service as ServiceName);
    if (why !== undefined)
      throw new SwitchyardError('usage', `Service ${service} has no rules: ${why}`);
    const known = [
      ...new Set([...graph.frontends.values()].map((f) => f.origin.service)),
    ].toSorted();
    throw new SwitchyardError(
      'usage',
      `no Service ${service} with a cluster IP is known to ${where}`,
      {
        hint: `${where} knows: ${known.slice(0, 10).join(', ') || 'none'}${known.length > 10 ? ', …' : ''}`,
      },
    );
  }
  const found = candidates.find(
    (frontend) =>
      (String(frontend.port) === destination.port ||
        frontend.origin.name === `${service}:${destination.port}`) &&
      (destination.protocol === undefined || frontend.protocol === destination.protocol),
  );
  if (found !== undefined) return found;
  const { port, protocol } = destination;
  const wanted = protocol === undefined ? port : `${port}/${protocol}`;
  const ports = candidates.map((f) => `${f.origin.name} = ${f.port}/${f.protocol}`).join(', ');
  throw new SwitchyardError('usage', `Service ${service} has no port ${wanted}`, {
    hint: `it has: ${ports}`,
  });
}

/** `ns/name` of the Service that TO may name. */
function serviceOf({ to }: Destination): string {
  return to.includes('/') ? to : `default/${to}`;
}

function isProtocol(text: string | undefined): text is Protocol | undefined {
  return text === undefined || text === 'TCP' || text === 'UDP' || text === 'SCTP';
}
