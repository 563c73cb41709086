import type { NodeContext } from '../../graph/node-context.ts';
import type { Family } from '../../ip/address.ts';
import { hairpinBytecode } from '../iptables/hairpin.ts';
import { podMatch, sourceMatch, words } from '../iptables/matches.ts';
import type { SourceMatch } from '../iptables/matches.ts';
import {
  chains,
  comment,
  forwardRules,
  markTargets,
  postroutingRules,
  staticRule,
} from '../iptables/static-rules.ts';
import type { ChainName, Jump, Rule, TableName } from '../iptables/state.ts';
import type { IpvsOptions } from './options.ts';
import { ipvsSet } from './sets.ts';
import type { SetRole } from './sets.ts';

/** The chains that only this mode has, as kube-proxy names them. */
export const ipvsChains = {
  filter: 'KUBE-IPVS-FILTER' as ChainName,
  healthChecks: 'KUBE-NODE-PORT' as ChainName,
} as const;

/** The content of our chains, by table. None of it depends on services: they are in the sets. */
export function ipvsRules(
  node: NodeContext,
  options: IpvsOptions,
): Readonly<Record<TableName, ReadonlyMap<ChainName, readonly Rule[]>>> {
  const { family } = node;
  const marks = markTargets(options.masqueradeMark);
  const guard = [guardRule(family)];
  const hairpin = [staticRule(`${hairpinTest(family, options)} ${marks.set}`)];
  return {
    mangle: new Map([
      [chains.canary, []],
      [chains.proxyFirewall, guard],
    ]),
    nat: new Map([
      [chains.canary, []],
      [chains.services, servicesRules(node)],
      [chains.markMasq, [staticRule(marks.set)]],
      [chains.postrouting, postroutingRules(marks, options, hairpin)],
    ]),
    filter: new Map([
      [chains.canary, []],
      // holds the generation alone
      [chains.services, []],
      [chains.proxyFirewall, guard],
      [ipvsChains.filter, filterRules(node, marks.isSet)],
      [ipvsChains.healthChecks, [healthCheckRule(family)]],
      [chains.forward, forwardRules(marks, options, [])],
    ]),
  };
}

/**
 * The jumps from the built-in chains, each put at the top. What comes back over the loopback device
 * has been judged where the node sent it, and has lost its mark since.
 */
export function ipvsJumps(): readonly Jump[] {
  const isNew = '-m conntrack --ctstate NEW';
  const arrives = `! -i lo ${isNew}`;
  const portals = comment('kubernetes service portals');
  const access = comment('kubernetes ipvs access filter');
  const balancer = comment('kubernetes load balancer firewall');
  return [
    jump('nat', 'OUTPUT', chains.services, portals),
    jump('nat', 'PREROUTING', chains.services, portals),
    jump('nat', 'POSTROUTING', chains.postrouting, comment('kubernetes postrouting rules')),
    jump('filter', 'FORWARD', chains.forward, comment('kubernetes forwarding rules')),
    jump('filter', 'INPUT', ipvsChains.healthChecks, comment('kubernetes health check rules')),
    jump('filter', 'INPUT', chains.proxyFirewall, `${arrives} ${balancer}`),
    jump('filter', 'INPUT', ipvsChains.filter, `${arrives} ${access}`),
    jump('filter', 'OUTPUT', ipvsChains.filter, `${isNew} ${access}`),
    // ipvs takes the node's own connections before filter sees them
    jump('mangle', 'OUTPUT', chains.proxyFirewall, `${isNew} ${balancer}`),
  ];
}

function jump(table: TableName, from: string, to: ChainName, match: string): Jump {
  return { table, from, to, match };
}

/** Marks whose sources are hidden, then keeps all other rules of nat from translating what ipvs will. */
function servicesRules({ family, podDetector }: NodeContext): readonly Rule[] {
  const notPods = podMatch(podDetector, true);
  const toMark = `-j ${chains.markMasq}`;
  return [
    matching(inSet('MASQ-ALL', family), toMark),
    ...(notPods ? [matching(inSet('MASQ-OTHERS', family), toMark, notPods)] : []),
    matching(`-m addrtype --src-type LOCAL ${inSet('SERVED', family)}`, toMark),
    matching(inSet('SERVED', family), '-j ACCEPT'),
    matching(inSet('BOUND', family, 'dst'), '-j ACCEPT'),
  ];
}

/** loadBalancerSourceRanges. */
function guardRule(family: Family): Rule {
  const allowed = `-m set ! --match-set ${ipvsSet('ALLOWED', family)} dst,dst,src`;
  const own = `-m set ! --match-set ${ipvsSet('ALLOWED-OWN', family)} dst,dst,src`;
  return matching(`${inSet('GUARDED', family)} ${allowed} ${own}`, '-j DROP');
}

/**
 * What a service's address does not take. The node's own connections that ipvs has translated carry the mark, and leave
 * before all but what has no virtual server: their real server may by chance have the address and port of another frontend.
 */
function filterRules({ family, podDetector }: NodeContext, isMarked: string): readonly Rule[] {
  const notNode = '-m addrtype ! --src-type LOCAL';
  const notPods = podMatch(podDetector, true);
  return [
    ...refusals(inSet('CLOSED', family), family),
    matching(isMarked, '-j RETURN'),
    matching(`${notNode} ${inSet('DROP-OTHERS', family)}`, '-j DROP', notPods),
    matching(inSet('SERVED', family), '-j RETURN'),
    matching(inSet('DROP-ALL', family), '-j DROP'),
    ...refusals(inSet('REJECTED', family), family),
    staticRule(`-p tcp ${inSet('HEALTH', family, 'dst')} -j RETURN`),
    // whoever asks whether an address is there gets an answer
    staticRule(`-p ${family === 'ipv4' ? 'icmp' : 'ipv6-icmp'} -j RETURN`),
    ...refusals(inSet('BOUND', family, 'dst'), family),
  ];
}

/** TCP by a reset, since the kernel limits how many ICMP errors it sends. */
export function refusals(match: string, family: Family): readonly Rule[] {
  const unreachable = `${family === 'ipv4' ? 'icmp' : 'icmp6'}-port-unreachable`;
  return [
    staticRule(`-p tcp ${match} -j REJECT --reject-with tcp-reset`),
    staticRule(`${match} -j REJECT --reject-with ${unreachable}`),
  ];
}

function healthCheckRule(family: Family): Rule {
  return staticRule(`-p tcp ${inSet('HEALTH', family, 'dst')} -j ACCEPT`);
}

/**
 * A hairpin is known by source = destination. ipvs leaves no trace of its translation in the state of the connection
 * that a rule could ask for; what the node says to itself does not leave by another device than lo.
 */
function hairpinTest(family: Family, { features }: IpvsOptions): string {
  const test =
    features.hairpin === 'bpf'
      ? `-m bpf --bytecode "${hairpinBytecode(family)}"`
      : inSet('HAIRPIN', family, 'dst,dst,src');
  return `! -o lo ${test}`;
}

function inSet(role: SetRole, family: Family, dimensions = 'dst,dst'): string {
  return `-m set --match-set ${ipvsSet(role, family)} ${dimensions}`;
}

function matching(match: string, target: string, source?: SourceMatch): Rule {
  return staticRule(words(source === undefined ? '' : sourceMatch(source), match, target));
}
