import type { Clock } from '../../../clock.ts';

interface Entry<T> {
  readonly value: T;
  readonly untilMs: number;
}

/** What is looked up, and for how long it holds; `last`: what was the answer, if it was kept, and holds no more. */
type Look<T> = (last: T | undefined) => Promise<{ readonly value: T; readonly ttlMs: number }>;

/** Of each kind. */
const maxEntries = 1_000;

/**
 * Answers that hold for a time; those who ask for the same at once share one look-up. A look-up that fails is not kept. A no (undefined or
 * false) is kept apart: strangers may ask with ever new tokens, and must not crowd out those that are good.
 */
export class ExpiringCache<T> {
  readonly #clock: Clock;
  readonly #pending = new Map<string, Promise<T>>();
  readonly #yes = new Map<string, Entry<T>>();
  readonly #no = new Map<string, Entry<T>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async get(key: string, look: Look<T>): Promise<T> {
    const kept = this.#yes.get(key) ?? this.#no.get(key);
    if (kept !== undefined && kept.untilMs > this.#clock.monotonic()) return kept.value;
    const pending = this.#pending.get(key) ?? this.#look(key, look);
    this.#pending.set(key, pending);
    return pending;
  }

  async #look(key: string, look: Look<T>): Promise<T> {
    try {
      const { value, ttlMs } = await look(this.#yes.get(key)?.value ?? this.#no.get(key)?.value);
      this.#keep(key, { value, untilMs: this.#clock.monotonic() + ttlMs });
      return value;
    } finally {
      this.#pending.delete(key);
    }
  }

  #keep(key: string, entry: Entry<T>): void {
    this.#yes.delete(key);
    this.#no.delete(key);
    const isNo = entry.value === undefined || entry.value === false;
    const entries = isNo ? this.#no : this.#yes;
    entries.set(key, entry);
    const oldest = entries.keys().next();
    if (entries.size > maxEntries && oldest.done !== true) entries.delete(oldest.value);
  }
}
