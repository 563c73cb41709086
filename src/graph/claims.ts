import { compareBytes } from './order.ts';
import type { Origin } from './rule-graph.ts';

/** Somebody who wants an address (or a port), and since when. */
export interface Claimant {
  readonly origin: Origin;
  /** 0 where unknown. */
  readonly createdAtMs: number;
}

/**
 * Who wants what, and who gets it: the older Service, then the smaller name. A Service of unknown
 * age comes last, so that nobody takes an address by leaving its age out. The order never depends
 * on who came first, hence a restart decides as before.
 */
export class Claims<Id extends string | number, C extends Claimant> {
  /** A claim nobody contests is kept bare: 30,000 services need no array each. */
  readonly #claims = new Map<Id, C | C[]>();
  readonly #contested = new Set<Id>();

  add(id: Id, claimant: C): void {
    const held = this.#claims.get(id);
    if (held === undefined) {
      this.#claims.set(id, claimant);
      return;
    }
    const all = Array.isArray(held) ? held : [held];
    all.push(claimant);
    all.sort(compareClaimants);
    this.#claims.set(id, all);
    this.#contested.add(id);
  }

  remove(id: Id, claimant: C): void {
    const held = this.#claims.get(id);
    if (held === claimant) this.#claims.delete(id);
    if (!Array.isArray(held)) return;
    const rest = held.filter((other) => other !== claimant);
    const [first] = rest;
    if (rest.length !== 1 || first === undefined) {
      this.#claims.set(id, rest);
      return;
    }
    this.#claims.set(id, first);
    this.#contested.delete(id);
  }

  winner(id: Id): C | undefined {
    const held = this.#claims.get(id);
    return Array.isArray(held) ? held[0] : held;
  }

  /** Ids that more than one wants, with all claimants, the winner first; in no order. */
  *contested(): Generator<readonly [Id, readonly C[]]> {
    for (const id of this.#contested) {
      const held = this.#claims.get(id);
      if (Array.isArray(held)) yield [id, held];
    }
  }

  clear(): void {
    this.#claims.clear();
    this.#contested.clear();
  }
}

function compareClaimants(a: Claimant, b: Claimant): number {
  const age = (claimant: Claimant): number => claimant.createdAtMs || Number.MAX_SAFE_INTEGER;
  return (
    age(a) - age(b) ||
    compareBytes(a.origin.service, b.origin.service) ||
    compareBytes(a.origin.servicePort, b.origin.servicePort)
  );
}
