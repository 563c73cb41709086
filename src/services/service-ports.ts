import { compact } from '../compact.ts';
import { familyLabel, familyOf, parseAddress } from '../ip/address.ts';
import type { Address, Family } from '../ip/address.ts';
import { cidrFamily, parseCidr } from '../ip/cidr.ts';
import type { Cidr } from '../ip/cidr.ts';
import type { ServiceObject, ServiceObjectPort } from './objects.ts';
import { externallyAccessible } from './service-port.ts';
import type {
  Protocol,
  ServiceName,
  ServicePort,
  ServicePortKey,
  ServicePortName,
} from './service-port.ts';

/** A service port before its endpoints are known. */
export type BareServicePort = Omit<ServicePort, 'endpoints'>;

/** What a Service asks for in one family. `skipped`: it has no ports here, and why. */
export interface ServicePorts {
  readonly ports: readonly BareServicePort[];
  readonly skipped: string | undefined;
  /** Values that cannot be used; the others are. */
  readonly problems: readonly string[];
}

/** The service ports of a Service in one family; whole Services are skipped with the reason. */
export function servicePortsOf(service: ServiceObject, family: Family): ServicePorts {
  if (service.type === 'ExternalName')
    return skipped('type ExternalName has no cluster IP to serve');
  if (service.clusterIP === 'None') return skipped('headless (clusterIP None)');
  if (service.clusterIP === '') return skipped('no cluster IP'); // reported where it was read
  const text = clusterIPText(service, family);
  if (text === undefined) return skipped(`no ${familyLabel(family)} cluster IP`);
  const clusterIP = parseAddress(text);
  if (clusterIP === undefined)
    return unusable(`clusterIP ${JSON.stringify(text)} is not an IP address`);
  if (familyOf(clusterIP) !== family) {
    return unusable(
      `clusterIP ${clusterIP} is not ${familyLabel(family)}, which spec.ipFamilies has in its place`,
    );
  }
  return new Reading(service, family, clusterIP).result();
}

/**
 * The position of the family in ipFamilies selects the cluster IP; very old API servers have none.
 * clusterIP stands for the first of clusterIPs, which manifests written by hand leave out.
 */
function clusterIPText(service: ServiceObject, family: Family): string | undefined {
  if (service.ipFamilies.length > 0) {
    const position = service.ipFamilies.indexOf(familyLabel(family));
    if (position < 0) return undefined;
    return service.clusterIPs[position] ?? (position === 0 ? service.clusterIP : undefined);
  }
  const address = parseAddress(service.clusterIP);
  if (address === undefined) return family === 'ipv4' ? service.clusterIP : undefined;
  return familyOf(address) === family ? service.clusterIP : undefined;
}

/** What all ports of a Service have in common. */
type Shared = Pick<
  ServicePort,
  | 'externalIPs'
  | 'loadBalancerIPs'
  | 'sourceRanges'
  | 'affinitySeconds'
  | 'internalPolicy'
  | 'balancing'
>;

class Reading {
  readonly #service: ServiceObject;
  readonly #family: Family;
  readonly #clusterIP: Address;
  readonly #problems: string[] = [];

  constructor(service: ServiceObject, family: Family, clusterIP: Address) {
    this.#service = service;
    this.#family = family;
    this.#clusterIP = clusterIP;
  }

  result(): ServicePorts {
    const shared = this.#shared();
    this.#checkHealthCheckNodePort();
    this.#checkTwins();
    const ports = this.#service.ports.flatMap((port) => this.#port(port, shared));
    return { ports, skipped: undefined, problems: this.#problems };
  }

  #shared(): Shared {
    const { externalIPs, ingress, sessionAffinity, affinityTimeoutSeconds, balancing } =
      this.#service;
    const balanced = ingress.filter(({ ipMode }) => ipMode === undefined || ipMode === 'VIP');
    return {
      externalIPs: this.#addresses(externalIPs, 'externalIPs'),
      loadBalancerIPs: this.#addresses(
        balanced.map(({ ip }) => ip),
        'status.loadBalancer.ingress',
      ),
      sourceRanges: this.#ranges(),
      // The API server's default is three hours.
      affinitySeconds:
        sessionAffinity === 'ClientIP' ? (affinityTimeoutSeconds ?? 10_800) : undefined,
      internalPolicy: this.#service.internalTrafficPolicy === 'Local' ? 'Local' : 'Cluster',
      ...(balancing && { balancing }),
    };
  }

  #port(port: ServiceObjectPort, shared: Shared): readonly BareServicePort[] {
    const { meta } = this.#service;
    const service = `${meta.namespace}/${meta.name}` as ServiceName;
    const name = (port.name === '' ? service : `${service}:${port.name}`) as ServicePortName;
    const protocol = port.protocol;
    if (!isProtocol(protocol)) {
      this.#problems.push(
        `port ${port.port}: protocol ${JSON.stringify(protocol)} is not TCP, UDP or SCTP`,
      );
      return [];
    }
    const reachable = externallyAccessible({ ...shared, nodePort: port.nodePort });
    const asksLocal = this.#asksLocal();
    return [
      {
        ...shared,
        key: `${name}/${protocol}` as ServicePortKey,
        name,
        service,
        family: this.#family,
        protocol,
        portName: port.name,
        port: port.port,
        clusterIP: this.#clusterIP,
        nodePort: port.nodePort,
        externalPolicy: asksLocal && reachable ? 'Local' : 'Cluster',
        healthCheckNodePort: this.#balancesLocally() ? this.#service.healthCheckNodePort : 0,
        createdAtMs: meta.createdAtMs,
        uid: meta.uid,
      },
    ];
  }

  /** External traffic policy Local, on a Service whose type makes it count. */
  #asksLocal(): boolean {
    const { type, externalIPs, externalTrafficPolicy } = this.#service;
    const outward = type === 'NodePort' || type === 'LoadBalancer' || externalIPs.length > 0;
    return outward && externalTrafficPolicy === 'Local';
  }

  /** Balancers ask which nodes have endpoints only where it makes a difference. */
  #balancesLocally(): boolean {
    return this.#service.type === 'LoadBalancer' && this.#asksLocal();
  }

  #checkHealthCheckNodePort(): void {
    if (!this.#balancesLocally() || this.#service.healthCheckNodePort !== 0) return;
    this.#problems.push(
      'healthCheckNodePort: expected a port with externalTrafficPolicy Local, got none; balancers cannot ask for local endpoints',
    );
  }

  /** Ports of one name and protocol are one service port. */
  #checkTwins(): void {
    const seen = new Set<string>();
    for (const { name, protocol, port } of this.#service.ports.toReversed()) {
      const key = `${name}/${protocol}`;
      if (seen.has(key)) {
        this.#problems.push(
          `port ${port}: a later port has the same name ${JSON.stringify(name)} and protocol ${protocol}, and is used instead`,
        );
      }
      seen.add(key);
    }
  }

  #addresses(texts: readonly string[], field: string): readonly Address[] {
    const found = texts.flatMap((text) => {
      const address = parseAddress(text.trim());
      if (address !== undefined) return familyOf(address) === this.#family ? [address] : [];
      if (text.trim() !== '')
        this.#problems.push(`${field}: ${JSON.stringify(text)} is not an IP address`);
      return [];
    });
    return compact([...new Set(found)].toSorted());
  }

  #ranges(): readonly Cidr[] {
    const found = this.#service.loadBalancerSourceRanges.flatMap((text) => {
      const cidr = parseCidr(text.trim());
      if (cidr !== undefined) return cidrFamily(cidr) === this.#family ? [cidr] : [];
      if (text.trim() !== '') {
        this.#problems.push(`loadBalancerSourceRanges: ${JSON.stringify(text)} is not a CIDR`);
      }
      return [];
    });
    return compact([...new Set(found)].toSorted());
  }
}

function isProtocol(text: string): text is Protocol {
  return text === 'TCP' || text === 'UDP' || text === 'SCTP';
}

function skipped(reason: string): ServicePorts {
  return { ports: [], skipped: reason, problems: [] };
}

/** Skipped for a fault of the object. */
function unusable(reason: string): ServicePorts {
  return { ports: [], skipped: reason, problems: [reason] };
}
