import { isDeepStrictEqual } from 'node:util';
import type {
  Frontend,
  FrontendId,
  GraphDelta,
  Origin,
  Pool,
  PoolId,
  PoolTarget,
  RuleGraph,
} from '../../graph/rule-graph.ts';
import { SwitchyardError } from '../../error.ts';
import type { Family } from '../../ip/address.ts';
import type { Listener, ListenerKey, RelayPool, RelayProtocol } from '../../relay/relay.ts';
import type { Protocol } from '../../services/service-port.ts';
import { KeyedTable } from '../keyed-table.ts';
import type { UserspaceOptions, WantedListener, WantedListeners } from './state.ts';

/** The listener that stands for a list of endpoints of a service port: `default/web:http/TCP cluster ipv4`. */
export function listenerKey(
  { servicePort }: Origin,
  { list }: Pick<PoolTarget, 'list'>,
  family: Family,
): ListenerKey {
  return `${servicePort} ${list} ${family}` as ListenerKey;
}

/** The protocol of a listener, by its key. */
export function protocolOf(key: ListenerKey): RelayProtocol {
  return /\/UDP \S+ \S+$/.test(key) ? 'UDP' : 'TCP';
}

/** Why there can be no listener for a protocol; undefined where there can. */
export const noSctp = 'SCTP has no sockets here';

/** The protocol as the relay speaks it; undefined where it does not. */
export function relayProtocol(protocol: Protocol): RelayProtocol | undefined {
  return protocol === 'SCTP' ? undefined : protocol;
}

/** A pool of the graph as the relay takes it. */
export function relayPool(
  pool: Pool,
  protocol: RelayProtocol,
  { udpTimeoutMs, drainSeconds }: Pick<UserspaceOptions, 'udpTimeoutMs' | 'drainSeconds'>,
): RelayPool {
  return {
    endpoints: pool.endpoints,
    affinitySeconds: pool.affinity?.timeoutSeconds,
    udpIdleMs: pool.udpTimeoutMs ?? udpTimeoutMs,
    drainSeconds: pool.drainSeconds ?? drainSeconds,
    // a datagram has no beginning of a connection
    proxyProtocol: protocol === 'TCP' && pool.proxyProtocol === true,
  };
}

/** The pool a target leads to. */
export function poolOfTarget({ pools }: RuleGraph, { pool: id }: PoolTarget): Pool {
  const pool = pools.get(id);
  if (pool) return pool;
  throw new SwitchyardError('internal', `pool ${id} is not in the graph`);
}

/** A listener some frontend leads to, and what it needs to be made. */
interface Need {
  readonly key: ListenerKey;
  readonly target: PoolTarget;
  readonly origin: Origin;
  readonly protocol: RelayProtocol;
  /** undefined: node ports, whose address is any of the node's. */
  readonly asked: Listener['asked'];
}

/** A listener that is there. */
interface Standing {
  /** What clients ask, by the frontends that lead to it. */
  readonly uses: Map<FrontendId, Listener['asked']>;
  pool: PoolId | undefined;
  asked: Listener['asked'];
}

/** Makes the listeners of rule graphs, one after the other: what did not change keeps its identity. */
export class ListenerLowering {
  readonly #options: UserspaceOptions;
  readonly #needs = new Map<FrontendId, readonly Need[]>();
  readonly #standing = new Map<ListenerKey, Standing>();
  #listeners: WantedListeners = new KeyedTable();

  constructor(options: UserspaceOptions) {
    this.#options = options;
  }

  /** The listeners of the graph; `delta` says what changed since the graph of the last call. */
  lower(graph: RuleGraph, delta: GraphDelta): WantedListeners {
    const ids = delta.everything
      ? new Set([...this.#needs.keys(), ...graph.frontends.keys()])
      : delta.frontends;
    const touched = new Map<ListenerKey, Need>();
    for (const id of ids) this.#replace(id, needsOf(graph.frontends.get(id), graph), touched);
    const changes = new Map<ListenerKey, WantedListener | undefined>();
    for (const [key, need] of touched) {
      const standing = this.#standing.get(key);
      if (standing === undefined || standing.uses.size === 0) {
        this.#standing.delete(key);
        changes.set(key, undefined);
        continue;
      }
      const asked = askedOf(standing, poolOfTarget(graph, need.target));
      if (standing.pool === need.target.pool && isDeepStrictEqual(standing.asked, asked)) continue;
      standing.pool = need.target.pool;
      standing.asked = asked;
      changes.set(key, this.#listener(need, asked, graph));
    }
    this.#listeners = this.#listeners.with(changes);
    return this.#listeners;
  }

  /** `touched` gets each listener's newest need; one that is gone has an old one, which nobody reads. */
  #replace(id: FrontendId, after: readonly Need[], touched: Map<ListenerKey, Need>): void {
    for (const need of this.#needs.get(id) ?? []) {
      this.#standing.get(need.key)?.uses.delete(id);
      if (!touched.has(need.key)) touched.set(need.key, need);
    }
    for (const need of after) {
      const standing = this.#standing.get(need.key) ?? newStanding();
      standing.uses.set(id, need.asked);
      this.#standing.set(need.key, standing);
      touched.set(need.key, need);
    }
    if (after.length === 0) this.#needs.delete(id);
    else this.#needs.set(id, after);
  }

  #listener(
    { key, target, origin, protocol }: Need,
    asked: Listener['asked'],
    graph: RuleGraph,
  ): WantedListener {
    const to = relayPool(poolOfTarget(graph, target), protocol, this.#options);
    const routes = [{ sources: undefined, to }];
    return { key, protocol, routes, origin, place: undefined, ...(asked && { asked }) };
  }
}

function newStanding(): Standing {
  return { uses: new Map(), pool: undefined, asked: undefined };
}

/** A PROXY header says what a client asked; behind a portal that is known where one frontend alone leads there. */
function askedOf({ uses }: Standing, { proxyProtocol }: Pool): Listener['asked'] {
  const [asked] = uses.values();
  return proxyProtocol && uses.size === 1 ? asked : undefined;
}

function needsOf(frontend: Frontend | undefined, { family }: RuleGraph): readonly Need[] {
  if (frontend === undefined) return [];
  const { origin, branches, address, port } = frontend;
  const asked = address === undefined ? undefined : { address, port };
  const protocol = relayProtocol(frontend.protocol);
  if (protocol === undefined) return [];
  const needs = new Map<ListenerKey, Need>();
  for (const { to } of branches) {
    if (to.kind !== 'pool') continue;
    const key = listenerKey(origin, to, family);
    needs.set(key, { key, target: to, origin, protocol, asked });
  }
  return [...needs.values()];
}
