import type { NodeContext } from '../../graph/node-context.ts';
import type { Family } from '../../ip/address.ts';
import type { CountingObject } from '../../telemetry/kernel-metrics.ts';
import type { ChainName, Features, Jump, LoweringOptions, Rule, TableName } from './state.ts';

/** A rule that no service port is the origin of. */
export function staticRule(args: string): Rule {
  return { args, origin: undefined };
}

/** The kernel keeps 256 bytes of a comment, the last one for its end; a longer one fails the batch. */
const longestComment = 255;

/**
 * `-m comment --comment "…"`, as the tools print it. Whatever could end the comment, and so add
 * rules of its own, is replaced by `?`: names are checked where they are read, but the rules must not
 * depend on it.
 */
export function comment(text: string): string {
  const harmless = text.replaceAll(/[^ !#-[\]-~]/g, '?').slice(0, longestComment);
  return `-m comment --comment "${harmless}"`;
}

/** The chains of fixed name, as kube-proxy names them. */
export const chains = {
  services: 'KUBE-SERVICES' as ChainName,
  externalServices: 'KUBE-EXTERNAL-SERVICES' as ChainName,
  nodePorts: 'KUBE-NODEPORTS' as ChainName,
  postrouting: 'KUBE-POSTROUTING' as ChainName,
  markMasq: 'KUBE-MARK-MASQ' as ChainName,
  forward: 'KUBE-FORWARD' as ChainName,
  proxyFirewall: 'KUBE-PROXY-FIREWALL' as ChainName,
  firewall: 'KUBE-FIREWALL' as ChainName,
  canary: 'KUBE-PROXY-CANARY' as ChainName,
} as const;

/** Comment of the rules that lead to the node ports. */
export const nodePortsComment =
  'kubernetes service nodeports; NOTE: this must be the last rule in this chain';

/** The generation, as the first rule of the nat and filter roots: without a target it does nothing. */
export function generationRule(generation: string): Rule {
  return staticRule(comment(`switchyard ${generation}`));
}

/** The roots that carry the generation rule. */
export function carriesGeneration(table: TableName, chain: ChainName): boolean {
  return table !== 'mangle' && chain === chains.services;
}

/** The rules' targets that set, clear and flip the masquerade mark, as the tools print them. */
export interface MarkTargets {
  readonly set: string;
  readonly clear: string;
  readonly flip: string;
  /** Matches packets that have it. */
  readonly isSet: string;
  readonly isNotSet: string;
}

/** `mark` is a single bit: 1 << masqueradeBit. */
export function markTargets(mark: number): MarkTargets {
  const bit = `0x${(mark >>> 0).toString(16)}`;
  return {
    set: `-j MARK --set-xmark ${bit}/${bit}`,
    clear: `-j MARK --set-xmark 0x0/${bit}`,
    flip: `-j MARK --set-xmark ${bit}/0x0`,
    isSet: `-m mark --mark ${bit}/${bit}`,
    isNotSet: `-m mark ! --mark ${bit}/${bit}`,
  };
}

/**
 * The jumps from the built-in chains, in kube-proxy's creation order: each is put at the top, so the
 * final order is the reverse. Ours alone is OUTPUT to KUBE-EXTERNAL-SERVICES: without it the node's
 * own connections to an external address without endpoints would leave the node.
 */
export function jumps(withFirewall: boolean): readonly Jump[] {
  const isNew = '-m conntrack --ctstate NEW';
  const portals = comment('kubernetes service portals');
  const external = `${isNew} ${comment('kubernetes externally-visible service portals')}`;
  const balancer = `${isNew} ${comment('kubernetes load balancer firewall')}`;
  const all = [
    jump('filter', 'INPUT', chains.externalServices, external),
    jump('filter', 'FORWARD', chains.externalServices, external),
    jump('filter', 'OUTPUT', chains.externalServices, external),
    jump('filter', 'INPUT', chains.nodePorts, comment('kubernetes health check service ports')),
    jump('filter', 'FORWARD', chains.services, `${isNew} ${portals}`),
    jump('filter', 'OUTPUT', chains.services, `${isNew} ${portals}`),
    jump('filter', 'FORWARD', chains.forward, comment('kubernetes forwarding rules')),
    jump('filter', 'INPUT', chains.proxyFirewall, balancer),
    jump('filter', 'OUTPUT', chains.proxyFirewall, balancer),
    jump('filter', 'FORWARD', chains.proxyFirewall, balancer),
    jump('nat', 'OUTPUT', chains.services, portals),
    jump('nat', 'PREROUTING', chains.services, portals),
    jump('nat', 'POSTROUTING', chains.postrouting, comment('kubernetes postrouting rules')),
  ];
  if (!withFirewall) return all;
  const firewall = (['INPUT', 'OUTPUT'] as const).map((from) =>
    jump('filter', from, chains.firewall, ''),
  );
  return [...all, ...firewall];
}

function jump(table: TableName, from: string, to: ChainName, match: string): Jump {
  return { table, from, to, match };
}

/**
 * Whether KUBE-FIREWALL is ours to write. The kubelet has a chain of the same name; where we need no
 * rule in it, neither the chain nor the jumps to it are touched.
 */
export function writesFirewall(family: Family, options: LoweringOptions): boolean {
  return family === 'ipv4' && options.localhostNodePorts;
}

/** KUBE-FIREWALL: route_localnet must not open 127.0.0.0/8 to other machines. */
export function firewallRules(): readonly Rule[] {
  const why = comment('block incoming localnet connections');
  const args = `! -s 127.0.0.0/8 -d 127.0.0.0/8 ${why} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`;
  return [staticRule(args)];
}

/** KUBE-FORWARD, given what accepts hairpins: one match, or the rules of a tree. */
export function forwardRules(
  marks: MarkTargets,
  options: {
    readonly conntrackBeLiberal: boolean;
    readonly features: Pick<Features, 'randomFully' | 'nfacct'>;
  },
  hairpin: readonly Rule[],
): readonly Rule[] {
  const counted = options.features.nfacct ? `${countedIn('ct_state_invalid_dropped_pkts')} ` : '';
  const invalid = staticRule(`-m conntrack --ctstate INVALID ${counted}-j DROP`);
  const forwarding = comment('kubernetes forwarding rules');
  const established = comment('kubernetes forwarding conntrack rule');
  return [
    ...(options.conntrackBeLiberal ? [] : [invalid]),
    staticRule(`${forwarding} ${marks.isSet} -j ACCEPT`),
    ...hairpin,
    staticRule(`${established} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`),
  ];
}

/**
 * KUBE-POSTROUTING: hairpins are marked, then marked packets masqueraded. The mark is flipped off
 * first, so that a packet that passes again in a tunnel is not masqueraded twice.
 */
export function postroutingRules(
  marks: MarkTargets,
  options: {
    readonly features: Pick<Features, 'randomFully' | 'nfacct'>;
    readonly localhostNodePorts?: boolean;
  },
  hairpin: readonly Rule[],
): readonly Rule[] {
  const why = comment('kubernetes service traffic requiring SNAT');
  const random = options.features.randomFully ? ' --random-fully' : '';
  return [
    ...hairpin,
    staticRule(`${marks.isNotSet} -j RETURN`),
    ...(options.features.nfacct && options.localhostNodePorts ? [localhostNodePortRule()] : []),
    staticRule(marks.flip),
    staticRule(`${why} -j MASQUERADE${random}`),
  ];
}

/** Counts, and does nothing else. */
function countedIn(object: CountingObject): string {
  return `-m nfacct --nfacct-name ${object}`;
}

/**
 * Connections to node ports at a loopback address. They are always masqueraded, and here they cost nobody else anything: in front of
 * the node ports every connection of a program of this node to another would pass the rule.
 */
function localhostNodePortRule(): Rule {
  const origin = '-m conntrack --ctstate DNAT --ctorigdst 127.0.0.0/8';
  return staticRule(`${origin} ${countedIn('localhost_nps_accepted_pkts')}`);
}

/** The jumps for packets to an address on which node ports answer. */
export function nodePortJumps(node: NodeContext, to: ChainName, why = ''): readonly Rule[] {
  const said = why === '' ? '' : `${comment(why)} `;
  const where = node.nodePortAddresses;
  if (where.kind === 'list') {
    const length = node.family === 'ipv4' ? 32 : 128;
    return where.addresses.map((address) => staticRule(`-d ${address}/${length} ${said}-j ${to}`));
  }
  const local = `${said}-m addrtype --dst-type LOCAL -j ${to}`;
  // ::1 cannot be routed to another address, so IPv6 has no loopback node ports at all.
  if (node.family === 'ipv6') return [staticRule(`! -d ::1/128 ${local}`)];
  return [staticRule(where.loopback ? local : `! -d 127.0.0.0/8 ${local}`)];
}
