import { UserspaceLowering } from '../backends/userspace/lower.ts';
import { makeBelievePorts, renderStanding, renderUserspace } from '../backends/userspace/render.ts';
import { standListeners } from '../backends/userspace/standing.ts';
import type { StandingOptions } from '../backends/userspace/standing.ts';
import type { UserspaceFeatures, UserspaceOptions } from '../backends/userspace/state.ts';
import type { FlagValues } from '../config/flag-table.ts';
import { SwitchyardError } from '../error.ts';
import type { GraphDelta, RuleGraph } from '../graph/rule-graph.ts';
import { parsePortRange } from '../ip/port-range.ts';
import type { PortRange } from '../ip/port-range.ts';

/** What of the command line counts for the userspace mode. */
export interface UserspaceSettings extends UserspaceOptions, StandingOptions {
  readonly portals: 'iptables' | 'none';
  readonly portRange: PortRange | undefined;
}

/** Reads the settings; `comments` and `guard` are what tools and kernel are assumed to do. */
export function userspaceSettings(
  flags: FlagValues,
  { comments, guard }: Pick<UserspaceFeatures, 'comments'> & { readonly guard: 'ipset' | 'range' },
): UserspaceSettings {
  const text = flags.text('proxyPortRange');
  const range = parsePortRange(text);
  if (range === undefined) {
    throw new SwitchyardError('usage', `--proxy-port-range: ${JSON.stringify(text)} is no range`, {
      hint: 'give BEGIN-END, BEGIN+COUNT or one port, such as 20000-20999',
    });
  }
  const portRange = range === 'any' ? undefined : range;
  if (guard === 'range' && portRange === undefined) {
    throw new SwitchyardError('usage', '--features=guard=range needs --proxy-port-range');
  }
  return {
    features: { guard: guard === 'range' && portRange ? portRange : 'ipset', comments },
    udpTimeoutMs: flags.number('udpTimeout'),
    drainSeconds: Math.ceil(flags.number('userspaceDrainTimeout') / 1000),
    portRange,
    portals: flags.text('userspacePortals') === 'none' ? 'none' : 'iptables',
    portOffset: flags.number('userspacePortOffset'),
  };
}

/** The text of each family, one after the other; without portals, one for all. */
export function userspaceText(graphs: readonly RuleGraph[], settings: UserspaceSettings): string {
  if (settings.portals === 'none') return renderStanding(standListeners(graphs, settings));
  return graphs.map((graph) => familyText(graph, settings)).join('\n');
}

const everything: GraphDelta = { everything: true, frontends: new Set(), pools: new Set() };

function familyText(graph: RuleGraph, settings: UserspaceSettings): string {
  const lowering = new UserspaceLowering(settings);
  const ports = makeBelievePorts(lowering.listeners(graph, everything), settings.portRange);
  const state = lowering.portals(graph, ports);
  return renderUserspace(state, ports, settings.features);
}
