const firstMs = 5_000;
const longestMs = 5 * 60_000;

/** Growing waits between requests that came to nothing, 5 s to 5 min, give or take a quarter: each is an object that somebody has to look at. */
export class RequestWait {
  readonly #random: () => number;
  #failures = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  nextMs(): number {
    const ms = Math.min(longestMs, firstMs * 2 ** this.#failures++);
    return Math.round(ms * (0.75 + this.#random() / 2));
  }

  reset(): void {
    this.#failures = 0;
  }
}
