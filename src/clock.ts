import { setTimeout as delay } from 'node:timers/promises';

/** Time behind a port, so that tests drive it. All values are milliseconds. */
export interface Clock {
  /** Milliseconds since the epoch: for dates. Somebody may set it back. */
  now(): number;
  /** Milliseconds since some moment, never set back: for how long something takes or is waited for. */
  monotonic(): number;
  /** Resolves after `ms`, or at once when `signal` aborts (it never rejects). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Node's timers fire at once when asked for more. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  async sleep(ms, signal) {
    try {
      await delay(Math.min(ms, LONGEST_TIMER_MS), undefined, signal ? { signal } : {});
    } catch {
      // aborted: the caller looks at its signal
    }
  },
};
