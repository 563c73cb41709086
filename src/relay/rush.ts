/** Clients of one thread: that they come is a twentieth of its time by then. */
const rushClients = 500;
const withinMs = 1000;

/**
 * Notices, once, that clients come in numbers: so many of one thread within a second. Costs an addition a client, and nothing
 * where nobody comes.
 */
export class Rush {
  readonly #now: () => number;
  readonly #noticed: () => void;
  #since: number;
  #clients = 0;
  #isOver = false;

  /** `now`: milliseconds of a clock that is never set back. */
  constructor(now: () => number, noticed: () => void) {
    this.#now = now;
    this.#noticed = noticed;
    this.#since = now();
  }

  clientCame(): void {
    if (this.#isOver || ++this.#clients < rushClients) return;
    const now = this.#now();
    this.#isOver = now - this.#since <= withinMs;
    if (this.#isOver) this.#noticed();
    this.#since = now;
    this.#clients = 0;
  }
}
