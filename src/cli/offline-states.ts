import { lowerAll } from '../backends/iptables/lower.ts';
import type { Features, IptablesState } from '../backends/iptables/state.ts';
import { lowerIpvs } from '../backends/ipvs/lower.ts';
import type { IpvsFeatures } from '../backends/ipvs/options.ts';
import type { IpvsState } from '../backends/ipvs/state.ts';
import type { RuleGraph } from '../graph/rule-graph.ts';
import { ownedReason } from '../proxy/node-owners.ts';
import type { Offline } from './offline.ts';

/** What tools and kernel are taken to do. */
export interface AssumedNode<F> {
  readonly features: F;
  readonly conntrackBeLiberal: boolean;
}

/** The iptables mode's state for a graph of manifests. */
export function iptablesStateOf(
  graph: RuleGraph,
  offline: Offline,
  assumed: AssumedNode<Features>,
): IptablesState {
  return lowerAll(graph, {
    ...assumed,
    masqueradeMark: offline.masqueradeMark,
    localhostNodePorts: offline.localhostNodePorts(graph.family),
  });
}

/** The ipvs mode's; all schedulers are taken to be there. */
export function ipvsStateOf(
  graph: RuleGraph,
  offline: Offline,
  scheduler: string,
  assumed: AssumedNode<IpvsFeatures>,
): IpvsState {
  return lowerIpvs(graph, {
    ...assumed,
    masqueradeMark: offline.masqueradeMark,
    scheduler,
    schedulerProblem: () => undefined,
    reserved: (address) => {
      const owner = offline.nodeOwners.get(address);
      return owner === undefined ? undefined : ownedReason(address, owner);
    },
  });
}

/** ipvs mode needs ipsets anyway: where bpf is missing, one does. */
export function ipvsFeaturesOf({
  hairpin,
  randomFully,
}: Pick<Features, 'hairpin' | 'randomFully'>): IpvsFeatures {
  return { hairpin: hairpin === 'bpf' ? hairpin : 'ipset', randomFully };
}
