import { rm } from 'node:fs/promises';
import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { LogFolders } from '../runtime/log-folders.ts';
import type { RuntimePod } from '../runtime/runtime-pod.ts';
import { collectGarbage } from './collect-garbage.ts';
import type { CollectorOptions } from './collect-garbage.ts';
import { chooseGarbage, usualLimits } from './container-gc.ts';
import type { GarbageLimits } from './container-gc.ts';
import { removeDeadLinks } from './log-files.ts';
import type { LogRotation } from './log-rotation.ts';
import type { OrphanedPods, PodCensus } from './orphaned-pods.ts';

export interface HousekeepingOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly runtime: CollectorOptions['runtime'];
  /** The pods of ours in the runtime, as of its last list. */
  readonly known: () => ReadonlyMap<string, RuntimePod>;
  /** Lists them anew: before anything is removed. */
  readonly relist: () => Promise<ReadonlyMap<string, RuntimePod>>;
  /** Every source has told of its pods: until then nobody can be said to be gone. */
  readonly isReady: () => boolean;
  /** A pod in a source, or one whose worker has not ended. */
  readonly isWanted: (uid: string) => boolean;
  /** A pod that is still in a source, and all of it may be removed: evicted, or deleted and terminated. */
  readonly isFinished: (uid: string) => boolean;
  /** A pod of which nothing runs, nor will, and the API server knows how it ended: what is left of it may be removed where room is wanted. */
  readonly isEnded: (uid: string) => boolean;
  readonly orphans: OrphanedPods;
  readonly rotation: LogRotation;
  readonly logFolders: Pick<LogFolders, 'known' | 'forget'>;
  /** `/var/log/containers`. */
  readonly linksFolder: string;
  /** `containerLogMonitorInterval`; default 10 s. */
  readonly rotateEveryMs?: number;
  readonly limits?: GarbageLimits;
}

const orphansEveryMs = 2_000;
const garbageEveryMs = 60_000;

/** What has to be done now and then so that a node does not fill up. */
export class Housekeeping {
  readonly #options: HousekeepingOptions;
  /** One collection at a time: none removes what another one is just removing. */
  #collecting: Promise<void> = Promise.resolve();

  constructor(options: HousekeepingOptions) {
    this.#options = options;
  }

  /** Until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    const { rotateEveryMs = 10_000 } = this.#options;
    await Promise.all([
      this.#every(orphansEveryMs, async () => this.#orphans(), signal),
      this.#every(garbageEveryMs, async () => this.collect(), signal),
      this.#every(rotateEveryMs, async () => this.#rotate(signal), signal),
    ]);
    await this.#options.orphans.settle();
  }

  /**
   * Removes records that are of no more use; of one pod, or of all with their logs' folders. `wantsRoom`: all containers of pods that have
   * ended go, too, with their logs and last states.
   */
  async collect(uid?: string, wantsRoom = false): Promise<void> {
    const mine = this.#collecting.then(async () => this.#collect(uid, wantsRoom));
    this.#collecting = mine.catch(() => {});
    return mine;
  }

  async #every(periodMs: number, work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    while (!signal.aborted) {
      await clock.sleep(periodMs, signal);
      if (signal.aborted) return;
      try {
        await work();
      } catch (error) {
        if (!signal.aborted) log.warn({}, `housekeeping: ${errorText(error)}`);
      }
    }
  }

  async #orphans(): Promise<void> {
    const { isReady, known, relist, orphans } = this.#options;
    if (isReady() && (await orphans.hasAny(this.#census(known())))) {
      await orphans.look(this.#census(await relist()));
    }
  }

  #census(pods: ReadonlyMap<string, RuntimePod>): PodCensus {
    const { isWanted } = this.#options;
    const running = [...pods.values()].filter(isLive).map(({ uid }) => uid);
    return { isWanted, inRuntime: new Set(pods.keys()), running: new Set(running) };
  }

  async #rotate(signal: AbortSignal): Promise<void> {
    const { known, rotation } = this.#options;
    await rotation.look(known().values(), signal);
  }

  async #collect(uid: string | undefined, wantsRoom: boolean): Promise<void> {
    const { relist, runtime, clock, log, linksFolder, isEnded } = this.#options;
    const { limits = usualLimits } = this.#options;
    const isGone = (each: string): boolean => this.#isGone(each) || (wantsRoom && isEnded(each));
    const pods = await relist();
    const only = uid === undefined ? undefined : pods.get(uid);
    const chosen = uid === undefined ? pods.values() : only === undefined ? [] : [only];
    const garbage = chooseGarbage(chosen, isGone, clock.now(), limits);
    await collectGarbage(garbage, { runtime, log, linksFolder });
    if (uid === undefined) await this.#logs();
  }

  #isGone(uid: string): boolean {
    const { isReady, isWanted, isFinished } = this.#options;
    return isReady() && (!isWanted(uid) || isFinished(uid));
  }

  /** Of pods that are gone, and links into what was there; what is another's is not looked at. */
  async #logs(): Promise<void> {
    const { relist, logFolders, linksFolder } = this.#options;
    const pods = await relist();
    const known = await logFolders.known();
    const gone = known.filter(({ uid }) => !pods.has(uid) && this.#isGone(uid));
    for (const { path } of gone) await rm(path, { recursive: true, force: true });
    const containers = [...pods.values()].flatMap((pod) => pod.containers);
    const live = new Set(containers.filter(({ state }) => state !== 'exited').map(({ id }) => id));
    const paths = known.map(({ path }) => path);
    await removeDeadLinks(linksFolder, paths, (id) => live.has(id));
    for (const folder of gone) await logFolders.forget(folder);
  }
}

function isLive({ sandboxes, containers }: RuntimePod): boolean {
  return (
    sandboxes.some(({ state }) => state === 'ready') ||
    containers.some(({ state }) => state === 'running' || state === 'unknown')
  );
}
