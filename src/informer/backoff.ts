/** First delay of a fresh {@link Backoff}, before jitter. */
const FIRST_MS = 800;
/** No delay is longer, jitter included. */
const LONGEST_MS = 30_000;

/**
 * Growing, jittered delays between tries: the n-th lies in the upper half of 0.8 s · 2ⁿ, never below
 * 0.8 s and never above 30 s. Jitter keeps the nodes of a cluster from returning to a restarted API
 * server in one wave. `random` gives numbers in [0, 1).
 */
export class Backoff {
  readonly #random: () => number;
  #failures = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** The delay before the next try. */
  nextMs(): number {
    const ceilingMs = Math.min(LONGEST_MS, FIRST_MS * 2 ** (this.#failures + 1));
    this.#failures = Math.min(this.#failures + 1, 10);
    const floorMs = Math.max(FIRST_MS, ceilingMs / 2);
    return Math.round(floorMs + this.#random() * (ceilingMs - floorMs));
  }

  /** After health: the next delay is the first one again. */
  reset(): void {
    this.#failures = 0;
  }
}
