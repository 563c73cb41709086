import { hidesSources } from '../iptables/ahead.ts';
import { withChains } from '../iptables/chain-table.ts';
import type { ChainName, IptablesState, SetName } from '../iptables/state.ts';
import { chains, staticRule } from '../iptables/static-rules.ts';
import { ipvsChains, ipvsJumps, refusals } from './rules.ts';

/**
 * The state of iptables mode while addresses are still bound to kube-ipvs0. What it does not translate (a port that is
 * no service's, a service without endpoints) would reach the node's own sockets; and the node's own connections to a
 * service have its address as their source. As long as virtual servers take new connections (`isQuiet` is false), the
 * filter and the guard of ipvs mode stay in force as that mode has left them.
 */
export function besideIpvs(
  state: IptablesState,
  boundSets: readonly SetName[],
  isQuiet: boolean,
): IptablesState {
  const postrouting = state.tables.nat.get(chains.postrouting);
  if (boundSets.length === 0 || postrouting === undefined) return state;
  const { family, tables, jumps } = state;
  const hides = boundSets.flatMap((set) => hidesSources(state, set).map(staticRule));
  const refuse = boundSets.flatMap((set) => refusals(`-m set --match-set ${set} dst`, family));
  const icmp = staticRule(`-p ${family === 'ipv4' ? 'icmp' : 'ipv6-icmp'} -j RETURN`);
  const put = (name: ChainName, rules: typeof hides) =>
    new Map([[name, { name, role: 'root', rules }]] as const);
  const guarded = withChains(tables.filter, put(ipvsChains.filter, [icmp, ...refuse]));
  const filter = isQuiet ? guarded : tables.filter;
  const nat = withChains(tables.nat, put(chains.postrouting, [...hides, ...postrouting.rules]));
  // Below our own, which drop what is to be dropped: each is put at the top.
  const kept = ipvsJumps().filter(
    ({ table, to }) => to === ipvsChains.filter || (!isQuiet && table === 'mangle'),
  );
  return { ...state, tables: { ...tables, filter, nat }, jumps: [...kept, ...jumps] };
}
