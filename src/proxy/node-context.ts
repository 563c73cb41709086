import type {
  DetectLocalConfig,
  NodePortAddressesConfig,
  ProxyConfig,
} from '../config/proxy-config.ts';
import type { NodeContext, NodePortAddresses, PodDetector } from '../graph/node-context.ts';
import { familyOf, isLoopback } from '../ip/address.ts';
import type { Address, Family } from '../ip/address.ts';
import { cidrContains, cidrFamily, prefixLength } from '../ip/cidr.ts';
import type { Cidr } from '../ip/cidr.ts';

/** The settings a node context depends on. */
export type NodeSettings = Pick<
  ProxyConfig,
  'detectLocal' | 'clusterCidrs' | 'nodePortAddresses' | 'localhostNodePorts' | 'masqueradeAll'
>;

/** What is known of the node itself, of both families; each may change while the agent runs. */
export interface NodeFacts {
  readonly nodeName: string;
  /** The node's own addresses: at most one of each family. */
  readonly nodeIPs: readonly Address[];
  /** All addresses of its interfaces, loopback included. */
  readonly interfaceAddresses: readonly Address[];
  readonly podCidrs: readonly Cidr[];
  readonly serviceCidrs: readonly Cidr[];
}

/** The node as the rule graph of one family sees it. */
export function nodeContextOf(
  settings: NodeSettings,
  facts: NodeFacts,
  family: Family,
): NodeContext {
  const local = facts.interfaceAddresses
    .filter((address) => familyOf(address) === family)
    .toSorted();
  return {
    family,
    nodeName: facts.nodeName,
    podDetector: podDetectorOf(settings.detectLocal, settings.clusterCidrs, facts.podCidrs, family),
    nodeAddress: facts.nodeIPs.find((address) => familyOf(address) === family),
    localAddresses: local,
    nodePortAddresses: nodePortAddressesOf(settings, facts, family, local),
    masqueradeAll: settings.masqueradeAll,
    serviceCidrs: facts.serviceCidrs.filter((cidr) => cidrFamily(cidr) === family).toSorted(),
  };
}

/**
 * Whether node ports answer on 127.0.0.1: IPv4 only, and only where node ports are not narrowed to
 * prefixes that leave loopback out. Then route_localnet and KUBE-FIREWALL are needed.
 */
export function servesLocalhostNodePorts(
  settings: Pick<NodeSettings, 'localhostNodePorts' | 'nodePortAddresses'>,
  family: Family,
): boolean {
  if (family === 'ipv6' || !settings.localhostNodePorts) return false;
  const cidrs = cidrsOf(settings.nodePortAddresses, family);
  return cidrs === 'all' || cidrs.some(coversLoopback);
}

function podDetectorOf(
  detect: DetectLocalConfig,
  clusterCidrs: readonly Cidr[],
  podCidrs: readonly Cidr[],
  family: Family,
): PodDetector {
  switch (detect.mode) {
    case 'BridgeInterface':
      return { kind: 'interface', name: detect.name };
    case 'InterfaceNamePrefix':
      return { kind: 'interfacePrefix', prefix: detect.prefix };
    case 'ClusterCIDR':
    case 'NodeCIDR': {
      const cidrs = detect.mode === 'NodeCIDR' ? podCidrs : clusterCidrs;
      const cidr = cidrs.find((candidate) => cidrFamily(candidate) === family);
      return cidr === undefined ? { kind: 'none' } : { kind: 'cidr', cidr };
    }
    default:
      return detect satisfies never;
  }
}

function nodePortAddressesOf(
  settings: NodeSettings,
  facts: NodeFacts,
  family: Family,
  local: readonly Address[],
): NodePortAddresses {
  const loopback = servesLocalhostNodePorts(settings, family);
  const cidrs = cidrsOf(settings.nodePortAddresses, family);
  if (cidrs === 'all') return { kind: 'all', loopback };
  const own = hasPrimary(settings.nodePortAddresses)
    ? facts.nodeIPs.filter((a) => familyOf(a) === family && !isLoopback(a))
    : [];
  const matching = local
    .filter((a) => cidrs.some((cidr) => cidrContains(cidr, a)))
    .filter((a) => (!isLoopback(a) || loopback) && !own.includes(a));
  return { kind: 'list', addresses: [...own, ...matching].toSorted() };
}

function hasPrimary(config: NodePortAddressesConfig): boolean {
  return config.kind === 'primary' || (config.kind === 'cidrs' && config.primary === true);
}

/** Without a prefix of the family (or the node's address), or with one of length 0, node ports answer everywhere. */
function cidrsOf(config: NodePortAddressesConfig, family: Family): 'all' | readonly Cidr[] {
  if (config.kind === 'all') return 'all';
  if (config.kind === 'primary') return [];
  const own = config.cidrs.filter((cidr) => cidrFamily(cidr) === family);
  if (own.length === 0) return hasPrimary(config) ? [] : 'all';
  return own.some((cidr) => prefixLength(cidr) === 0) ? 'all' : own;
}

function coversLoopback(cidr: Cidr): boolean {
  const loopback = '127.0.0.0' as Address;
  return cidr.startsWith('127.') || cidrContains(cidr, loopback);
}
