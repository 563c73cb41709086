import type { Clock } from '../clock.ts';

/** What happens is worth a look when nothing more has happened for this long … */
const QUIET_MS = 50;
/** … and at the latest after this long. */
const LONGEST_UNREST_MS = 500;

/** A sleep that can be cut short: by its time, by {@link Wakeup.ring}, or by the signal of its owner. */
export class Wakeup {
  #rung = false;
  #sleep: AbortController | undefined;

  /** Ends the present wait; without one, the next wait ends at once. */
  ring(): void {
    this.#rung = true;
    this.#sleep?.abort();
  }

  /** Waits at most `ms`; says whether somebody rang. */
  async wait(clock: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
    const sleep = new AbortController();
    const stop = (): void => sleep.abort();
    signal.addEventListener('abort', stop, { once: true });
    if (this.#rung || signal.aborted) sleep.abort();
    this.#sleep = sleep;
    await clock.sleep(ms, sleep.signal);
    this.#sleep = undefined;
    signal.removeEventListener('abort', stop);
    const rung = this.#rung;
    this.#rung = false;
    return rung;
  }

  /** After a ring: waits until nobody has rung for a moment, but not for long. */
  async settle(clock: Clock, signal: AbortSignal): Promise<void> {
    const deadlineMs = clock.monotonic() + LONGEST_UNREST_MS;
    while (clock.monotonic() < deadlineMs && !signal.aborted) {
      if (!(await this.wait(clock, QUIET_MS, signal))) return;
    }
  }
}

/** Resolves when `signal` aborts. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
