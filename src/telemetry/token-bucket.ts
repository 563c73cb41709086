import type { Clock } from '../clock.ts';

export interface TokenBucketOptions {
  /** So many may go at once after a rest. */
  readonly burst: number;
  /** And then one in this time. */
  readonly everyMs: number;
}

/** Lets a burst through, and then one at a time. */
export class TokenBucket {
  readonly #options: TokenBucketOptions;
  readonly #clock: Clock;
  #tokens: number;
  #countedAtMs: number;

  constructor(options: TokenBucketOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.#tokens = options.burst;
    this.#countedAtMs = clock.monotonic();
  }

  /** Whether it has rested long enough to be as good as a new one. */
  get isFull(): boolean {
    return this.#count() >= this.#options.burst;
  }

  /** Until there is a token; 0 where there is one. */
  get waitMs(): number {
    return Math.max(0, Math.ceil((1 - this.#count()) * this.#options.everyMs));
  }

  /** Uses up a token. To be asked where {@link waitMs} is 0. */
  take(): void {
    this.#tokens = this.#count() - 1;
  }

  #count(): number {
    const { burst, everyMs } = this.#options;
    const nowMs = this.#clock.monotonic();
    this.#tokens = Math.min(burst, this.#tokens + (nowMs - this.#countedAtMs) / everyMs);
    this.#countedAtMs = nowMs;
    return this.#tokens;
  }
}
