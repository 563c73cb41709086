import type { Clock } from '../../clock.ts';
import type { Pod } from '../pod/pod.ts';
import type { PodEvents } from '../ports/pod-events.ts';

/** Between Events of one volume that goes on failing in the same way. */
const firstRepeatMs = 500;
const lastRepeatMs = 122_000;

/** What failed last. */
interface Failure {
  readonly message: string;
  readonly delayMs: number;
  readonly againAtMs: number;
}

/** Tells that volumes of one pod cannot be mounted: the same again and again ever more rarely. */
export class FailedMounts {
  readonly #events: PodEvents;
  readonly #clock: Pick<Clock, 'monotonic'>;
  /** By volume. */
  readonly #failures = new Map<string, Failure>();

  constructor(events: PodEvents, clock: Pick<Clock, 'monotonic'>) {
    this.#events = events;
    this.#clock = clock;
  }

  tell(pod: Pod, volume: string, message: string): void {
    const last = this.#failures.get(volume);
    const nowMs = this.#clock.monotonic();
    const isRepeated = last?.message === message;
    if (isRepeated && nowMs < last.againAtMs) return;
    const delayMs = isRepeated ? Math.min(last.delayMs * 2, lastRepeatMs) : firstRepeatMs;
    this.#failures.set(volume, { message, delayMs, againAtMs: nowMs + delayMs });
    this.#events.tell(pod, { type: 'Warning', reason: 'FailedMount', message });
  }

  /** It is mounted: what fails next is told at once. */
  isOver(volume: string): void {
    this.#failures.delete(volume);
  }
}
