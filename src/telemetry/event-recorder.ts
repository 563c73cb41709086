import type { Clock } from '../clock.ts';
import { errorText } from '../error.ts';
import { wireEvent, microTime } from './event-form.ts';
import type { EventReporter } from './event-form.ts';
import type {
  EventAnswer,
  EventSink,
  Events,
  ObjectEvent,
  WireEvent,
  WireSeries,
} from './events.ts';
import type { Log } from './log.ts';
import { TokenBucket } from './token-bucket.ts';

/** What an {@link EventRecorder} is made of. */
export interface EventRecorderOptions extends EventReporter {
  readonly sink: EventSink;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of what became of each Event, or repeat of one: for metrics. */
  readonly onEnd?: (end: 'written' | 'dropped') => void;
}

/** An Event and its repeats, which are counted in it for as long as they follow each other closely. */
interface Series {
  readonly key: string;
  readonly event: ObjectEvent;
  /** With the first one. */
  count: number;
  /** When it was told last: the date, and the time that nobody sets back. */
  lastMs: number;
  seenAtMs: number;
  failures: number;
  /** What was written; undefined: nothing yet, or it has expired. */
  written: WireEvent['metadata'] | undefined;
  /** Another node wrote it, and counts its repeats. */
  isElsewhere: boolean;
}

/** A repeat after a longer silence is an Event of its own, as in client-go. */
const silenceMs = 360_000;
/** What is written a source object, and in all: many nodes may have the same to say. */
const objectLimit = { burst: 10, everyMs: 60_000 };
const overallLimit = { burst: 20, everyMs: 2000 };
const mostSeries = 1000;
const mostFailures = 5;
const firstRetryMs = 5000;
const lastRetryMs = 60_000;
const complainEveryMs = 600_000;
const flushStepMs = 10;

/**
 * Writes Events in the background, in the order in which they were told. What is told again within six minutes counts as
 * a repeat of the same Event. It holds a bounded number of them; what is too much, or is refused, is dropped, and the log
 * says so once in a while: the log has all that Events say.
 */
export class EventRecorder implements Events {
  readonly #options: EventRecorderOptions;
  readonly #overall: TokenBucket;
  readonly #objects = new Map<string, TokenBucket>();
  readonly #series = new Map<string, Series>();
  /** What is to be written, in the order in which it was told. */
  readonly #pending = new Set<Series>();
  /** Ends the present wait. */
  #waiting = new AbortController();
  #isWriting = false;
  #pausedUntilMs = 0;
  #dropped = 0;
  #complainedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#overall = new TokenBucket(overallLimit, options.clock);
  }

  tell(event: ObjectEvent): void {
    const series = this.#repeated(event) ?? this.#begin(event);
    if (series === undefined) this.#drop('too much is told at once');
    else if (!series.isElsewhere) {
      this.#pending.add(series);
      this.#waiting.abort();
    }
  }

  /** Writes what is told until `signal` aborts. Rejects never. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      this.#waiting = new AbortController();
      const { series, waitMs } = this.#next();
      if (series !== undefined) await this.#write(series, signal);
      else {
        this.#forgetSilent();
        await clock.sleep(waitMs, AbortSignal.any([signal, this.#waiting.signal]));
      }
    }
  }

  /** Waits until all that was told is written or dropped, but no longer than `longestMs`: before the process ends. */
  async flush(longestMs: number): Promise<void> {
    const { clock } = this.#options;
    const endMs = clock.monotonic() + longestMs;
    while ((this.#pending.size > 0 || this.#isWriting) && clock.monotonic() < endMs)
      await clock.sleep(flushStepMs);
  }

  #repeated(event: ObjectEvent): Series | undefined {
    const { clock } = this.#options;
    const series = this.#series.get(keyOf(event));
    if (series === undefined || this.#isSilent(series)) return undefined;
    series.count++;
    series.lastMs = clock.now();
    series.seenAtMs = clock.monotonic();
    return series;
  }

  #begin(event: ObjectEvent): Series | undefined {
    const { clock } = this.#options;
    const key = keyOf(event);
    if (!this.#series.has(key) && this.#series.size >= mostSeries) this.#forgetSilent();
    if (!this.#series.has(key) && this.#series.size >= mostSeries) return undefined;
    const times = { lastMs: clock.now(), seenAtMs: clock.monotonic() };
    const state = { failures: 0, written: undefined, isElsewhere: false };
    const series: Series = { key, event, count: 1, ...times, ...state };
    this.#series.set(key, series);
    return series;
  }

  /** What may be written now, or how long to wait for it. */
  #next(): { readonly series?: Series; readonly waitMs: number } {
    const { clock } = this.#options;
    const allMs = Math.max(this.#pausedUntilMs - clock.monotonic(), this.#overall.waitMs);
    let waitMs = silenceMs;
    for (const series of this.#pending) {
      const ownMs = Math.max(allMs, this.#bucketOf(series).waitMs);
      if (ownMs <= 0) return { series, waitMs: 0 };
      waitMs = Math.min(waitMs, ownMs);
    }
    return { waitMs };
  }

  async #write(series: Series, signal: AbortSignal): Promise<void> {
    this.#pending.delete(series);
    this.#overall.take();
    this.#bucketOf(series).take();
    this.#isWriting = true;
    const { made, answer } = await this.#send(series, signal);
    this.#isWriting = false;
    if (signal.aborted) return;
    if (answer.kind === 'failed') this.#failed(series, answer);
    else this.#settle(series, made, answer);
  }

  async #send(
    series: Series,
    signal: AbortSignal,
  ): Promise<{ readonly made?: WireEvent; readonly answer: EventAnswer }> {
    const { sink } = this.#options;
    const repeats = repeatsOf(series);
    try {
      if (series.written !== undefined && repeats !== undefined)
        return { answer: await sink.patchSeries(series.written, repeats, signal) };
      const made = wireEvent(series.event, this.#options, series.lastMs, repeats);
      return { made, answer: await sink.create(made, signal) };
    } catch (error) {
      const reason = errorText(error);
      return { answer: { kind: 'failed', reason, retryable: false, retryAfterMs: undefined } };
    }
  }

  #settle(
    series: Series,
    made: WireEvent | undefined,
    { kind }: Exclude<EventAnswer, { readonly kind: 'failed' }>,
  ): void {
    series.failures = 0;
    if (kind !== 'gone') this.#options.onEnd?.('written');
    switch (kind) {
      case 'written':
        series.written = made?.metadata ?? series.written;
        break;
      case 'exists':
        // What is told once a node has a name of its own: the answer to an earlier try was lost.
        series.written = made?.metadata;
        series.isElsewhere = series.event.scope === 'cluster';
        if (series.isElsewhere) this.#pending.delete(series);
        break;
      case 'gone':
        series.written = undefined;
        this.#pending.add(series);
        break;
      default:
        kind satisfies never;
    }
  }

  #failed(
    series: Series,
    { reason, retryable, retryAfterMs = 0 }: Extract<EventAnswer, { readonly kind: 'failed' }>,
  ): void {
    series.failures++;
    if (!retryable || series.failures >= mostFailures) {
      this.#series.delete(series.key);
      this.#pending.delete(series);
      this.#drop(reason);
      return;
    }
    const delayMs = Math.min(firstRetryMs * 2 ** (series.failures - 1), lastRetryMs);
    this.#pausedUntilMs = this.#options.clock.monotonic() + Math.max(delayMs, retryAfterMs);
    this.#pending.add(series);
  }

  #isSilent(series: Series): boolean {
    const silentMs = this.#options.clock.monotonic() - series.seenAtMs;
    return silentMs >= silenceMs && !this.#pending.has(series);
  }

  #forgetSilent(): void {
    for (const [key, series] of this.#series) if (this.#isSilent(series)) this.#series.delete(key);
    for (const [name, bucket] of this.#objects) if (bucket.isFull) this.#objects.delete(name);
  }

  #bucketOf({ event: { regarding } }: Series): TokenBucket {
    const name = JSON.stringify(regarding);
    const bucket = this.#objects.get(name) ?? new TokenBucket(objectLimit, this.#options.clock);
    this.#objects.set(name, bucket);
    return bucket;
  }

  #drop(reason: string): void {
    const { clock, log, onEnd } = this.#options;
    this.#dropped++;
    onEnd?.('dropped');
    const nowMs = clock.monotonic();
    if (nowMs - this.#complainedAtMs < complainEveryMs) return;
    this.#complainedAtMs = nowMs;
    log.warn({ dropped: this.#dropped, reason }, `Events are not written: ${reason}`);
    this.#dropped = 0;
  }
}

function repeatsOf({ count, lastMs }: Series): WireSeries | undefined {
  return count < 2 ? undefined : { count, lastObservedTime: microTime(lastMs) };
}

function keyOf({ regarding, reason, note }: ObjectEvent): string {
  return JSON.stringify([regarding, reason, note]);
}
