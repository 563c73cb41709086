import { compareBytes } from './order.ts';
import type { Conflict, Origin } from './rule-graph.ts';

/** Somebody who wants an address (or a port), and since when. */
export interface Claimant {
  readonly origin: Origin;
  /** 0 where unknown. */
  readonly createdAtMs: number;
}

/** A claimant and how good its title is: a lower rank comes before age. */
export interface Title {
  readonly claimant: Claimant;
  readonly rank: number;
}

/**
 * Who wants what, and who gets it: the better title, then the older Service, then the smaller name. A
 * Service of unknown age comes last, so that nobody takes an address by leaving its age out. The
 * order never depends on who came first, hence a restart decides as before.
 */
export class Claims<Id extends string | number, C extends Claimant> {
  readonly #rank: (id: Id, claimant: C) => number;
  /** A claim nobody contests is kept bare: 30,000 services need no array each. */
  readonly #claims = new Map<Id, C | C[]>();
  readonly #contested = new Set<Id>();

  constructor(rank: (id: Id, claimant: C) => number = () => 0) {
    this.#rank = rank;
  }

  add(id: Id, claimant: C): void {
    const held = this.#claims.get(id);
    if (held === undefined) {
      this.#claims.set(id, claimant);
      return;
    }
    const all = Array.isArray(held) ? held : [held];
    all.push(claimant);
    all.sort((a, b) => compareTitles(this.#title(id, a), this.#title(id, b)));
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

  /** The winner's title. */
  title(id: Id): (Title & { readonly claimant: C }) | undefined {
    const winner = this.winner(id);
    return winner === undefined ? undefined : this.#title(id, winner);
  }

  /** Ids that more than one wants, with the titles of all, the winner's first; in no order. */
  *contested(): Generator<readonly [Id, readonly Title[]]> {
    for (const id of this.#contested) {
      const held = this.#claims.get(id);
      if (Array.isArray(held)) yield [id, held.map((claimant) => this.#title(id, claimant))];
    }
  }

  #title(id: Id, claimant: C): Title & { readonly claimant: C } {
    return { claimant, rank: this.#rank(id, claimant) };
  }
}

/** Negative where `a` comes before `b`. */
export function compareTitles(a: Title, b: Title): number {
  const [first, second] = [a.claimant.origin, b.claimant.origin];
  return (
    a.rank - b.rank ||
    ageOf(a) - ageOf(b) ||
    compareBytes(first.service, second.service) ||
    compareBytes(first.servicePort, second.servicePort)
  );
}

/** The conflict between a winner and a loser, with what decided it. */
export function conflictOf(claimed: Conflict['claimed'], winner: Title, loser: Title): Conflict {
  return {
    claimed,
    winner: winner.claimant.origin,
    loser: loser.claimant.origin,
    reason: decisionText(winner, loser),
  };
}

/** `default/b:http wants 203.0.113.9/TCP/80, which default/a:http holds: its Service is older` */
export function conflictText({ claimed, winner, loser, reason }: Conflict): string {
  return `${loser.name} wants ${claimed}, which ${winner.name} holds: ${reason}`;
}

function decisionText(winner: Title, loser: Title): string {
  if (winner.rank !== loser.rank) return 'a cluster IP comes before other addresses';
  const [won, lost] = [winner.claimant.createdAtMs, loser.claimant.createdAtMs];
  if (won === lost) {
    const age = won === 0 ? 'the age of both is unknown' : 'both are of the same age';
    return `${age}, and its name comes first`;
  }
  return lost === 0 ? 'the age of the other Service is unknown' : 'its Service is older';
}

function ageOf({ claimant }: Title): number {
  return claimant.createdAtMs || Number.MAX_SAFE_INTEGER;
}
