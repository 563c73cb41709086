import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Volumes } from '../ports/volumes.ts';

export interface OrphansOptions {
  readonly volumes: Pick<Volumes, 'known' | 'tearDown'>;
  /** Stops and removes what runs of a pod that is in no source; resolves when it is done or given up. */
  readonly killOrphan: (uid: string, graceSeconds: number) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is known of pods at one moment. */
export interface PodCensus {
  /** In a source, or with a worker that has not ended. */
  readonly isWanted: (uid: string) => boolean;
  /** Pods of ours in the runtime; by UID. */
  readonly inRuntime: ReadonlySet<string>;
  /** Of those, the ones of which something runs. */
  readonly running: ReadonlySet<string>;
}

const graceSeconds = 1;
/** The same thing is told no more often. */
const tellEveryMs = 300_000;

/** Ends and clears away pods that no source has any more: those of ours, as the census has no others. */
export class OrphanedPods {
  readonly #options: OrphansOptions;
  readonly #ending = new Map<string, Promise<void>>();
  readonly #toldMs = new Map<string, number>();

  constructor(options: OrphansOptions) {
    this.#options = options;
  }

  /** Whether {@link look} would have something to do. */
  async hasAny({ isWanted, inRuntime, running }: PodCensus): Promise<boolean> {
    const isOrphan = (uid: string): boolean => !isWanted(uid) && !this.#ending.has(uid);
    if ([...running].some(isOrphan)) return true;
    const known = await this.#options.volumes.known();
    return known.some((uid) => isOrphan(uid) && !inRuntime.has(uid));
  }

  /** To be called only once every source has told of its pods. */
  async look({ isWanted, inRuntime, running }: PodCensus): Promise<void> {
    for (const uid of running) if (!isWanted(uid)) this.#end(uid);
    const { volumes } = this.#options;
    for (const uid of await volumes.known()) {
      if (isWanted(uid) || inRuntime.has(uid) || this.#ending.has(uid)) continue;
      try {
        await volumes.tearDown(uid);
        this.#toldMs.delete(uid);
      } catch (error) {
        this.#tell(uid, error);
      }
    }
  }

  /** Waits for those that are being ended. */
  async settle(): Promise<void> {
    await Promise.all(this.#ending.values());
  }

  #end(uid: string): void {
    if (this.#ending.has(uid)) return;
    const { killOrphan, log } = this.#options;
    log.info({ uid }, 'ends a pod that no source has any more');
    const ending = killOrphan(uid, graceSeconds)
      .catch((error: unknown) => {
        log.warn({ uid }, `orphaned pod ${uid} could not be ended: ${errorText(error)}`);
      })
      .finally(() => this.#ending.delete(uid));
    this.#ending.set(uid, ending);
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
