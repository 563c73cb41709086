import { isDeepStrictEqual } from 'node:util';
import type { NodeContext } from '../../graph/node-context.ts';
import type { Branch, Frontend, RuleGraph } from '../../graph/rule-graph.ts';
import { addressBytes, isLoopback } from '../../ip/address.ts';
import type { Address } from '../../ip/address.ts';
import { cidrAddress, cidrContains, cidrOf, prefixLength } from '../../ip/cidr.ts';
import type { Cidr } from '../../ip/cidr.ts';
import type { RelayProtocol, Route } from '../../relay/relay.ts';
import { poolOfTarget, relayPool } from './listeners.ts';
import type { UserspaceOptions } from './state.ts';

/** undefined: everybody. */
type Sources = readonly Cidr[] | undefined;

/**
 * Guard and branches of a frontend as routes, for a listener that has no rules before it: what is refused or dropped by
 * the graph is refused. Who fits none of them is refused too.
 */
export function sourceRoutes(
  { guard, branches }: Frontend,
  graph: RuleGraph,
  protocol: RelayProtocol,
  options: Pick<UserspaceOptions, 'udpTimeoutMs' | 'drainSeconds'>,
): readonly Route[] {
  const allowed = guard && [...guard.allowed, ...guard.allowedOwn.map(single)];
  const routes = branches.flatMap(({ from, to }): readonly Route[] => {
    const own = sourcesOf(from, graph.node);
    if (own === 'nobody') return [];
    const sources = both(allowed, own);
    if (sources?.length === 0) return [];
    if (to.kind !== 'pool') return [{ sources, to: 'refuse' }];
    return [{ sources, to: relayPool(poolOfTarget(graph, to), protocol, options) }];
  });
  return needed(routes);
}

/** The addresses a branch is for. Loopback ones are the node's, whatever its family: a listener may stand at one of another family. */
function sourcesOf(from: Branch['from'], node: NodeContext): Sources | 'nobody' {
  switch (from) {
    case 'anywhere':
      return undefined;
    case 'node':
      return [
        ...loopbacks,
        ...node.localAddresses.filter((address) => !isLoopback(address)).map(single),
      ];
    case 'pod':
      return node.podDetector.kind === 'cidr' ? [node.podDetector.cidr] : 'nobody';
    default:
      return from satisfies never;
  }
}

const loopbacks: readonly Cidr[] = ['127.0.0.0/8' as Cidr, '::1/128' as Cidr];

function single(address: Address): Cidr {
  const bytes = addressBytes(address);
  return cidrOf(bytes, 8 * bytes.length);
}

/** Who is in both. */
function both(a: Sources, b: Sources): Sources {
  if (a === undefined || b === undefined) return a ?? b;
  const common = a.flatMap((one) => b.flatMap((other) => overlap(one, other) ?? []));
  return [...new Set(common)];
}

/** Two prefixes share nothing, or one holds the other. */
function overlap(a: Cidr, b: Cidr): Cidr | undefined {
  if (prefixLength(a) > prefixLength(b)) return cidrContains(b, cidrAddress(a)) ? a : undefined;
  return cidrContains(a, cidrAddress(b)) ? b : undefined;
}

/**
 * Neighbours that lead to the same place are one, which nobody can tell from the two; what is refused in the end is refused
 * without a route.
 */
function needed(routes: readonly Route[]): readonly Route[] {
  const left: Route[] = [];
  for (const route of routes) {
    const before = left.at(-1);
    if (before === undefined || !isDeepStrictEqual(before.to, route.to)) left.push(route);
    else left.splice(-1, 1, { sources: either(before.sources, route.sources), to: route.to });
  }
  if (left.at(-1)?.to === 'refuse') left.pop();
  return left;
}

/** Who is in one of them. */
function either(a: Sources, b: Sources): Sources {
  return a === undefined || b === undefined ? undefined : [...new Set([...a, ...b])];
}
