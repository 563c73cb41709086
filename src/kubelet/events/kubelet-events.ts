import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import { TokenBucket } from '../../telemetry/token-bucket.ts';
import type { ObjectAnswer, ObjectApi } from '../api/object-api.ts';
import { podText } from '../pod/pod.ts';
import type { Pod } from '../pod/pod.ts';
import type { PodEvent, PodEvents } from '../ports/pod-events.ts';
import { coreEvent, eventCount } from './core-event.ts';
import type { NewEvent } from './core-event.ts';
import { EventCorrelator } from './event-correlator.ts';
import type { EventSeries } from './event-correlator.ts';
import type { NodeEvents } from '../ports/node-events.ts';

export interface KubeletEventsOptions {
  /** Of Events; undefined: there is no API server, and the log alone is told. */
  readonly api: Pick<ObjectApi, 'send'> | undefined;
  readonly node: string;
  /** 0: any number. */
  readonly qps: number;
  readonly burst: number;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1). */
  readonly random: () => number;
}

/** So many wait to be written; what is told beyond is in the log alone. */
const mostWaiting = 1000;
/** An API server that is away is tried so often for one Event, as client-go does. */
const mostTries = 12;
const retryMs = 10_000;

/** Writes Events about pods and the node to the API in the background, in the order in which they were told, and all of them to the log. */
export class KubeletEvents implements PodEvents {
  readonly #options: KubeletEventsOptions;
  readonly #correlator: EventCorrelator;
  readonly #limit: TokenBucket;
  readonly #pending = new Set<EventSeries>();
  #waiting = new AbortController();
  #dropped = 0;
  #lastUnique = 0;

  constructor(options: KubeletEventsOptions) {
    const { qps, burst, clock } = options;
    this.#options = options;
    this.#correlator = new EventCorrelator(clock);
    const everyMs = qps === 0 ? 1e-6 : 1000 / qps;
    this.#limit = new TokenBucket({ burst: Math.max(1, burst), everyMs }, clock);
  }

  tell(pod: Pick<Pod, 'metadata' | 'spec'>, { type, reason, message, container }: PodEvent): void {
    const { namespace, name, uid } = pod.metadata;
    const fieldPath = container === undefined ? undefined : fieldPathOf(pod, container);
    const object = {
      kind: 'Pod',
      apiVersion: 'v1',
      namespace,
      name,
      uid,
      ...(fieldPath === undefined ? {} : { fieldPath }),
    } as const;
    const fields = { pod: podText(pod), reason, ...(container === undefined ? {} : { container }) };
    this.#log(type, fields, `${podText(pod)}: ${message}`);
    this.#add({ object, type, reason, message });
  }

  /** The same about the node. */
  get ofNode(): NodeEvents {
    const { node: name } = this.#options;
    // kubectl looks for a node's Events by its name in place of a UID
    const object = { kind: 'Node', apiVersion: 'v1', namespace: '', name, uid: name } as const;
    return {
      tell: (type, reason, message) => {
        this.#log(type, { node: name, reason }, message);
        this.#add({ object, type, reason, message });
      },
    };
  }

  /** Writes until `signal` aborts. Rejects never. */
  async run(signal: AbortSignal): Promise<void> {
    const { api, clock } = this.#options;
    if (api === undefined) return;
    while (!signal.aborted) {
      this.#waiting = new AbortController();
      const [series] = this.#pending;
      const waitMs = series === undefined ? retryMs : this.#limit.waitMs;
      if (series !== undefined && waitMs === 0) {
        this.#limit.take();
        this.#pending.delete(series);
        await this.#write(api, series, signal);
      } else if (series === undefined) {
        await clock.sleep(waitMs, AbortSignal.any([signal, this.#waiting.signal]));
      } else await clock.sleep(waitMs, signal);
    }
  }

  #add(event: NewEvent): void {
    if (this.#options.api === undefined) return;
    const series = this.#correlator.take(event);
    if (series === undefined) return;
    if (this.#pending.size >= mostWaiting) {
      this.#drop('too many wait to be written');
      return;
    }
    this.#pending.add(series);
    this.#waiting.abort();
  }

  async #write(
    api: NonNullable<KubeletEventsOptions['api']>,
    series: EventSeries,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, random } = this.#options;
    for (let tries = 1; !signal.aborted; tries += 1) {
      try {
        const { object, reason } = await this.#send(api, series, signal);
        // what the server refuses it refuses the next time, too
        if (object === undefined) this.#drop(reason);
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (tries >= mostTries) {
          this.#drop(errorText(error));
          return;
        }
        // the first wait is of random length: nodes must not return to a server in one wave
        await clock.sleep(tries === 1 ? retryMs * random() : retryMs, signal);
      }
    }
  }

  async #send(
    api: NonNullable<KubeletEventsOptions['api']>,
    series: EventSeries,
    signal: AbortSignal,
  ): Promise<ObjectAnswer> {
    const { clock, node } = this.#options;
    const { event, written } = series;
    if (written !== undefined) {
      const { namespace, name } = written;
      const path = `${pathOf(namespace)}/${encodeURIComponent(name)}`;
      const counted = eventCount(series, clock.now());
      const answer = await api.send('strategicMerge', path, counted, signal);
      // it has expired
      if (answer.status !== 404) return answer;
    }
    const made = coreEvent(event, series, node, this.#unique(), clock.now());
    const answer = await api.send('create', pathOf(made.metadata.namespace), made, signal);
    if (answer.object !== undefined) series.written = made.metadata;
    return answer;
  }

  /** As client-go makes it: the time in hexadecimal nanoseconds. */
  #unique(): string {
    this.#lastUnique = Math.max(this.#options.clock.now(), this.#lastUnique + 0.001);
    return BigInt(Math.round(this.#lastUnique * 1_000_000)).toString(16);
  }

  #log(type: PodEvent['type'], fields: object, message: string): void {
    const { log } = this.#options;
    if (type === 'Warning') log.warn(fields, message);
    else log.info(fields, message);
  }

  #drop(reason: string): void {
    this.#dropped += 1;
    const text = `an Event is not written: ${reason}`;
    this.#options.log.debug({ dropped: this.#dropped }, text);
  }
}

function pathOf(namespace: string): string {
  return `/api/v1/namespaces/${namespace}/events`;
}

function fieldPathOf({ spec }: Pick<Pod, 'spec'>, name: string): string {
  const kinds = ['initContainers', 'ephemeralContainers'] as const;
  const kind = kinds.find((each) => spec[each].some((container) => container.name === name));
  return `spec.${kind ?? 'containers'}{${name}}`;
}
