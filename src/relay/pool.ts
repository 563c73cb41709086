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

/** A pool as a worker uses it. Of ten thousand most are never asked: what a connection needs is made when the first one comes. */
export class Pool {
  readonly #order: PoolOrder;
  readonly #turnsOf: (slot: number) => Int32Array;
  #targets: readonly Target[] | undefined;
  #rotation: Rotation | undefined;
  #turns: Int32Array | undefined;

  constructor(order: PoolOrder, turnsOf: (slot: number) => Int32Array) {
    this.#order = order;
    this.#turnsOf = turnsOf;
  }

  get targets(): readonly Target[] {
    return (this.#targets ??= this.#order.endpoints.map((endpoint) => ({
      name: hostPort(endpoint.address, endpoint.port),
      endpoint,
    })));
  }

  get rotation(): Rotation {
    return (this.#rotation ??= new Rotation(this.#order.endpoints));
  }

  /** The number of the next turn, which nobody else gets. */
  takeTurn(): number {
    return Atomics.add((this.#turns ??= this.#turnsOf(this.#order.turns)), 0, 1);
  }

  get affinityMs(): number | undefined {
    const { affinitySeconds } = this.#order;
    return affinitySeconds === undefined ? undefined : affinitySeconds * 1000;
  }

  get udpIdleMs(): number {
    return this.#order.udpIdleMs;
  }

  get drainMs(): number {
    return this.#order.drainSeconds * 1000;
  }

  get proxyProtocol(): boolean {
    return this.#order.proxyProtocol;
  }
}

/** Who gets which pool. */
export class RouteTable {
  readonly #routes: readonly { readonly fits: SourceTest; readonly pool: Pool | undefined }[];
  /** Nobody's address is asked for where everybody gets the same. */
  readonly sameForAll: boolean;
  readonly sticks: boolean;
  readonly speaksProxy: boolean;
  #drainMs: ReadonlyMap<string, number> | undefined;

  constructor(orders: readonly RouteOrder[], turnsOf: (slot: number) => Int32Array) {
    this.#routes = orders.map(({ sources, pool }) => ({
      fits: sourceTest(sources),
      pool: pool && new Pool(pool, turnsOf),
    }));
    const pools = this.#pools();
    this.sameForAll = orders.length === 0 || orders[0]?.sources === undefined;
    this.sticks = pools.some(({ affinityMs }) => affinityMs !== undefined);
    this.speaksProxy = pools.some(({ proxyProtocol }) => proxyProtocol);
  }

  /** By the names of endpoints, how long connections to one that leaves may last. */
  get drainMs(): ReadonlyMap<string, number> {
    return (this.#drainMs ??= new Map(
      this.#pools().flatMap(({ targets, drainMs }) => targets.map(({ name }) => [name, drainMs])),
    ));
  }

  /** Whether the endpoint of that pool is still there; mostly the pool is. */
  holds(pool: Pool, { name }: Target): boolean {
    return this.#pools().includes(pool) || this.drainMs.has(name);
  }

  /** The pool for a client; undefined: refused. The address may be left out where all get the same. */
  poolFor(client: Address | undefined): Pool | undefined {
    const route = this.#routes.find(
      ({ fits }) => this.sameForAll || (client !== undefined && fits(client)),
    );
    return route?.pool;
  }

  #pools(): readonly Pool[] {
    return this.#routes.flatMap(({ pool }) => pool ?? []);
  }
}
