import { leftOut, listReason, noHints } from '../services/choice-reasons.ts';
import type {
  ChoiceList,
  ServicePort,
  ServicePortKey,
  SkippedEndpoint,
} from '../services/service-port.ts';
import type { Outcome, Step } from './interpret.ts';
import type { FrontendId, RuleGraph } from './rule-graph.ts';

/** How the endpoints a packet may reach were chosen. */
export interface Choice {
  /** All endpoints of the cluster, or those of this node. */
  readonly list: ChoiceList;
  /** Why these. */
  readonly reason: string;
  /** The reason is worth a line: something narrows the list, or tried to. */
  readonly notable: boolean;
  readonly leftOut: readonly SkippedEndpoint[];
}

/**
 * The choice behind the outcomes of a packet; undefined where no endpoints were asked for, since a
 * guard or no Service at all decided. `servicePorts` are those the graph was compiled from.
 */
export function choiceOf(
  graph: RuleGraph,
  servicePorts: ReadonlyMap<ServicePortKey, ServicePort>,
  outcomes: readonly Outcome[],
): Choice | undefined {
  const path = outcomes[0]?.path ?? [];
  const branch = path.findLast(({ node, taken }) => node === 'branch' && taken);
  const port = branch?.origin && servicePorts.get(branch.origin.servicePort);
  if (!branch || !port) return undefined;
  const list = listOf(graph, port, path, branch);
  const left = leftOut(port.endpoints, list);
  const reason = listReason(port.endpoints, list);
  return { list, reason, notable: left.length > 0 || reason !== noHints, leftOut: left };
}

/** Policy Local keeps traffic on the node, but for external traffic of its pods and its own. */
function listOf(
  graph: RuleGraph,
  port: ServicePort,
  path: readonly Step[],
  branch: Step,
): ChoiceList {
  const entered = path.findLast(({ node }) => node === 'frontend')?.id as FrontendId | undefined;
  const frontend = entered && graph.frontends.get(entered);
  if (frontend?.kind === 'clusterIP') return port.internalPolicy === 'Local' ? 'local' : 'cluster';
  return port.externalPolicy === 'Local' && branch.id === 'anywhere' ? 'local' : 'cluster';
}
