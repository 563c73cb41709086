import { hostPort } from '../ip/address.ts';
import type { KeptEndpoint, ListenerOrder, PoolOrder, RouteOrder } from './messages.ts';
import type { Listener, RelayEndpoint, RelayPool } from './relay.ts';
import { shuffled } from './rotation.ts';
import type { SharedSlots } from './shared-slots.ts';

/** Which workers have a listener's socket. */
export type Placement = 'all' | number;

/** A listener as the relay remembers it. */
export interface Entry {
  readonly listener: Listener;
  readonly slot: number;
  readonly epoch: number;
  readonly placement: Placement;
  readonly isAdmitted: boolean;
  readonly routes: readonly RouteOrder[];
  /** Endpoints beside its own to which connections stay. */
  readonly kept: readonly KeptEndpoint[];
  /** Workers that know of it: where its sockets are, or connections may be left. */
  readonly known: ReadonlySet<number>;
}

/** Whether a listener has to be on one worker: there is one UDP socket, and whom a client stays with is known on one thread. */
export function standsAlone({ protocol, routes }: Listener): boolean {
  return (
    protocol === 'UDP' ||
    routes.some(({ to }) => to !== 'refuse' && to.affinitySeconds !== undefined)
  );
}

/** Whether both are the same socket. */
export function samePlace(a: Listener, b: Listener): boolean {
  return a.address === b.address && a.port === b.port && a.protocol === b.protocol;
}

/**
 * Routes with an order of turns. A pool whose members are those of the pool before it, in the same place of the list, keeps
 * their order; another is shuffled anew.
 */
export function orderedRoutes(
  { routes }: Listener,
  before: readonly RouteOrder[],
  turns: SharedSlots,
  random: () => number,
): readonly RouteOrder[] {
  return routes.map(({ sources, to }, index) => {
    if (to === 'refuse') return { sources, pool: undefined };
    return { sources, pool: orderedPool(to, before[index]?.pool, turns, random) };
  });
}

/** Gives back what routes have of the shared memory, but for what others have, too. */
export function releaseTurns(
  routes: readonly RouteOrder[],
  turns: SharedSlots,
  kept: readonly RouteOrder[] = [],
): void {
  const still = new Set(kept.map(({ pool }) => pool?.turns));
  for (const { pool } of routes) {
    if (pool !== undefined && !still.has(pool.turns)) turns.giveBack(pool.turns);
  }
}

function orderedPool(
  pool: RelayPool,
  before: PoolOrder | undefined,
  turns: SharedSlots,
  random: () => number,
): PoolOrder {
  const { affinitySeconds, udpIdleMs, drainSeconds, proxyProtocol } = pool;
  return {
    turns: before?.turns ?? turns.take(),
    endpoints: sameOrder(pool.endpoints, before) ?? shuffled(pool.endpoints, random),
    affinitySeconds,
    udpIdleMs,
    drainSeconds,
    proxyProtocol,
  };
}

/** The endpoints in the order of the pool before, if they are the same but for their weights. */
function sameOrder(
  endpoints: readonly RelayEndpoint[],
  before: PoolOrder | undefined,
): readonly RelayEndpoint[] | undefined {
  if (before?.endpoints.length !== endpoints.length) return undefined;
  const byName = new Map(endpoints.map((endpoint) => [nameOf(endpoint), endpoint]));
  const ordered = before.endpoints.flatMap((endpoint) => byName.get(nameOf(endpoint)) ?? []);
  return ordered.length === endpoints.length ? ordered : undefined;
}

function nameOf({ address, port }: RelayEndpoint): string {
  return hostPort(address, port);
}

/** What a worker is told of it. `first`: nobody has a socket there yet. */
export function orderOf(entry: Entry, worker: number, first: boolean): ListenerOrder {
  const { listener, slot, epoch, placement, isAdmitted, routes, kept } = entry;
  const { key, address, port, protocol, asked } = listener;
  return {
    key,
    address,
    port,
    protocol,
    asked,
    slot,
    epoch,
    routes,
    kept,
    first,
    bound: placement === 'all' || placement === worker,
    shared: placement === 'all',
    admitted: isAdmitted,
  };
}
