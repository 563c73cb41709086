import type { Clock } from '../../../src/clock.ts';

interface Sleeper {
  readonly atMs: number;
  readonly wake: () => void;
}

/** Time that stands still until a test moves it. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #wallOffsetMs = 0;
  #sleepers: Sleeper[] = [];

  now(): number {
    return this.#nowMs + this.#wallOffsetMs;
  }

  monotonic(): number {
    return this.#nowMs;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true || ms <= 0) return;
    await new Promise<void>((resolve) => {
      const sleeper = { atMs: this.#nowMs + ms, wake: resolve };
      this.#sleepers.push(sleeper);
      const onAbort = (): void => {
        this.#sleepers = this.#sleepers.filter((each) => each !== sleeper);
        resolve();
      };
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** As an operator or a time server does: the date jumps, and no time has passed. */
  setDate(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** Time goes by while the process stands still; whatever waited wakes after it. */
  async standStill(ms: number): Promise<void> {
    await settle();
    this.#nowMs += ms;
    await this.advance(0);
  }

  /** Moves time on, stopping at each sleeper's moment so that what it wakes happens then. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settle();
    for (;;) {
      const next = this.#sleepers
        .filter(({ atMs }) => atMs <= endMs)
        .toSorted((a, b) => a.atMs - b.atMs)[0];
      if (!next) break;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      this.#sleepers = this.#sleepers.filter((each) => each !== next);
      next.wake();
      await settle();
    }
    this.#nowMs = endMs;
    await settle();
  }
}

/** Lets everything that is ready to run do so. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}
