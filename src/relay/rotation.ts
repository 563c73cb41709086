/** Equal turns are worth so many entries at most: beyond it, weights are rounded to a 16,384th of all. */
const longestRound = 16_384;

/** Anything that takes turns by its weight. */
interface Weighted {
  readonly weight: number;
}

/**
 * Who has which turn: smooth weighted round robin, as a function of the turn's number, so that workers who share a
 * counter and know the same members in the same order agree without talking. A round holds each member exactly by its weight.
 */
export class Rotation {
  readonly #members: readonly Weighted[];
  readonly #equal: boolean;
  #round: Uint16Array | undefined;

  constructor(members: readonly Weighted[]) {
    this.#members = members;
    this.#equal = members.every(({ weight }) => weight === members[0]?.weight);
  }

  /** The index of the member whose turn it is: any 32-bit number counts on from the one before. */
  at(turn: number): number {
    const round = this.#equal ? undefined : (this.#round ??= smoothRound(this.#members));
    const number = turn >>> 0;
    if (round === undefined) return number % this.#members.length;
    return round[number % round.length] ?? 0;
  }

  /**
   * The index for the next try of somebody who has tried some: the one whose turn it is, or the next after it that was
   * not tried yet. When all were, the turn counts alone. Asks of no more than it has to: a client may try thousands.
   */
  after(turn: number, wasTried: (index: number) => boolean): number {
    const first = this.at(turn);
    const { length } = this.#members;
    for (let step = 0; step < length; step++) {
      const index = (first + step) % length;
      if (!wasTried(index)) return index;
    }
    return first;
  }
}

/** The same members in another order, each order as likely as any other. `random` answers in [0, 1). */
export function shuffled<T>(members: readonly T[], random: () => number): readonly T[] {
  const list = [...members];
  for (let left = list.length; left > 1; left--) {
    const chosen = Math.floor(random() * left);
    const last = list[left - 1] as T;
    list[left - 1] = list[chosen] as T;
    list[chosen] = last;
  }
  return list;
}

/** Each step everybody gains their weight, and the richest pays all of it for the turn. */
function smoothRound(members: readonly Weighted[]): Uint16Array {
  const weights = roundedWeights(members.map(({ weight }) => weight));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const credit = new Float64Array(weights.length);
  const round = new Uint16Array(total);
  for (let turn = 0; turn < total; turn++) {
    let richest = 0;
    for (let i = 0; i < weights.length; i++) {
      credit[i] = (credit[i] ?? 0) + (weights[i] ?? 0);
      if ((credit[i] ?? 0) > (credit[richest] ?? 0)) richest = i;
    }
    credit[richest] = (credit[richest] ?? 0) - total;
    round[turn] = richest;
  }
  return round;
}

function roundedWeights(weights: readonly number[]): readonly number[] {
  const divisor = weights.reduce(greatestCommonDivisor, 0);
  const least = weights.map((weight) => weight / divisor);
  const total = least.reduce((sum, weight) => sum + weight, 0);
  if (total <= longestRound) return least;
  return least.map((weight) => Math.max(1, Math.round((weight * longestRound) / total)));
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
