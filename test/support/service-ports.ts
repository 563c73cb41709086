import type { NodeContext } from '../../src/graph/node-context.ts';
import { familyOf, parseAddress } from '../../src/ip/address.ts';
import type { Address } from '../../src/ip/address.ts';
import { parseCidr } from '../../src/ip/cidr.ts';
import type { Cidr } from '../../src/ip/cidr.ts';
import { endpointText } from '../../src/services/choice-reasons.ts';
import { chooseEndpoints } from '../../src/services/choose-endpoints.ts';
import type { BareServicePort } from '../../src/services/service-ports.ts';
import type {
  Endpoint,
  EndpointChoice,
  ServiceName,
  ServicePort,
  ServicePortKey,
  ServicePortName,
} from '../../src/services/service-port.ts';

/** An address that must parse. */
export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new TypeError(`${text} is no address`);
  return parsed;
}

/** A prefix that must parse. */
export function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new TypeError(`${text} is no prefix`);
  return parsed;
}

/** A ready endpoint from `ip:port` or `[ip]:port`, on another node unless `local` is set. */
export function endpoint(text: string, overrides: Partial<Endpoint> = {}): Endpoint {
  const colon = text.lastIndexOf(':');
  const local = overrides.local ?? false;
  return {
    address: address(text.slice(0, colon).replace(/^\[(.*)\]$/, '$1')),
    port: Number(text.slice(colon + 1)),
    ready: true,
    serving: true,
    terminating: false,
    local,
    nodeName: local ? 'node-1' : 'node-2',
    zoneHints: [],
    nodeHints: [],
    slice: 'default/web-abcde',
    ...overrides,
  };
}

type ServicePortOverrides = Partial<
  Omit<ServicePort, 'endpoints' | 'clusterIP' | 'externalIPs' | 'loadBalancerIPs' | 'sourceRanges'>
> & {
  readonly clusterIP?: string;
  readonly externalIPs?: readonly string[];
  readonly loadBalancerIPs?: readonly string[];
  readonly sourceRanges?: readonly string[];
  /** A list is chosen from as a node without topology would. */
  readonly endpoints?: EndpointChoice | readonly Endpoint[];
};

/** A service port: `default/web`, 10.96.0.10:80/TCP, no endpoint; every field can be set. */
export function servicePort({
  endpoints = [],
  ...overrides
}: ServicePortOverrides = {}): ServicePort {
  const service = overrides.service ?? ('default/web' as ServiceName);
  const portName = overrides.portName ?? '';
  const protocol = overrides.protocol ?? 'TCP';
  const clusterIP = address(overrides.clusterIP ?? '10.96.0.10');
  const port: BareServicePort = {
    key: `${service}:${portName}/${protocol}` as ServicePortKey,
    name: `${service}${portName === '' ? '' : `:${portName}`}` as ServicePortName,
    family: familyOf(clusterIP),
    port: 80,
    nodePort: 0,
    affinitySeconds: undefined,
    internalPolicy: 'Cluster',
    externalPolicy: 'Cluster',
    healthCheckNodePort: 0,
    createdAtMs: 1_700_000_000_000,
    uid: `uid of ${service}`,
    ...overrides,
    service,
    portName,
    protocol,
    clusterIP,
    externalIPs: (overrides.externalIPs ?? []).map(address),
    loadBalancerIPs: (overrides.loadBalancerIPs ?? []).map(address),
    sourceRanges: (overrides.sourceRanges ?? []).map(cidr),
  };
  return { ...port, endpoints: isList(endpoints) ? choose(port, endpoints) : endpoints };
}

/** Service ports by key, as the compiler takes them. */
export function byKey(ports: Iterable<ServicePort>): ReadonlyMap<ServicePortKey, ServicePort> {
  return new Map(Array.from(ports, (port) => [port.key, port]));
}

/** node-1 at 192.168.0.2 with pods in 10.244.1.0/24. */
export function nodeContext(overrides: Partial<NodeContext> = {}): NodeContext {
  return {
    family: 'ipv4',
    nodeName: 'node-1',
    podDetector: { kind: 'cidr', cidr: cidr('10.244.1.0/24') },
    nodeAddress: address('192.168.0.2'),
    localAddresses: ['10.244.1.1', '127.0.0.1', '192.168.0.2'].map(address),
    nodePortAddresses: { kind: 'all', loopback: true },
    masqueradeAll: false,
    serviceCidrs: [cidr('10.96.0.0/12')],
    ...overrides,
  };
}

function isList(value: EndpointChoice | readonly Endpoint[]): value is readonly Endpoint[] {
  return Array.isArray(value);
}

function choose(port: BareServicePort, endpoints: readonly Endpoint[]): EndpointChoice {
  const sorted = endpoints.toSorted((a, b) => (endpointText(a) < endpointText(b) ? -1 : 1));
  return chooseEndpoints(sorted, port, { nodeName: 'node-1', zone: undefined });
}
