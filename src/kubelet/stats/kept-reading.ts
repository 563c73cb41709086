import type { Clock } from '../../clock.ts';

/** A reading that costs something: those who ask within some seconds, or at once, share one. One that fails is not kept. */
export class KeptReading<T> {
  readonly #clock: Clock;
  readonly #read: () => Promise<T>;
  readonly #forMs: number;
  #kept: Promise<T> | undefined;
  #untilMs = Infinity;

  constructor(clock: Clock, read: () => Promise<T>, forMs = keptForMs) {
    this.#clock = clock;
    this.#read = read;
    this.#forMs = forMs;
  }

  async get(): Promise<T> {
    if (this.#kept !== undefined && this.#clock.monotonic() < this.#untilMs) return this.#kept;
    this.#untilMs = Infinity;
    const reading = this.#timed();
    this.#kept = reading;
    return reading;
  }

  async #timed(): Promise<T> {
    try {
      const value = await this.#read();
      this.#untilMs = this.#clock.monotonic() + this.#forMs;
      return value;
    } catch (error) {
      this.#kept = undefined;
      throw error;
    }
  }
}

/** Less than the 15 s at which metrics are read by default: each reader sees something new. */
const keptForMs = 10_000;
