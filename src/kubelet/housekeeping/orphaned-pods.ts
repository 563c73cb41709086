import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { PodWorkers, Volumes } from '../ports.ts';
import type { RuntimePod } from '../runtime/runtime-pod.ts';

export interface OrphansOptions {
  readonly workers: Pick<PodWorkers, 'removeOrphan' | 'state'>;
  readonly volumes: Pick<Volumes, 'known' | 'tearDown'>;
  /** Whether a source has it. */
  readonly isSourced: (uid: string) => boolean;
  readonly clock: Clock;
  readonly log: Log;
}

/** The same thing is told no more often. */
const tellEveryMs = 300_000;

/** Ends pods of ours that no source has any more, and clears away what is left of them (spec 11.2). */
export class OrphanedPods {
  readonly #options: OrphansOptions;
  readonly #toldMs = new Map<string, number>();

  constructor(options: OrphansOptions) {
    this.#options = options;
  }

  /** `pods`: those of ours in the runtime. To be called only once every source has told of its pods. */
  async look(pods: ReadonlyMap<string, RuntimePod>): Promise<void> {
    const { workers, volumes } = this.#options;
    for (const pod of pods.values()) {
      if (isLive(pod) && !this.#isWanted(pod.uid)) workers.removeOrphan(pod);
    }
    for (const uid of await volumes.known()) {
      if (this.#isWanted(uid) || pods.has(uid)) continue;
      try {
        await volumes.tearDown(uid);
        this.#toldMs.delete(uid);
      } catch (error) {
        this.#tell(uid, error);
      }
    }
  }

  #isWanted(uid: string): boolean {
    const { isSourced, workers } = this.#options;
    return isSourced(uid) || workers.state(uid) !== undefined;
  }

  #tell(uid: string, error: unknown): void {
    const { clock, log } = this.#options;
    const nowMs = clock.monotonic();
    if (nowMs - (this.#toldMs.get(uid) ?? -Infinity) < tellEveryMs) return;
    this.#toldMs.set(uid, nowMs);
    const text = `orphaned pod "${uid}" found, but its volumes could not be removed: ${errorText(error)}`;
    log.error({ uid }, text);
  }
}

function isLive({ sandboxes, containers }: RuntimePod): boolean {
  return (
    sandboxes.some(({ state }) => state === 'ready') ||
    containers.some(({ state }) => state === 'running' || state === 'unknown')
  );
}
