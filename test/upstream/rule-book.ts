import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { readmeOf, ruleBook, scenarios } from '../../scripts/rule-book.ts';
import { familyOf, parseAddress } from '../../src/ip/address.ts';
import type { Family } from '../../src/ip/address.ts';
import { lab4, lab6, podPorts } from '../support/node-lab.ts';
import type {
  Bundle,
  RawIngress,
  RawPort,
  RawService,
  RawServiceSpec,
  RawSlice,
} from './objects.ts';
import { localPods, podAddress } from './place.ts';
import type { Places } from './place.ts';

/** A scenario of the rule book, moved to the lab. */
export interface LabScenario {
  readonly bundle: Bundle;
  readonly flags: readonly string[];
  /** What of the scenario cannot be asked, and why. */
  readonly notAsked: readonly string[];
}

/** Scenarios that say how rules are written, not what they mean: their objects are asked all the same. */
const noFlag: Readonly<Record<string, string>> = {
  '--features': 'features are chosen by the proxy itself here, from the kernel and its tools',
  '--proxy-port-range': 'it counts in userspace mode alone',
  '--userspace-portals': 'it counts in userspace mode alone',
};

const podCidrs = '10.244.0.0/16,fd00:10:244::/56';

/** The book's node, and what its prefixes mean for clients, in the lab. */
const fixed: Readonly<Record<string, string>> = {
  '192.168.10.11': lab4.node,
  'fd00:10::11': lab6.node,
  '192.168.10.0/24': '192.0.2.0/24',
  '192.168.0.0/16': `${lab4.node}/32`,
  '203.0.113.0/24': '198.18.0.0/24',
  ' 203.0.113.7/24': '198.18.0.0/24',
  '2001:db8:cafe::/48': '2001:db8:cafe::/48',
  '10.244.0.0/16,fd00:244::/32': podCidrs,
  '172.16.0.0/16': '198.51.100.0/24',
  cni0: 'pod-a',
  veth: 'pod-',
};

/** All scenarios at the lab's addresses. Endpoints beyond the lab's pods are told to `lend`. */
export function ruleBookScenarios(
  places: Places,
  lend: (pod: 'pod-a' | 'remote', address: string) => void,
): readonly LabScenario[] {
  return scenarios().map((name) => new Move(name, places, lend).scenario());
}

/** Moves one scenario: equal addresses and numbers stay equal, all others stay apart. */
class Move {
  readonly #name: string;
  readonly #places: Places;
  readonly #lend: (pod: 'pod-a' | 'remote', address: string) => void;
  readonly #moved = new Map<string, string>();
  readonly #pods = new Map<string, number>();
  readonly #ports = new Map<number, number>();
  readonly #notAsked: string[] = [];

  constructor(
    name: string,
    places: Places,
    lend: (pod: 'pod-a' | 'remote', address: string) => void,
  ) {
    this.#name = name;
    this.#places = places;
    this.#lend = lend;
  }

  scenario(): LabScenario {
    const text = readFileSync(join(ruleBook, this.#name, 'objects.yaml'), 'utf8');
    const objects = parseAllDocuments(text).map((document) => document.toJS() as { kind: string });
    const services = objects.filter(({ kind }) => kind === 'Service') as unknown as RawService[];
    const slices = objects.filter(({ kind }) => kind === 'EndpointSlice') as unknown as RawSlice[];
    // Cluster IPs first: an external IP may be one of them.
    for (const { spec } of services) {
      for (const ip of clusterIPsOf(spec)) {
        this.#place(ip, (family) => this.#places.clusterIP(family));
      }
    }
    for (const { spec } of services) this.#moveNodePorts(spec);
    const bundle = {
      name: `rule book ${this.#name}`,
      services: waves(services).map((wave) => wave.map((service) => this.#service(service))),
      slices: slices.map((slice) => this.#slice(slice)),
    };
    const hasIpv6 = slices.some(({ addressType }) => addressType === 'IPv6');
    return { bundle, flags: this.#flags(hasIpv6), notAsked: this.#notAsked };
  }

  #flags(hasIpv6: boolean): readonly string[] {
    const own = readmeOf(this.#name)
      .render.filter((flag) => flag.startsWith('--') && !flag.startsWith('--node-name='))
      .flatMap((flag) => {
        const [name = '', value] = flag.split('=');
        const reason = noFlag[name];
        if (reason !== undefined) {
          this.#notAsked.push(`${flag}: ${reason}`);
          return [];
        }
        if (value === undefined) return [name];
        // Equal flags share their proxies: a prefix of pods that a scenario has none of means nothing.
        if (value === '10.244.0.0/16' && !hasIpv6) return [`${name}=${podCidrs}`];
        return [`${name}=${fixed[value] ?? value}`];
      });
    const hasPods = own.some((flag) => flag.startsWith('--cluster-cidr='));
    // The twins have the pods' prefixes among their flags unless they are taken away.
    return hasPods ? own : ['--cluster-cidr=', ...own];
  }

  #service({ metadata, spec, status }: RawService): RawService {
    const ingress = status?.loadBalancer?.ingress?.map((each): RawIngress => {
      return each.ip === undefined ? each : { ...each, ip: this.#external(each.ip) };
    });
    return {
      metadata: {
        name: this.#nameOf(metadata.name),
        ...(metadata.labels && { labels: metadata.labels }),
      },
      spec: this.#spec(spec),
      ...(ingress && { status: { loadBalancer: { ingress } } }),
    };
  }

  #spec(spec: RawServiceSpec): RawServiceSpec {
    const { clusterIP, clusterIPs, ports, healthCheckNodePort: health } = spec;
    return {
      ...spec,
      ...(clusterIP !== undefined && { clusterIP: this.#moved.get(clusterIP) ?? clusterIP }),
      ...(clusterIPs && { clusterIPs: clusterIPs.map((ip) => this.#moved.get(ip) ?? ip) }),
      ...(ports && { ports: ports.map((port) => this.#port(port)) }),
      ...(health !== undefined && { healthCheckNodePort: this.#ports.get(health) ?? health }),
      ...this.#outside(spec),
    };
  }

  /** What leads to the service from outside, and who may use it. */
  #outside(spec: RawServiceSpec): Partial<RawServiceSpec> {
    const { externalIPs, loadBalancerSourceRanges: ranges } = spec;
    if (ranges?.some((range) => range.startsWith(' ')) === true) {
      this.#notAsked.push(
        "' 203.0.113.7/24': the API server takes no blanks and no bits beyond the prefix",
      );
    }
    if (needsOutside(spec)) {
      this.#notAsked.push(
        'external policy without an outside address: refused by the API server, so there is one of the other family',
      );
    }
    return {
      ...(externalIPs && { externalIPs: externalIPs.map((ip) => this.#external(ip)) }),
      ...(needsOutside(spec) && { externalIPs: [this.#places.external('ipv6')] }),
      ...(ranges && { loadBalancerSourceRanges: ranges.map((range) => fixed[range] ?? range) }),
    };
  }

  #port({ nodePort, ...port }: RawPort): RawPort {
    if (port.protocol === 'SCTP') {
      this.#notAsked.push(`port ${port.name}: nobody in the lab speaks SCTP`);
    }
    return {
      ...port,
      port: this.#ports.get(port.port) ?? port.port,
      ...(nodePort !== undefined && { nodePort: this.#ports.get(nodePort) ?? nodePort }),
    };
  }

  #slice({ metadata, addressType, ports, endpoints }: RawSlice): RawSlice {
    const owner = metadata.labels['kubernetes.io/service-name'] ?? '';
    const family = addressType === 'IPv4' ? 'ipv4' : 'ipv6';
    return {
      metadata: {
        name: this.#nameOf(metadata.name),
        labels: { ...metadata.labels, 'kubernetes.io/service-name': this.#nameOf(owner) },
      },
      addressType,
      ports: ports.map((port) => ({ ...port, port: this.#targetPort(port.port) })),
      endpoints: endpoints.map((each) => ({
        ...each,
        addresses: each.addresses.map((ip) => this.#endpoint(ip, family, each.nodeName)),
      })),
    };
  }

  /** A port that the lab's pods serve on; different ones stay different. */
  #targetPort(port: number): number {
    const known = this.#ports.get(port);
    if (known !== undefined) return known;
    const taken = new Set(this.#ports.values());
    const free = podPorts.find((each) => !taken.has(each));
    if (free === undefined) throw new Error(`${this.#name}: more target ports than the lab has`);
    this.#ports.set(port, free);
    return free;
  }

  /** The next pod of the node, or of another one; beyond the lab's pods, one more address of a pod. */
  #endpoint(ip: string, family: Family, nodeName = 'node-b'): string {
    return this.#place(ip, () => {
      const isLocal = nodeName === 'node-a';
      const pods = isLocal ? localPods : (['remote'] as const);
      const key = `${family} ${isLocal}`;
      const n = this.#pods.get(key) ?? 0;
      this.#pods.set(key, n + 1);
      const pod = pods[n];
      if (pod !== undefined) return podAddress(pod, family);
      const number = 100 + n;
      const [subnet4, subnet6] = isLocal
        ? ['10.244.0', 'fd00:10:244']
        : ['10.244.1', 'fd00:10:244:1'];
      const address = family === 'ipv4' ? `${subnet4}.${number}` : `${subnet6}::${number}`;
      this.#lend(isLocal ? 'pod-a' : 'remote', address);
      return address;
    });
  }

  #external(ip: string): string {
    return fixed[ip] ?? this.#place(ip, (family) => this.#places.external(family));
  }

  #place(ip: string, next: (family: Family) => string): string {
    const known = this.#moved.get(ip);
    if (known !== undefined) return known;
    const address = parseAddress(ip);
    if (address === undefined) throw new Error(`${this.#name}: ${ip} is no address`);
    const place = next(familyOf(address));
    this.#moved.set(ip, place);
    return place;
  }

  #moveNodePorts({ ports = [], healthCheckNodePort }: RawServiceSpec): void {
    for (const number of [...ports.map(({ nodePort }) => nodePort), healthCheckNodePort]) {
      if (number !== undefined && !this.#ports.has(number)) {
        this.#ports.set(number, this.#places.nodePort());
      }
    }
  }

  /** Service names start with a letter, and are unique over all scenarios. */
  #nameOf(name: string): string {
    return `rule-${this.#name.slice(0, 2)}-${name}`;
  }
}

function clusterIPsOf({
  clusterIP = 'None',
  clusterIPs = [clusterIP],
}: RawServiceSpec): readonly string[] {
  return clusterIPs.filter((ip) => ip !== 'None');
}

/** The API server takes an external policy only with an outside address: one of the other family will do. */
function needsOutside({ type, externalTrafficPolicy, externalIPs = [] }: RawServiceSpec): boolean {
  return type === 'ClusterIP' && externalTrafficPolicy !== undefined && externalIPs.length === 0;
}

/** By creation time: the API server says it itself, so the older ones are made first. */
function waves(services: readonly RawService[]): readonly (readonly RawService[])[] {
  const byTime = Map.groupBy(services, ({ metadata }) => metadata.creationTimestamp ?? '');
  return [...byTime].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, wave]) => wave);
}
