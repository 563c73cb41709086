import type { Clock } from '../../clock.ts';
import { TokenBucket } from '../../telemetry/token-bucket.ts';
import type { NewEvent } from './core-event.ts';

/** Repeats of an Event, or several that are alike: one object in the API. */
export interface EventSeries {
  readonly key: string;
  readonly event: NewEvent;
  count: number;
  message: string;
  /** Its name and namespace in the API; undefined: it is not there, as far as is known. */
  written: { readonly name: string; readonly namespace: string } | undefined;
}

/** The limits of client-go: so many Events about an object may come at once, then one each five minutes. */
const spam = { burst: 25, everyMs: 300_000 };
/** More different messages of one kind within this time are told as one Event. */
const mostAlike = 10;
const alikeMs = 600_000;
/** Of each of these no more are remembered; the oldest is forgotten. */
const mostRemembered = 4096;

/** What was said of one kind about one object. */
interface Alike {
  readonly messages: Set<string>;
  lastMs: number;
}

/** Decides what becomes of an Event: dropped, a repeat, one of many that are alike, or a new one. */
export class EventCorrelator {
  readonly #clock: Clock;
  readonly #buckets = new Map<string, TokenBucket>();
  readonly #alike = new Map<string, Alike>();
  readonly #series = new Map<string, EventSeries>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The series that the Event belongs to, counted; undefined: there are too many about its object. */
  take(event: NewEvent): EventSeries | undefined {
    const { object, type, reason, message } = event;
    const about = JSON.stringify([object.kind, object.namespace, object.name, object.uid]);
    const kind = JSON.stringify([object, type, reason]);
    const isOneOfMany = this.#isOneOfMany(kind, message);
    const key = isOneOfMany ? kind : JSON.stringify([kind, message]);
    const said = isOneOfMany ? `(combined from similar events): ${message}` : message;
    const series = recall(this.#series, key, () => ({
      key,
      event,
      count: 0,
      message: said,
      written: undefined,
    }));
    series.count += 1;
    series.message = said;
    const bucket = recall(this.#buckets, about, () => new TokenBucket(spam, this.#clock));
    if (bucket.waitMs > 0) return undefined;
    bucket.take();
    return series;
  }

  #isOneOfMany(kind: string, message: string): boolean {
    const nowMs = this.#clock.monotonic();
    const known = this.#alike.get(kind);
    if (known !== undefined && nowMs - known.lastMs > alikeMs) this.#alike.delete(kind);
    const alike = recall(this.#alike, kind, () => ({ messages: new Set<string>(), lastMs: nowMs }));
    alike.lastMs = nowMs;
    if (alike.messages.size < mostAlike || alike.messages.has(message)) {
      alike.messages.add(message);
      return false;
    }
    return true;
  }
}

/** What is remembered under a key, or made; the last one to be forgotten. */
function recall<V>(memory: Map<string, V>, key: string, make: () => V): V {
  const value = memory.get(key) ?? make();
  memory.delete(key);
  memory.set(key, value);
  if (memory.size > mostRemembered) {
    const [oldest = ''] = memory.keys();
    memory.delete(oldest);
  }
  return value;
}
