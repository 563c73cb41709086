import type { Clock } from '../../clock.ts';
import type { ListReason } from '../../telemetry/runtime-event-metrics.ts';

export interface ListRhythmOptions {
  readonly clock: Clock;
  /** While nobody tells what happens, and for a while after something has happened. */
  readonly oftenMs?: number;
  /** While a stream of events tells, and nothing does happen. */
  readonly seldomMs?: number;
}

/** The lists of the runtime may be behind its events; so long it is looked at as if there were none. */
const aftermathMs = 5000;

/**
 * When the runtime is to be listed next: each second, as upstream's kubelet does, unless events are told. Then once a minute, for what
 * events may leave out: no later than a pod is looked at by its own worker, and well within the three minutes after which the node
 * counts as one whose pods nobody sees.
 */
export class ListRhythm {
  readonly #clock: Clock;
  readonly #oftenMs: number;
  readonly #seldomMs: number;
  #isTold = false;
  #listedAtMs = 0;
  #oftenUntilMs = 0;
  /** Why it is listed often until then. */
  #news: 'event' | 'gap' = 'gap';
  #wake = new AbortController();

  constructor({ clock, oftenMs = 1000, seldomMs = 60_000 }: ListRhythmOptions) {
    this.#clock = clock;
    this.#oftenMs = oftenMs;
    this.#seldomMs = seldomMs;
  }

  /** Whether all that happens is told of from now on. */
  listening(isTold: boolean): void {
    this.#isTold = isTold;
    // What was before is not told of.
    this.#listOften('gap');
  }

  happened(): void {
    this.#listOften('event');
  }

  #listOften(news: 'event' | 'gap'): void {
    this.#news = news;
    this.#oftenUntilMs = this.#clock.monotonic() + aftermathMs;
    this.#wake.abort();
  }

  /** Whether all that happens is told of, and nothing has for a while: then a list that was begun at `listedMs` is as good as a new one. */
  isCurrent(listedMs: number): boolean {
    const newsMs = this.#oftenUntilMs - aftermathMs;
    return this.#isTold && listedMs > newsMs && this.#clock.monotonic() >= this.#oftenUntilMs;
  }

  /** To be called when a list begins. */
  begin(): void {
    this.#listedAtMs = this.#clock.monotonic();
  }

  /** Resolves to why, when the next list is due, or `signal` aborts. `hasFailed`: there is no list. */
  async due(hasFailed: boolean, signal: AbortSignal): Promise<ListReason> {
    for (;;) {
      const nowMs = this.#clock.monotonic();
      const reason = this.#reason(hasFailed, nowMs);
      const isSeldom = reason === 'periodic';
      const waitMs = this.#listedAtMs + (isSeldom ? this.#seldomMs : this.#oftenMs) - nowMs;
      if (waitMs <= 0 || signal.aborted) return reason;
      this.#wake = new AbortController();
      await this.#clock.sleep(waitMs, AbortSignal.any([signal, this.#wake.signal]));
    }
  }

  #reason(hasFailed: boolean, nowMs: number): ListReason {
    if (hasFailed) return 'retry';
    if (nowMs < this.#oftenUntilMs) return this.#news;
    return this.#isTold ? 'periodic' : 'no_stream';
  }
}
