import type { Clock } from '../../clock.ts';
import type { ApiSourceEvent } from '../../informer/api-source.ts';
import { timeText } from './family-status.ts';
import type { ListStatus } from './status-document.ts';

/** Remembers of each resource of the API server why nothing new is heard of it. */
export class SourceTroubles {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #troubles = new Map<string, { readonly reason: string; readonly sinceMs: number }>();

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  /** What happened between a source and its server. */
  heard(resource: string, event: ApiSourceEvent): void {
    if (event.type !== 'failed') {
      this.#troubles.delete(resource);
      return;
    }
    const { reason } = event.failure;
    const sinceMs = this.#troubles.get(resource)?.sinceMs ?? this.#clock.now();
    this.#troubles.set(resource, { reason, sinceMs });
  }

  /** Of a resource, in the status's words. */
  of(resource: string): ListStatus['trouble'] {
    const trouble = this.#troubles.get(resource);
    return trouble ? { reason: trouble.reason, since: timeText(trouble.sinceMs) } : null;
  }
}
