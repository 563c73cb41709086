import { Counter } from 'prom-client';
import type { Registry } from 'prom-client';

/** What was taken off a node that is short of something, counted under upstream's names. */
export class ReliefMetrics {
  readonly #images: Counter<'reason'>;
  readonly #evictions: Counter<'eviction_signal'>;

  constructor(registry: Registry) {
    this.#images = new Counter({
      name: 'kubelet_image_garbage_collected_total',
      help: 'Images that nobody used and that were removed, by why: for want of space, or for their age',
      labelNames: ['reason'],
      registers: [registry],
    });
    this.#evictions = new Counter({
      name: 'kubelet_evictions',
      help: 'Pods that were evicted, by the signal for which',
      labelNames: ['eviction_signal'],
      registers: [registry],
    });
  }

  imageRemoved(reason: 'space' | 'age'): void {
    this.#images.inc({ reason });
  }

  evicted(signal: string): void {
    this.#evictions.inc({ eviction_signal: signal });
  }
}
