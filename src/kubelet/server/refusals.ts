import type { Clock } from '../../clock.ts';
import { refusalReasons } from '../../telemetry/connection-metrics.ts';
import type { RefusalReason } from '../../telemetry/connection-metrics.ts';
import type { Log } from '../../telemetry/log.ts';

const words: Readonly<Record<RefusalReason, string>> = {
  too_many: 'made room for others',
  too_slow: 'did not ask in time',
  at_once: 'asked too much at once',
  too_many_reviews: 'came with a token while too many were looked up',
  unreviewed: 'could not be looked up',
};

export interface RefusalsOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly counted: (reason: RefusalReason) => void;
}

/** Who floods a port must not flood the log. */
const tellEveryMs = 60_000;

/** Counts each client that is sent away, and tells of all of them by one line a minute. */
export class Refusals {
  readonly #options: RefusalsOptions;
  /** Since the last line. */
  readonly #untold = new Map<RefusalReason, number>();
  #toldAtMs = -Infinity;

  constructor(options: RefusalsOptions) {
    this.#options = options;
  }

  /** `address`: whose; `error`: why it could not be looked up. */
  add(reason: RefusalReason, address: string, error?: string): void {
    const { clock, log, counted } = this.#options;
    counted(reason);
    this.#untold.set(reason, (this.#untold.get(reason) ?? 0) + 1);
    const nowMs = clock.monotonic();
    if (nowMs - this.#toldAtMs < tellEveryMs) return;
    this.#toldAtMs = nowMs;
    const texts = refusalReasons.flatMap((each) => {
      const count = this.#untold.get(each);
      return count === undefined ? [] : `${count} ${words[each]}`;
    });
    this.#untold.clear();
    const fields = { address, ...(error === undefined ? {} : { error }) };
    log.warn(fields, `clients of the kubelet's ports were sent away: ${texts.join(', ')}`);
  }
}
