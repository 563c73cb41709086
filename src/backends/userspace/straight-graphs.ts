import type {
  Frontend,
  FrontendId,
  GraphDelta,
  PoolEndpoint,
  PoolId,
  RuleGraph,
} from '../../graph/rule-graph.ts';
import type { ListenerKey } from '../../relay/relay.ts';
import type { Protocol } from '../../services/service-port.ts';
import type { LeftOutEndpoint } from '../sync-report.ts';
import { KeyedTable } from '../keyed-table.ts';
import { protocolOf } from './listeners.ts';
import { frontendAt, graphWith, leftOutOf, straightened } from './own-places.ts';
import type { Straightened } from './own-places.ts';
import type { GraphVersion } from './portal-graph.ts';
import type { ListenerPort, ListenerPorts } from './state.ts';

/**
 * Makes graphs whose pools hold no place of this proxy of rule graphs, one after the other: no frontend that portals lead
 * from, and no listener. Looks again at pools that were there before where such a place comes or goes.
 */
export class StraightGraphs {
  /** The ports of frontends. */
  readonly #known = new Map<FrontendId, number>();
  readonly #straightened = new Map<FrontendId, Straightened>();
  #standing: ListenerPorts = new KeyedTable();
  /** By protocol and port, at the one address of the node. */
  readonly #listeners = new Map<string, ListenerKey>();

  /** The graph; `delta` says what changed since the graph of the last call, and `standing` where listeners are. */
  lower(graph: RuleGraph, delta: GraphDelta, standing: ListenerPorts): GraphVersion {
    const ids = delta.everything
      ? new Set([...this.#known.keys(), ...graph.frontends.keys()])
      : new Set(delta.frontends);
    const changed = this.#follow(standing);
    for (const id of ids) this.#know(id, graph.frontends.get(id), changed);
    if (!delta.everything) for (const id of leadingTo(changed, graph)) ids.add(id);
    for (const id of ids) this.#look(id, graph);
    const all = this.#straightened;
    return {
      graph: all.size === 0 ? graph : graphWith(graph, all),
      delta: { ...delta, frontends: ids },
    };
  }

  /** What the last graph named, and is not led to. */
  leftOut(): readonly LeftOutEndpoint[] {
    return leftOutOf(this.#straightened.values());
  }

  /** The ports at which a listener came or went. */
  #follow(standing: ListenerPorts): Set<number> {
    const changed = new Set<number>();
    const moves = [...standing.changesFrom(this.#standing)];
    for (const [key] of moves) {
      const port = portOf(this.#standing.get(key));
      if (port === undefined) continue;
      this.#listeners.delete(`${protocolOf(key)}/${port}`);
      changed.add(port);
    }
    for (const [key, now] of moves) {
      const port = portOf(now);
      if (port === undefined) continue;
      this.#listeners.set(`${protocolOf(key)}/${port}`, key);
      changed.add(port);
    }
    this.#standing = standing;
    return changed;
  }

  #know(id: FrontendId, frontend: Frontend | undefined, changed: Set<number>): void {
    const before = this.#known.get(id);
    if (frontend === undefined) this.#known.delete(id);
    else if (before === undefined) this.#known.set(id, frontend.port);
    const port = before ?? frontend?.port;
    if (port !== undefined && (before === undefined) !== (frontend === undefined))
      changed.add(port);
  }

  #look(id: FrontendId, graph: RuleGraph): void {
    const frontend = graph.frontends.get(id);
    const found =
      frontend &&
      straightened(frontend, graph.pools, (protocol, endpoint) =>
        this.#standsAt(graph, protocol, endpoint),
      );
    if (found) this.#straightened.set(id, found);
    else this.#straightened.delete(id);
  }

  #standsAt(
    { frontends, node }: RuleGraph,
    protocol: Protocol,
    endpoint: PoolEndpoint,
  ): string | undefined {
    const frontend = frontendAt(frontends, node, protocol, endpoint);
    if (frontend !== undefined) return frontend;
    if (endpoint.address !== node.nodeAddress) return undefined;
    const listener = this.#listeners.get(`${protocol}/${endpoint.port}`);
    return listener && `the listener of ${listener}`;
  }
}

function portOf(standing: ListenerPort | undefined): number | undefined {
  return standing === undefined || 'refused' in standing ? undefined : standing.port;
}

/** The frontends with an endpoint at one of these ports. Mostly there is none, which the pools alone tell. */
function leadingTo(ports: ReadonlySet<number>, graph: RuleGraph): readonly FrontendId[] {
  if (ports.size === 0) return [];
  const pools = new Set<PoolId>();
  for (const [id, { endpoints }] of graph.pools)
    if (endpoints.some(({ port }) => ports.has(port))) pools.add(id);
  if (pools.size === 0) return [];
  return Array.from(graph.frontends.values()).flatMap(({ id, branches }) =>
    branches.some(({ to }) => to.kind === 'pool' && pools.has(to.pool)) ? id : [],
  );
}
