import type { NodeContext } from '../../graph/node-context.ts';
import type { Frontend, Verdict } from '../../graph/rule-graph.ts';
import type { Family } from '../../ip/address.ts';
import { serviceChain } from './chain-names.ts';
import type { DispatchKey } from './dispatch-keys.ts';
import type { Entry, TreeName } from './entry.ts';
import { branchMatch, frontendMatch } from './matches.ts';
import type { Rule } from './state.ts';

/**
 * What the filter table does with packets of a frontend that no pool took: its verdicts by source, and
 * for a guarded one the drop of everything else. Packets that a pool took have another destination.
 */
export function filterEntries(
  frontend: Frontend,
  key: DispatchKey,
  node: NodeContext,
): readonly Entry[] {
  const entries: Entry[] = [];
  const { guard, origin, protocol } = frontend;
  const rules = verdictRules(frontend, node);
  if (rules.length > 0) entries.push({ tree: verdictTrees[frontend.kind], key, rules });
  if (guard && guard.others.kind !== 'pass') {
    const chain = serviceChain('FW', { name: origin.name, protocol });
    const why = `${origin.name} traffic not accepted by ${chain}`;
    const args = `${frontendMatch(frontend, node.family, why)} ${target(guard.others, frontend, node.family)}`;
    entries.push({ tree: 'firewall', key, rules: [{ args, origin }] });
  }
  return entries;
}

const verdictTrees: Readonly<Record<Frontend['kind'], TreeName>> = {
  clusterIP: 'clusterVerdicts',
  externalIP: 'externalVerdicts',
  loadBalancerIP: 'externalVerdicts',
  nodePort: 'nodePortVerdicts',
};

function verdictRules(frontend: Frontend, node: NodeContext): readonly Rule[] {
  const { origin } = frontend;
  return frontend.branches.flatMap(({ from, to }): readonly Rule[] => {
    const source = branchMatch(from, node);
    if (to.kind === 'pool' || to.kind === 'pass' || source === undefined) return [];
    const why = `${origin.name} has ${to.reason}`;
    const match = frontendMatch(frontend, node.family, why, source);
    return [{ args: `${match} ${target(to, frontend, node.family)}`, origin }];
  });
}

/**
 * TCP is refused by a reset: ICMP errors are rate limited by the kernel (net.ipv4.icmp_ratelimit), so
 * that under load refusals would turn into time-outs, and over IPv6 a connect may miss the first one.
 */
function target({ kind }: Verdict, { protocol }: Frontend, family: Family): string {
  if (kind === 'drop') return '-j DROP';
  if (protocol === 'TCP') return '-j REJECT --reject-with tcp-reset';
  return `-j REJECT --reject-with ${family === 'ipv4' ? 'icmp-port' : 'icmp6-port'}-unreachable`;
}
