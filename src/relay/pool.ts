import { hostPort } from '../ip/address.ts';
import type { Address } from '../ip/address.ts';
import type { PoolOrder, RouteOrder } from './messages.ts';
import type { RelayEndpoint } from './relay.ts';
import { Rotation } from './rotation.ts';
import { sourceTest } from './sources.ts';
import type { SourceTest } from './sources.ts';

/** An endpoint, and its name: `ip:port`. */
export interface Target {
  readonly name: string;
  readonly endpoint: RelayEndpoint;
}

/** A pool as a worker uses it. */
export interface Pool {
  readonly targets: readonly Target[];
  readonly rotation: Rotation;
  /** The number of the next turn, which nobody else gets. */
  readonly takeTurn: () => number;
  readonly affinityMs: number | undefined;
  readonly udpIdleMs: number;
  readonly drainMs: number;
  readonly proxyProtocol: boolean;
}

/** Who gets which pool. */
export class RouteTable {
  readonly #routes: readonly { readonly fits: SourceTest; readonly pool: Pool | undefined }[];
  /** Nobody's address is asked for where everybody gets the same. */
  readonly sameForAll: boolean;
  readonly sticks: boolean;
  readonly speaksProxy: boolean;
  /** By the names of endpoints, how long connections to one that leaves may last. */
  readonly drainMs: ReadonlyMap<string, number>;

  constructor(orders: readonly RouteOrder[], turnsOf: (slot: number) => Int32Array) {
    this.#routes = orders.map(({ sources, pool }) => ({
      fits: sourceTest(sources),
      pool: pool && readyPool(pool, turnsOf(pool.turns)),
    }));
    const pools = this.#routes.flatMap(({ pool }) => pool ?? []);
    this.sameForAll = orders.length === 0 || orders[0]?.sources === undefined;
    this.sticks = pools.some(({ affinityMs }) => affinityMs !== undefined);
    this.speaksProxy = pools.some(({ proxyProtocol }) => proxyProtocol);
    this.drainMs = new Map(
      pools.flatMap(({ targets, drainMs }) => targets.map(({ name }) => [name, drainMs])),
    );
  }

  /** The pool for a client; undefined: refused. The address may be left out where all get the same. */
  poolFor(client: Address | undefined): Pool | undefined {
    const route = this.#routes.find(
      ({ fits }) => this.sameForAll || (client !== undefined && fits(client)),
    );
    return route?.pool;
  }
}

function readyPool(order: PoolOrder, turns: Int32Array): Pool {
  const { endpoints, affinitySeconds, udpIdleMs, drainSeconds, proxyProtocol } = order;
  return {
    targets: endpoints.map((endpoint) => ({
      name: hostPort(endpoint.address, endpoint.port),
      endpoint,
    })),
    rotation: new Rotation(endpoints),
    takeTurn: () => Atomics.add(turns, 0, 1),
    affinityMs: affinitySeconds === undefined ? undefined : affinitySeconds * 1000,
    udpIdleMs,
    drainMs: drainSeconds * 1000,
    proxyProtocol,
  };
}
