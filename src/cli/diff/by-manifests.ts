import type { DesiredState } from '../../backends/desired.ts';
import type { Observed } from '../../backends/iptables/read.ts';
import type { FlagValues } from '../../config/flag-table.ts';
import { SwitchyardError } from '../../error.ts';
import type { RuleGraph } from '../../graph/rule-graph.ts';
import { givenFeatures } from '../assumed-features.ts';
import type { Offline } from '../offline.ts';
import { ipvsFeaturesOf, ipvsStateOf, iptablesStateOf } from '../offline-states.ts';
import { assumedOf } from './assumed.ts';

/** What the agent would want for a graph of manifests, with tools and a kernel that do what the rules show. */
export function desiredByManifests(
  graph: RuleGraph,
  offline: Offline,
  flags: FlagValues,
  observed: Observed,
  node: { readonly variant: DesiredState['variant']; readonly conntrackBeLiberal?: boolean },
): DesiredState {
  const { variant } = node;
  const shown = assumedOf(observed);
  const { guard: _, ...given } = givenFeatures(flags);
  const features = { ...shown.features, ...given };
  const conntrackBeLiberal = node.conntrackBeLiberal ?? shown.conntrackBeLiberal;
  if (flags.text('mode') === 'ipvs') {
    const scheduler = flags.text('ipvsScheduler') || 'rr';
    const assumed = { features: ipvsFeaturesOf(features), conntrackBeLiberal };
    const { rules, servers, addresses } = ipvsStateOf(graph, offline, scheduler, assumed);
    return { variant, rules, balancing: { servers, addresses, excludeCidrs: [] } };
  }
  const assumed = { features, conntrackBeLiberal };
  return { variant, rules: iptablesStateOf(graph, offline, assumed) };
}

/** The graph of a family; a usage error where the manifests have none. */
export function graphOf(offline: Offline, family: 'ipv4' | 'ipv6'): RuleGraph {
  const part = offline.families.get(family);
  if (part === undefined) throw new SwitchyardError('internal', `no graph of family ${family}`);
  return part.graph;
}
