import type { NodeContext } from '../../graph/node-context.ts';
import type { Branch, Frontend, PoolId } from '../../graph/rule-graph.ts';
import { dispatchKey } from './dispatch-keys.ts';
import type { DispatchKey } from './dispatch-keys.ts';
import { branchMatch, frontendMatch, fromAnywhere, podMatch } from './matches.ts';
import { staticRule } from './static-rules.ts';
import type { MarkTargets } from './static-rules.ts';
import type { Rule } from './state.ts';

/** Whose packets carry the masquerade mark. */
type Marked = 'nobody' | 'everybody' | 'all but pods';

/** The pool that all sources of the frontend are sent to, if it is one and nobody is kept out. */
export function directPool({ guard, branches }: Frontend): PoolId | undefined {
  const first = branches[0]?.to;
  if (guard || first?.kind !== 'pool') return undefined;
  const isOne = branches.every(({ to }) => to.kind === 'pool' && to.pool === first.pool);
  return isOne ? first.pool : undefined;
}

/** Who is marked at the top of nat KUBE-SERVICES, for all addresses of a ServiceCIDR. */
function hoistedMark(node: NodeContext): Marked {
  if (node.masqueradeAll) return 'everybody';
  return node.podDetector.kind === 'none' ? 'nobody' : 'all but pods';
}

/** The rules around the dispatch tree of nat KUBE-SERVICES that set and clear the hoisted marks. */
export function hoistedMarkRules(
  node: NodeContext,
  marks: MarkTargets,
): { readonly before: readonly Rule[]; readonly after: readonly Rule[] } {
  const marked = hoistedMark(node);
  if (marked === 'nobody') return { before: [], after: [] };
  const source = marked === 'everybody' ? undefined : podMatch(node.podDetector, true);
  const { address, device } = source ?? fromAnywhere;
  const matches = node.serviceCidrs.map((cidr) =>
    [address, `-d ${cidr}`, device].filter((part) => part !== '').join(' '),
  );
  return {
    before: matches.map((match) => staticRule(`${match} ${marks.set}`)),
    after: node.serviceCidrs.map((cidr) => staticRule(`-d ${cidr} ${marks.clear}`)),
  };
}

/** What mark rules depend on besides their frontend. */
export interface MarkContext {
  readonly node: NodeContext;
  readonly marks: MarkTargets;
  /** Whether the hoisted mark rules look at the address of a key. */
  isHoisted(this: void, key: DispatchKey): boolean;
}

/**
 * The rules before those that take a frontend's packets away, which make the mark what the branches
 * ask for ('branches'), or clear it for a chain that sets it itself ('clear'). Most often there is
 * none: inside a ServiceCIDR the mark already is what a cluster IP needs.
 */
export function markRules(
  frontend: Frontend,
  want: 'branches' | 'clear',
  { node, marks, isHoisted }: MarkContext,
  why: string,
): readonly Rule[] {
  const { origin, address, protocol, port } = frontend;
  const hoisted = address !== undefined && isHoisted(dispatchKey(address, protocol, port));
  const before = hoisted ? hoistedMark(node) : 'nobody';
  const after = want === 'clear' ? 'nobody' : markedBy(frontend.branches, node);
  if (before === after) return [];
  const rule = (target: string, source = fromAnywhere): Rule => ({
    args: `${frontendMatch(frontend, node.family, why, source)} ${target}`,
    origin,
  });
  if (after === 'nobody') return [rule(marks.clear)];
  if (after === 'everybody') return [rule(marks.set)];
  if (after === 'all but pods') {
    if (before === 'everybody') return [rule(marks.clear, podMatch(node.podDetector))];
    return [rule(marks.set, podMatch(node.podDetector, true))];
  }
  // The first branch that matches decides, so it is written last.
  const targets = frontend.branches.toReversed().flatMap(({ from, to }) => {
    const source = branchMatch(from, node);
    const isSet = to.kind === 'pool' && to.masquerade;
    return source === undefined ? [] : [{ isSet, source }];
  });
  const start = before === 'nobody' ? targets.findIndex(({ isSet }) => isSet) : 0;
  const needed = targets.slice(Math.max(start, 0));
  return needed.map(({ isSet, source }) => rule(isSet ? marks.set : marks.clear, source));
}

/** undefined: none of the simple cases. */
function markedBy(branches: readonly Branch[], node: NodeContext): Marked | undefined {
  const possible = branches.filter(({ from }) => branchMatch(from, node) !== undefined);
  const text = possible
    .map(({ from, to }) => `${from}:${to.kind === 'pool' && to.masquerade ? 'yes' : 'no'}`)
    .join(' ');
  if (!text.includes('yes')) return 'nobody';
  if (!text.includes('no ') && !text.endsWith('no')) return 'everybody';
  const allButPods = ['pod:no anywhere:yes', 'pod:no node:yes anywhere:yes'];
  return allButPods.includes(text) ? 'all but pods' : undefined;
}
