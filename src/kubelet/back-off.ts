import type { Clock } from '../clock.ts';

/** How long one is waited for; all milliseconds. */
interface Entry {
  readonly delayMs: number;
  readonly updatedMs: number;
}

/**
 * Delays that double with each failure of the same key (Kubernetes: Pod Lifecycle; Images): none before the first retry, then 10, 20, 40 …
 * up to 300 s. A key whose last failure is more than twice the longest delay after its last entry begins anew.
 */
export class BackOff {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #firstMs: number;
  readonly #longestMs: number;
  readonly #entries = new Map<string, Entry>();

  constructor(
    clock: Pick<Clock, 'now'>,
    { firstMs = 10_000, longestMs = 300_000 }: { firstMs?: number; longestMs?: number } = {},
  ) {
    this.#clock = clock;
    this.#firstMs = Math.min(firstMs, longestMs);
    this.#longestMs = longestMs;
  }

  /** Until when a key that failed at `sinceMs` waits, and for how long in all; undefined: it need not. */
  waits(
    key: string,
    sinceMs: number,
  ): { readonly untilMs: number; readonly delayMs: number } | undefined {
    const entry = this.#live(key, sinceMs);
    if (entry === undefined) return undefined;
    const untilMs = sinceMs + entry.delayMs;
    return this.#clock.now() < untilMs ? { untilMs, delayMs: entry.delayMs } : undefined;
  }

  /** A new try begins, or one failed: the next delay is twice as long. */
  next(key: string, sinceMs: number): void {
    const before = this.#live(key, sinceMs);
    const delayMs =
      before === undefined ? this.#firstMs : Math.min(before.delayMs * 2, this.#longestMs);
    this.#entries.set(key, { delayMs, updatedMs: this.#clock.now() });
  }

  /** Forgets the keys that begin so: a pod's. */
  forget(prefix: string): void {
    for (const key of this.#entries.keys()) {
      if (key.startsWith(prefix)) this.#entries.delete(key);
    }
  }

  #live(key: string, sinceMs: number): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || sinceMs - entry.updatedMs > 2 * this.#longestMs) return undefined;
    return entry;
  }
}
