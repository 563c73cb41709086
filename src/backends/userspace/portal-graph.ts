import { isDeepStrictEqual } from 'node:util';
import type { NodeContext } from '../../graph/node-context.ts';
import type {
  Branch,
  Frontend,
  FrontendId,
  GraphDelta,
  Pool,
  PoolId,
  PoolTarget,
  RuleGraph,
  Verdict,
} from '../../graph/rule-graph.ts';
import { familyLabel, hostPort } from '../../ip/address.ts';
import type { Address } from '../../ip/address.ts';
import type { ListenerKey } from '../../relay/relay.ts';
import { KeyedTable } from '../keyed-table.ts';
import { listenerKey, noSctp, relayProtocol } from './listeners.ts';
import type { ListenerPort, ListenerPorts, RefusedListener } from './state.ts';

/** A graph and what of it changed. */
export interface GraphVersion {
  readonly graph: RuleGraph;
  readonly delta: GraphDelta;
}

/** A frontend with its listeners in the place of its pools. */
interface Portal {
  readonly frontend: Frontend;
  readonly pools: readonly Pool[];
  /** Those it would lead to. */
  readonly keys: readonly ListenerKey[];
  readonly refused: readonly RefusedListener[];
}

const nothing: Omit<Portal, 'frontend'> = { keys: [], pools: [], refused: [] };

/**
 * Makes portal graphs of rule graphs, one after the other: each pool is replaced by one endpoint, the listener that
 * stands for it. Sources are kept and nobody sticks to anything, for both is the listener's matter; what has no listener
 * is refused. Where endpoints alone change, the delta is empty. The graph is a live view, as its compiler's is.
 */
export class PortalGraphs {
  readonly #portals = new Map<FrontendId, Portal>();
  readonly #frontends = new Map<FrontendId, Frontend>();
  readonly #pools = new Map<PoolId, Pool>();
  readonly #poolUses = new Map<PoolId, number>();
  /** Pools that the present call laid hands on, and whether they were there before it. */
  readonly #touched = new Map<PoolId, boolean>();
  /** Which frontends lead to a listener. */
  readonly #users = new Map<ListenerKey, Set<FrontendId>>();
  /** By frontend, where something of it is refused: mostly nothing is. */
  readonly #refused = new Map<FrontendId, readonly RefusedListener[]>();
  #ports: ListenerPorts = new KeyedTable();

  /** The portal graph; `delta` says what changed since the graph of the last call. */
  lower(graph: RuleGraph, delta: GraphDelta, ports: ListenerPorts): GraphVersion {
    const moved = Array.from(ports.changesFrom(this.#ports), ([key]) => key);
    this.#ports = ports;
    const ids = delta.everything
      ? new Set([...this.#portals.keys(), ...graph.frontends.keys()])
      : new Set([...delta.frontends, ...moved.flatMap((key) => [...(this.#users.get(key) ?? [])])]);
    this.#touched.clear();
    const frontends = new Set([...ids].filter((id) => this.#replace(id, graph)));
    const pools = new Set<PoolId>();
    for (const [id, wasThere] of this.#touched) if (this.#pools.has(id) !== wasThere) pools.add(id);
    const { everything } = delta;
    return { graph: this.#view(graph), delta: { everything, frontends, pools } };
  }

  /** What is refused, each listener once; sorted by key. */
  refused(): readonly RefusedListener[] {
    const all = new Map<ListenerKey, RefusedListener>();
    for (const refused of this.#refused.values())
      for (const each of refused) all.set(each.key, each);
    return [...all.values()].toSorted((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Whether the frontend reads otherwise now. */
  #replace(id: FrontendId, graph: RuleGraph): boolean {
    const frontend = graph.frontends.get(id);
    const before = this.#portals.get(id);
    const after = frontend && portalOf(frontend, graph.node, this.#ports);
    const [old, now] = [before ?? nothing, after ?? nothing];
    for (const key of old.keys) this.#unuse(key, id);
    for (const key of now.keys) this.#use(key, id);
    if (now.refused.length > 0) this.#refused.set(id, now.refused);
    else this.#refused.delete(id);
    if (before && after && isDeepStrictEqual(before.frontend, after.frontend)) {
      // what the lowering knows keeps its identity
      this.#portals.set(id, { ...after, frontend: before.frontend });
      return false;
    }
    for (const pool of now.pools) this.#usePool(pool);
    for (const pool of old.pools) this.#releasePool(pool.id);
    this.#put(id, after);
    return before !== after;
  }

  #put(id: FrontendId, portal: Portal | undefined): void {
    if (portal) {
      this.#portals.set(id, portal);
      this.#frontends.set(id, portal.frontend);
    } else {
      this.#portals.delete(id);
      this.#frontends.delete(id);
    }
  }

  #use(key: ListenerKey, id: FrontendId): void {
    const users = this.#users.get(key);
    if (users) users.add(id);
    else this.#users.set(key, new Set([id]));
  }

  #unuse(key: ListenerKey, id: FrontendId): void {
    const users = this.#users.get(key);
    users?.delete(id);
    if (users?.size === 0) this.#users.delete(key);
  }

  #usePool(pool: Pool): void {
    this.#touch(pool.id);
    this.#poolUses.set(pool.id, (this.#poolUses.get(pool.id) ?? 0) + 1);
    this.#pools.set(pool.id, pool);
  }

  #touch(id: PoolId): void {
    if (!this.#touched.has(id)) this.#touched.set(id, this.#pools.has(id));
  }

  #releasePool(id: PoolId): void {
    this.#touch(id);
    const uses = (this.#poolUses.get(id) ?? 0) - 1;
    if (uses > 0) {
      this.#poolUses.set(id, uses);
      return;
    }
    this.#poolUses.delete(id);
    this.#pools.delete(id);
  }

  #view(graph: RuleGraph): RuleGraph {
    const { family, node, healthCheckPorts } = graph;
    return {
      family,
      // nothing is masqueraded, so no mark is hoisted
      node: { ...node, masqueradeAll: false, serviceCidrs: [] },
      frontends: this.#frontends,
      pools: this.#pools,
      healthCheckPorts,
      get conflicts() {
        return graph.conflicts;
      },
    };
  }
}

function portalOf(frontend: Frontend, node: NodeContext, ports: ListenerPorts): Portal {
  const { origin } = frontend;
  const pools = new Map<PoolId, Pool>();
  const keys = new Set<ListenerKey>();
  const refused: RefusedListener[] = [];
  const target = (to: PoolTarget): PoolTarget | Verdict => {
    const key = listenerKey(origin, to, node.family);
    keys.add(key);
    const found = placeOf(frontend, node, ports.get(key));
    if ('refused' in found) {
      refused.push({ key, origin, reason: found.refused });
      return { kind: 'reject', reason: `no listener (${found.refused})` };
    }
    const { address, port } = found;
    const id = `${key} ${hostPort(address, port)}` as PoolId;
    pools.set(id, { id, endpoints: [{ address, port, weight: 1 }], affinity: undefined });
    return { kind: 'pool', pool: id, list: to.list, masquerade: false };
  };
  // Why a branch is there is told by the graph itself, and depends on endpoints.
  const branches = frontend.branches.map(({ from, to }): Branch => ({
    from,
    to: to.kind === 'pool' ? target(to) : to,
    reason: '',
  }));
  return {
    frontend: guarded({ ...frontend, branches: withoutTwins(branches) }),
    pools: [...pools.values()],
    keys: [...keys],
    refused,
  };
}

/**
 * A guard is for what somebody gets: where nobody gets anything, all are refused, as where a service has no endpoints. Else
 * what it lets in and no portal takes is dropped with what it keeps out, so that a refusal would never be seen.
 */
function guarded(frontend: Frontend): Frontend {
  const { guard, branches } = frontend;
  if (guard === undefined) return frontend;
  if (!branches.some(({ to }) => to.kind === 'pool')) return { ...frontend, guard: undefined };
  const dropping = branches.map((branch): Branch => {
    const { to } = branch;
    return to.kind === 'reject' ? { ...branch, to: { ...to, kind: 'drop' } } : branch;
  });
  return { ...frontend, branches: dropping };
}

/** Branches that differed in masquerade alone are one: whoever ends where those after them do needs no branch of its own. */
function withoutTwins(branches: readonly Branch[]): readonly Branch[] {
  const last = branches.at(-1);
  const others = branches.findLastIndex(({ to }) => !isDeepStrictEqual(to, last?.to));
  return last === undefined ? branches : [...branches.slice(0, others + 1), last];
}

/** Where a listener of a frontend stands, or why nowhere. */
function placeOf(
  { protocol }: Frontend,
  { nodeAddress, family }: NodeContext,
  port: ListenerPort | undefined,
): { readonly address: Address; readonly port: number } | { readonly refused: string } {
  if (relayProtocol(protocol) === undefined) return { refused: noSctp };
  if (nodeAddress === undefined)
    return { refused: `this node has no ${familyLabel(family)} address to listen at` };
  if (port === undefined) return { refused: 'it has no port yet' };
  return 'refused' in port ? port : { address: nodeAddress, port: port.port };
}
