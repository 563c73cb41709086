import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Drains } from './drains.ts';

export interface DrainWatchParts {
  readonly drains: Pick<Drains, 'isIdle' | 'untilDeadlineMs'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the watch. */
  readonly lifetime: AbortSignal;
  /** Removes what has no connection left, or whose time is over. */
  readonly remove: () => Promise<void>;
}

/** What drains is looked at so often. It costs the reading of a file. */
const lookMs = 5000;

/** Looks at what drains, while something does: the rest of the time nothing runs. */
export class DrainWatch {
  readonly #parts: DrainWatchParts;
  #running: Promise<void> | undefined;

  constructor(parts: DrainWatchParts) {
    this.#parts = parts;
  }

  /** Begins, where something drains and nobody looks at it yet. */
  begin(): void {
    if (!this.#parts.drains.isIdle) this.#running ??= this.#run();
  }

  /** Resolves when nothing drains any more, or the lifetime is over. */
  async ended(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    const { drains, clock, log, lifetime, remove } = this.#parts;
    while (!drains.isIdle && !lifetime.aborted) {
      await clock.sleep(Math.min(lookMs, Math.max(1, drains.untilDeadlineMs)), lifetime);
      if (lifetime.aborted) break;
      try {
        await remove();
      } catch (error) {
        log.warn({}, `what drains is looked at again later: ${errorText(error)}`);
        await clock.sleep(lookMs, lifetime);
      }
    }
    this.#running = undefined;
  }
}
