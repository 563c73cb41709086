import type {
  Chain,
  ChainName,
  IpsetSpec,
  IptablesState,
  Jump,
  Rule,
  SetName,
  TableName,
} from '../../src/backends/iptables/state.ts';
import type { GraphDelta, Origin, RuleGraph } from '../../src/graph/rule-graph.ts';
import type { Family } from '../../src/ip/address.ts';
import type {
  ServiceName,
  ServicePortKey,
  ServicePortName,
} from '../../src/services/service-port.ts';

/** A graph for backends whose lowering is a fake: nothing looks into it. */
export const emptyGraph: RuleGraph = {
  family: 'ipv4',
  node: {
    family: 'ipv4',
    nodeName: 'node-a',
    podDetector: { kind: 'none' },
    nodeAddress: undefined,
    localAddresses: [],
    nodePortAddresses: { kind: 'all', loopback: true },
    masqueradeAll: false,
    serviceCidrs: [],
  },
  frontends: new Map(),
  pools: new Map(),
  conflicts: [],
  healthCheckPorts: new Map(),
};

export const emptyDelta: GraphDelta = { everything: false, frontends: new Set(), pools: new Set() };

/** The origin of rules of `default/NAME`, TCP. */
export function originOf(name: string): Origin {
  return {
    service: `default/${name}` as ServiceName,
    servicePort: `default/${name}:/TCP` as ServicePortKey,
    name: `default/${name}` as ServicePortName,
  };
}

export function rule(args: string, service?: string): Rule {
  return { args, origin: service === undefined ? undefined : originOf(service) };
}

export function chain(name: string, role: Chain['role'], ...rules: Rule[]): Chain {
  return { name: name as ChainName, role, rules };
}

export function ipset(name: string, create: string, members?: readonly string[]): IpsetSpec {
  return { name: name as SetName, create, members };
}

export function jump(table: TableName, from: string, to: string, match = ''): Jump {
  return { table, from, to: to as ChainName, match };
}

/** A state from lists. */
export function state(parts: {
  readonly family?: Family;
  readonly filter?: readonly Chain[];
  readonly nat?: readonly Chain[];
  readonly mangle?: readonly Chain[];
  readonly jumps?: readonly Jump[];
  readonly sets?: readonly IpsetSpec[];
}): IptablesState {
  return {
    family: parts.family ?? 'ipv4',
    tables: { filter: byName(parts.filter), nat: byName(parts.nat), mangle: byName(parts.mangle) },
    jumps: parts.jumps ?? [],
    sets: byName(parts.sets),
  };
}

function byName<T extends { readonly name: string }>(
  list: readonly T[] = [],
): ReadonlyMap<T['name'], T> {
  return new Map(list.map((item) => [item.name, item]));
}

/** A DNAT rule of a service, as a leaf has it. */
export function dnat(service: string, address: string, endpoint: string): Rule {
  const args = `-d ${address}/32 -p tcp -m comment --comment "default/${service} cluster IP" -m tcp --dport 80 -j DNAT --to-destination ${endpoint}`;
  return rule(args, service);
}

/** A small complete state: roots, canary, jumps, and one leaf with the given rules. */
export function nodeState(...leafRules: Rule[]): IptablesState {
  const leaf = 'KUBE-SVC-AAAAAAAAAAAAAAAA';
  const portals = '-m comment --comment "kubernetes service portals"';
  return state({
    filter: [
      chain('KUBE-SERVICES', 'root'),
      chain('KUBE-FORWARD', 'root', rule('-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT')),
    ],
    nat: [
      chain('KUBE-SERVICES', 'root', rule(`-d 10.96.0.0/12 -j ${leaf}`)),
      chain(leaf, 'generated', ...leafRules),
    ],
    mangle: [chain('KUBE-PROXY-CANARY', 'root')],
    jumps: [
      jump('filter', 'FORWARD', 'KUBE-FORWARD'),
      jump('filter', 'OUTPUT', 'KUBE-SERVICES', `-m conntrack --ctstate NEW ${portals}`),
      jump('nat', 'OUTPUT', 'KUBE-SERVICES', portals),
      jump('nat', 'PREROUTING', 'KUBE-SERVICES', portals),
    ],
  });
}
