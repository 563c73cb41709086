import type { Clock } from '../clock.ts';
import { errorText } from '../error.ts';
import type { Log } from '../telemetry/log.ts';

export interface SyncRunnerOptions {
  /** One sync. It may be told to give up by `signal`, long after the runner was asked to stop. */
  readonly sync: (signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
  /** From the END of a run to the START of the next. 0: the longer a run took, the longer the next one waits. */
  readonly minIntervalMs: number;
  /** A failed run is repeated no later than this after its end. */
  readonly retryIntervalMs: number;
  /** A run without any request, this long after the last success. */
  readonly maxIntervalMs: number;
  /** How long a running sync may go on after stop. */
  readonly stopGraceMs?: number;
}

/** First delay after a failure; doubled with each further one up to `retryIntervalMs`. */
const firstRetryMs = 1000;
/**
 * Where no least interval is set, a run rests so many times as long as it took, so that changes without end take a tenth
 * of the time at most, and are done many at once; but no longer than this.
 */
const rest = { times: 9, mostMs: 2000 } as const;
/** The longest timer Node takes. */
const longestSleepMs = 2 ** 31 - 1;

/**
 * Decides when a sync runs. Any number of requests between two runs makes one run; the first
 * after a quiet time runs at once. Nothing runs before the first request.
 */
export class SyncRunner {
  readonly #options: SyncRunnerOptions;
  #requested = false;
  /** No run starts before. */
  #earliestMs = 0;
  /** A run starts then even without a request. */
  #deadlineMs = Number.POSITIVE_INFINITY;
  #failures = 0;
  #wake = new AbortController();

  constructor(options: SyncRunnerOptions) {
    this.#options = options;
  }

  /** Asks for a run; returns at once. */
  request(): void {
    this.#requested = true;
    this.#wake.abort();
  }

  /** Runs syncs until `signal` aborts; resolves when the last one has ended. */
  async run(signal: AbortSignal): Promise<void> {
    const abandon = new AbortController();
    const done = new AbortController();
    const onStop = (): void => {
      this.#wake.abort();
      void this.#abandonLater(abandon, done.signal);
    };
    signal.addEventListener('abort', onStop, { once: true });
    while (await this.#due(signal)) {
      this.#requested = false;
      await this.#runOnce(abandon.signal);
    }
    done.abort();
    signal.removeEventListener('abort', onStop);
  }

  /** Waits for the next run; false when it is time to stop. */
  async #due(signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      const startMs = this.#requested ? this.#earliestMs : this.#deadlineMs;
      const waitMs = startMs - clock.monotonic();
      if (waitMs <= 0) return true;
      this.#wake = new AbortController();
      await clock.sleep(Math.min(waitMs, longestSleepMs), this.#wake.signal);
    }
    return false;
  }

  async #runOnce(abandoned: AbortSignal): Promise<void> {
    const { sync, clock, log, minIntervalMs, retryIntervalMs, maxIntervalMs } = this.#options;
    let delayMs = maxIntervalMs;
    const beginMs = clock.monotonic();
    try {
      await sync(abandoned);
      this.#failures = 0;
    } catch (error) {
      delayMs = Math.min(retryIntervalMs, firstRetryMs * 2 ** Math.min(this.#failures, 20));
      this.#failures++;
      log.error({ err: error, retryInMs: delayMs }, `sync failed: ${errorText(error)}`);
    }
    const endMs = clock.monotonic();
    const restMs = Math.min(rest.mostMs, rest.times * (endMs - beginMs));
    this.#earliestMs = endMs + (minIntervalMs || restMs);
    this.#deadlineMs = endMs + delayMs;
  }

  async #abandonLater(abandon: AbortController, done: AbortSignal): Promise<void> {
    await this.#options.clock.sleep(this.#options.stopGraceMs ?? 10_000, done);
    if (!done.aborted) abandon.abort();
  }
}
