import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';

/** Whose events are followed: containerd's own, or those of CRI. */
export const eventStreams = ['containerd', 'cri'] as const;

export type EventStream = (typeof eventStreams)[number];

/**
 * Why the runtime was listed: `event`: something was told a moment ago; `gap`: a stream has begun, or has broken, and nobody tells what
 * happened in between; `no_stream`: nobody tells anything; `periodic`: for what events leave out; `retry`: the list before has failed;
 * `asked`: something was to be ended or removed, and had to be known as it is.
 */
export const listReasons = ['asked', 'event', 'gap', 'no_stream', 'periodic', 'retry'] as const;

export type ListReason = (typeof listReasons)[number];

/** How the kubelet knows what happens in the container runtime. */
export class RuntimeEventMetrics {
  readonly #up: Gauge<'stream'>;
  readonly #begun: Counter<'stream'>;
  readonly #broken: Counter<'stream'>;
  readonly #events: Counter<'stream'>;
  readonly #lists: Counter<'reason'>;

  constructor(registry: Registry) {
    const registers = [registry];
    const labelNames = ['stream'] as const;
    this.#up = new Gauge({
      name: 'switchyard_kubelet_runtime_stream_up',
      help: 'Whether this stream of the container runtime tells of its events: 1, else 0',
      labelNames,
      registers,
    });
    this.#begun = new Counter({
      name: 'switchyard_kubelet_runtime_stream_begun_total',
      help: 'Times that a stream of events began to tell; each after the first is one that was connected to again',
      labelNames,
      registers,
    });
    this.#broken = new Counter({
      name: 'switchyard_kubelet_runtime_stream_broken_total',
      help: 'Times that a stream of events ended, or could not be begun',
      labelNames,
      registers,
    });
    this.#events = new Counter({
      name: 'switchyard_kubelet_runtime_events_total',
      help: 'Events that the container runtime has told of',
      labelNames,
      registers,
    });
    this.#lists = new Counter({
      name: 'switchyard_kubelet_runtime_lists_total',
      help: 'Lists of all pods of the container runtime, by why they were made',
      labelNames: ['reason'],
      registers,
    });
    for (const stream of eventStreams) {
      this.#up.set({ stream }, 0);
      for (const each of [this.#begun, this.#broken, this.#events]) each.inc({ stream }, 0);
    }
    for (const reason of listReasons) this.#lists.inc({ reason }, 0);
  }

  begun(stream: EventStream): void {
    this.#up.set({ stream }, 1);
    this.#begun.inc({ stream });
  }

  broken(stream: EventStream): void {
    this.#up.set({ stream }, 0);
    this.#broken.inc({ stream });
  }

  told(stream: EventStream): void {
    this.#events.inc({ stream });
  }

  listed(reason: ListReason): void {
    this.#lists.inc({ reason });
  }
}
