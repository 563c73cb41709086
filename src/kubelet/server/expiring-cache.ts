import type { Clock } from '../../clock.ts';

interface Entry<T> {
  readonly value: Promise<T>;
  untilMs: number;
}

/** Strangers may ask with ever new tokens. */
const maxEntries = 1_000;

/** Answers that hold for a time; those who ask for the same at once share one look-up. A look-up that fails is not kept. */
export class ExpiringCache<T> {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry<T>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async get(
    key: string,
    look: () => Promise<{ readonly value: T; readonly ttlMs: number }>,
  ): Promise<T> {
    const nowMs = this.#clock.monotonic();
    const kept = this.#entries.get(key);
    if (kept !== undefined && kept.untilMs > nowMs) return kept.value;
    this.#entries.delete(key);
    const entry: Entry<T> = { value: this.#look(key, look), untilMs: Infinity };
    this.#entries.set(key, entry);
    const oldest = this.#entries.keys().next();
    if (this.#entries.size > maxEntries && oldest.done !== true) this.#entries.delete(oldest.value);
    return entry.value;
  }

  async #look(
    key: string,
    look: () => Promise<{ readonly value: T; readonly ttlMs: number }>,
  ): Promise<T> {
    try {
      const { value, ttlMs } = await look();
      const entry = this.#entries.get(key);
      if (entry !== undefined) entry.untilMs = this.#clock.monotonic() + ttlMs;
      return value;
    } catch (error) {
      this.#entries.delete(key);
      throw error;
    }
  }
}
