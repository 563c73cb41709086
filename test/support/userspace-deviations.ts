import type { DeviationId } from '../../src/backends/userspace/deviations.ts';
import { interpret } from '../../src/graph/interpret.ts';
import { answersNodePorts, packetFrom } from '../../src/graph/packet.ts';
import { toNumber } from '../../src/graph/rational.ts';
import type {
  Branch,
  Frontend,
  Pool,
  PoolEndpoint,
  PoolId,
  RuleGraph,
} from '../../src/graph/rule-graph.ts';
import { isLoopback } from '../../src/ip/address.ts';
import type { Attempt } from './arbitraries.ts';
import type { ParsedListener } from './userspace-simulator/parse.ts';
import type { Shares } from './userspace-simulator/shares.ts';

export interface Meaning {
  readonly shares: Shares;
  /** Where it is not what `interpret` says. */
  readonly deviations: ReadonlySet<DeviationId>;
}

/** What differs while graph and attempt are the same. */
export interface Circumstances {
  readonly listeners: readonly ParsedListener[];
  /** Listeners that could not be opened. */
  readonly unopened: (key: string) => boolean;
  /** Where the range of listeners' ports is guarded in the place of their set. */
  readonly guarded: { readonly first: number; readonly last: number } | undefined;
  /** What the node's own firewall does with what nobody accepted, of INPUT and of FORWARD. */
  readonly policy: 'ACCEPT' | 'DROP';
}

/**
 * What userspace mode with portals is to make of an attempt: what `interpret` says, but for the deviations, which are applied
 * here without a look at what the lowering does.
 */
export function meantByUserspace(
  graph: RuleGraph,
  attempt: Attempt,
  around: Circumstances,
): Meaning {
  const deviations = new Set<DeviationId>();
  const pools = new Map(graph.pools);
  const frontends = new Map(
    Array.from(graph.frontends, ([id, each]) => [
      id,
      served(each, graph, around, { pools, deviations }),
    ]),
  );
  const outcomes = interpret({ ...graph, frontends, pools }, packetFrom(graph.node, attempt));
  const shares: Record<string, number> = {};
  for (const outcome of outcomes) {
    const key =
      outcome.kind === 'endpoint'
        ? `${outcome.endpoint.address} ${outcome.endpoint.port}`
        : outcome.kind === 'pass'
          ? passing(graph, attempt, around, deviations)
          : outcome.kind;
    if (outcome.kind === 'endpoint') {
      if (!outcome.masquerade) deviations.add('source');
      if (around.policy === 'DROP') deviations.add('accepted');
    }
    shares[key] = (shares[key] ?? 0) + toNumber(outcome.probability);
  }
  return { shares, deviations };
}

interface Changes {
  /** Those of the graph, and those that stand for some of them. */
  readonly pools: Map<PoolId, Pool>;
  readonly deviations: Set<DeviationId>;
}

function served(
  frontend: Frontend,
  graph: RuleGraph,
  around: Circumstances,
  changes: Changes,
): Frontend {
  const { node } = graph;
  const { deviations } = changes;
  const { unopened } = around;
  const { protocol, origin } = frontend;
  const straight = frontend.branches.map((branch) => led(branch, frontend, graph, around, changes));
  const branches = straight.map((branch): Branch => {
    if (branch.to.kind !== 'pool') return branch;
    const key = `${origin.servicePort} ${branch.to.list} ${node.family}`;
    const isSctp = protocol === 'SCTP';
    if (!isSctp && node.nodeAddress !== undefined && !unopened(key)) return branch;
    deviations.add(isSctp ? 'SCTP' : 'no listener');
    return { ...branch, to: { kind: 'reject', reason: '' } };
  });
  const isReached = branches.some(({ to }) => to.kind === 'pool');
  const wasReached = frontend.branches.some(({ to }) => to.kind === 'pool');
  if (frontend.guard === undefined || (wasReached && !isReached))
    return { ...frontend, branches, guard: undefined };
  // with source ranges, what has no listener is dropped like what is not in the ranges
  const dropping = branches.map((branch): Branch =>
    branch.to.kind === 'reject' ? { ...branch, to: { kind: 'drop', reason: '' } } : branch,
  );
  return { ...frontend, branches: dropping };
}

/** A branch without endpoints that are places of this proxy. */
function led(
  branch: Branch,
  { id, protocol }: Frontend,
  graph: RuleGraph,
  around: Circumstances,
  { pools, deviations }: Changes,
): Branch {
  const pool = branch.to.kind === 'pool' ? graph.pools.get(branch.to.pool) : undefined;
  if (branch.to.kind !== 'pool' || pool === undefined) return branch;
  const endpoints = pool.endpoints.filter((each) => !isOwnPlace(graph, protocol, each, around));
  if (endpoints.length === pool.endpoints.length) return branch;
  deviations.add('own places');
  if (endpoints.length === 0) return { ...branch, to: { kind: 'reject', reason: '' } };
  const other = `${pool.id} for ${id}` as PoolId;
  pools.set(other, { ...pool, id: other, endpoints });
  return { ...branch, to: { ...branch.to, pool: other } };
}

/** Whether who connects there from this node comes to this proxy. */
function isOwnPlace(
  { frontends, node }: RuleGraph,
  protocol: Frontend['protocol'],
  { address, port }: PoolEndpoint,
  { listeners }: Pick<Circumstances, 'listeners'>,
): boolean {
  const isFrontend = [...frontends.values()].some(
    (each) =>
      each.protocol === protocol &&
      each.port === port &&
      (each.address === undefined ? answersNodePorts(node, address) : each.address === address),
  );
  return (
    isFrontend ||
    listeners.some(
      (each) => each.protocol === protocol && each.address === address && each.port === port,
    )
  );
}

/** What is no service's: it may be a listener's own port, and else the node's own firewall has a say. */
function passing(
  graph: RuleGraph,
  attempt: Attempt,
  around: Circumstances,
  deviations: Set<DeviationId>,
): string {
  if (isListenersPort(graph, attempt, around)) {
    deviations.add('closed ports');
    return 'drop';
  }
  const { protocol, destination, port, inInterface } = attempt;
  const isOwn = isLoopback(destination) || graph.node.localAddresses.includes(destination);
  if (isOwn && protocol === 'TCP' && graph.healthCheckPorts.has(port)) return 'pass';
  return around.policy === 'DROP' && (isOwn || inInterface !== undefined) ? 'drop' : 'pass';
}

function isListenersPort(
  { node }: RuleGraph,
  { protocol, destination, port }: Attempt,
  { listeners, guarded }: Circumstances,
): boolean {
  const isInRange =
    guarded !== undefined &&
    protocol !== 'SCTP' &&
    destination === node.nodeAddress &&
    port >= guarded.first &&
    port <= guarded.last;
  return (
    isInRange ||
    listeners.some(
      (each) => each.protocol === protocol && each.address === destination && each.port === port,
    )
  );
}
