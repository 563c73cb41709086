import type { Address } from '../ip/address.ts';
import type { Affinity } from './affinity.ts';
import type { Pool, RouteTable, Target } from './pool.ts';

/** A failed dial is followed by another until every endpoint was tried, and so often at least. */
const leastTries = 4;

/** An endpoint to try, and the pool it is of. */
export interface Chosen {
  readonly target: Target;
  readonly pool: Pool;
}

export interface ChoiceOptions {
  /** The routes as they are now: they may change between two tries. */
  readonly routes: () => RouteTable;
  readonly affinity: Affinity;
  /** May be left out where neither routes nor affinity ask for it. */
  readonly client: Address | undefined;
  /** Milliseconds of a clock that is never set back. */
  readonly now: () => number;
}

/** Chooses endpoints for one client: the one it stays with, then whose turn it is. */
export class Choice {
  readonly #options: ChoiceOptions;
  #tries = 0;
  #tried: Set<string> | undefined;

  constructor(options: ChoiceOptions) {
    this.#options = options;
  }

  /** How many endpoints were answered so far. */
  get tries(): number {
    return this.#tries;
  }

  /** The endpoint for the next try. Undefined: none is left, or the client is refused. */
  next(): Chosen | undefined {
    const pool = this.#options.routes().poolFor(this.#options.client);
    if (pool === undefined || this.#tries >= Math.max(leastTries, pool.targets.length))
      return undefined;
    const target = this.#stay(pool) ?? this.#turn(pool);
    if (target === undefined) return undefined;
    this.#tries++;
    return { target, pool };
  }

  /** This endpoint does not serve: the client does not stay with it, and others are tried before it. */
  failed({ name }: Target): void {
    const { client, affinity } = this.#options;
    if (client !== undefined) affinity.forget(client);
    (this.#tried ??= new Set()).add(name);
  }

  #stay({ targets, affinityMs }: Pool): Target | undefined {
    const { client, affinity, now } = this.#options;
    if (affinityMs === undefined || client === undefined) return undefined;
    const name = affinity.find(client, affinityMs, now());
    return name === undefined ? undefined : targets.find((target) => target.name === name);
  }

  #turn(pool: Pool): Target | undefined {
    const { targets, rotation, affinityMs } = pool;
    const turn = pool.takeTurn();
    const tried = this.#tried;
    const wasTried = (index: number): boolean => tried?.has(targets[index]?.name ?? '') === true;
    const target = targets[tried ? rotation.after(turn, wasTried) : rotation.at(turn)];
    const { client, affinity, now } = this.#options;
    if (target !== undefined && affinityMs !== undefined && client !== undefined) {
      affinity.pin(client, target.name, affinityMs, now());
    }
    return target;
  }
}
