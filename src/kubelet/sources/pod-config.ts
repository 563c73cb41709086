import type { Clock } from '../../clock.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Pod } from '../pod/pod.ts';
import { podText } from '../pod/pod.ts';
import type { PodEvents } from '../ports/pod-events.ts';
import { mergePods } from './merge.ts';
import type { KnownPods, PodChange } from './merge.ts';
import { fullName } from './sourced-pod.ts';
import type { PodSourceName } from './sourced-pod.ts';

/** Puts the sets of all sources together and tells what changed. */
export interface PodConfigOptions {
  readonly sources: readonly PodSourceName[];
  readonly clock: Clock;
  readonly log: Log;
  readonly events: PodEvents;
  readonly onChange: (change: PodChange) => void;
}

export class PodConfig {
  readonly #options: PodConfigOptions;
  readonly #known = new Map<PodSourceName, KnownPods>();
  /** Duplicates that were told of, so that each is told of once. */
  #told: ReadonlySet<string> = new Set();

  constructor(options: PodConfigOptions) {
    this.#options = options;
  }

  /** Whether each source has spoken: what is in none of them may be removed from then on. */
  get allReady(): boolean {
    return this.#options.sources.every((source) => this.hasSpoken(source));
  }

  hasSpoken(source: PodSourceName): boolean {
    return this.#known.has(source);
  }

  /** All pods that a source has now. */
  set(source: PodSourceName, pods: readonly Pod[]): void {
    const known = this.#known.get(source);
    const nowMs = this.#options.clock.now();
    const merged = mergePods({ source, known, set: pods, nowMs });
    this.#known.set(source, merged.known);
    this.#tellDuplicates(source, merged.duplicates);
    for (const change of merged.changes) this.#options.onChange(change);
  }

  #tellDuplicates(source: PodSourceName, duplicates: readonly Pod[]): void {
    const { events, log } = this.#options;
    const keyOf = (pod: Pod): string => `${source} ${pod.metadata.uid}`;
    for (const pod of duplicates) {
      if (this.#told.has(keyOf(pod))) continue;
      const message = `Error validating pod ${podText(pod)} from ${source} due to duplicate pod name ${JSON.stringify(fullName(pod))}, ignoring`;
      log.warn({ source, pod: podText(pod) }, message);
      events.tell(pod, { type: 'Warning', reason: 'FailedValidation', message });
    }
    const others = [...this.#told].filter((key) => !key.startsWith(`${source} `));
    this.#told = new Set([...others, ...duplicates.map(keyOf)]);
  }
}
