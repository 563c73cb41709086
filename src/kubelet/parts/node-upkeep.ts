import { errorText } from '../../error.ts';
import { Housekeeping } from '../housekeeping/housekeeping.ts';
import { LogRotation } from '../housekeeping/log-rotation.ts';
import { OrphanedPods } from '../housekeeping/orphaned-pods.ts';
import type { KubeletBase } from '../base/kubelet-base.ts';
import { quantityOf, wholeUnits } from '../pod/quantity.ts';
import type { PodTable } from '../dispatch/pod-table.ts';
import type { PodCgroups } from '../runtime/cgroups.ts';
import type { LogFolders } from '../runtime/log-folders.ts';
import type { RuntimeView } from '../runtime/view.ts';
import type { StatusWriter } from '../status/status-writer.ts';
import type { PodVolumes } from '../volumes/volumes.ts';
import type { PodWorkers } from '../worker/pod-workers.ts';

export interface NodeUpkeepOptions {
  readonly base: KubeletBase;
  readonly view: RuntimeView;
  readonly workers: PodWorkers;
  readonly table: PodTable;
  readonly volumes: PodVolumes;
  readonly cgroups: PodCgroups;
  readonly status: StatusWriter;
  readonly logFolders: LogFolders;
  /** Whether all sources have spoken. */
  readonly isReady: () => boolean;
}

const everyMs = 2000;
const cgroupsEveryMs = 60_000;
const tooLongMs = 1000;
const waitMs = 200;

/** What is done each two seconds and each minute, so that nothing is left of pods that are gone. */
export class NodeUpkeep {
  readonly #options: NodeUpkeepOptions;
  readonly #housekeeping: Housekeeping;
  /** Whose workers were there at the last look. */
  #known: ReadonlySet<string> = new Set();
  /** When all cgroups are looked at next, though no pod has gone. */
  #cgroupsAtMs = 0;

  constructor(options: NodeUpkeepOptions) {
    this.#options = options;
    const { base, view, volumes, isReady } = options;
    const { clock, log, cri, config } = base;
    const { runtime } = cri;
    const { logFiles } = config;
    this.#housekeeping = new Housekeeping({
      clock,
      log,
      runtime,
      isReady,
      known: () => view.pods,
      relist: async () => view.relist(),
      isWanted: (uid) => this.#isWanted(uid),
      isFinished: (uid) => this.#isFinished(uid),
      isEnded: (uid) => this.#isTold(uid),
      orphans: new OrphanedPods({
        volumes,
        clock,
        log,
        killOrphan: async (uid) => this.#killOrphan(uid),
      }),
      rotation: new LogRotation({
        runtime,
        clock,
        log,
        maxFiles: logFiles.maxFiles,
        workers: logFiles.workers,
        maxBytes: Number(wholeUnits(quantityOf(logFiles.maxSize))),
      }),
      logFolders: options.logFolders,
      linksFolder: base.containerLogsDir,
      rotateEveryMs: logFiles.monitorMs,
    });
  }

  /** Until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#housekeeping.run(signal), this.#lookAgain(signal)]);
  }

  /** A pod of the runtime is another than before: what is too much of what has ended goes at once, not within the minute. */
  changed(uid: string): void {
    const { view, isReady, base } = this.#options;
    const names = view.pods.get(uid)?.containers.map(({ name }) => name) ?? [];
    const hasMore = names.some((name) => names.filter((each) => each === name).length > 2);
    if (!hasMore || !isReady()) return;
    this.#housekeeping.collect(uid).catch((error: unknown) => {
      base.log.warn({ uid }, `housekeeping: ${errorText(error)}`);
    });
  }

  /** Room is wanted on the disk: all containers of pods that have ended go. */
  async removeDead(): Promise<void> {
    await this.#housekeeping.collect(undefined, true);
  }

  async #lookAgain(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options.base;
    while (!signal.aborted) {
      await clock.sleep(everyMs, signal);
      if (signal.aborted || !this.#options.isReady()) continue;
      const startedMs = clock.monotonic();
      try {
        await this.#look();
      } catch (error) {
        log.warn({}, `housekeeping: ${errorText(error)}`);
      }
      const tookMs = clock.monotonic() - startedMs;
      if (tookMs > tooLongMs) log.warn({ tookMs }, 'housekeeping took long');
    }
  }

  async #look(): Promise<void> {
    await this.#housekeep();
    const { clock } = this.#options.base;
    if (this.#forgetGone() || clock.monotonic() >= this.#cgroupsAtMs) {
      this.#cgroupsAtMs = clock.monotonic() + cgroupsEveryMs;
      await this.#removeCgroups();
    }
  }

  async #removeCgroups(): Promise<void> {
    const { view, cgroups, base } = this.#options;
    const unwanted = (await cgroups.known()).filter((uid) => !this.#isWanted(uid));
    if (unwanted.length === 0) return;
    const inRuntime = await view.relist();
    for (const uid of unwanted) {
      if (this.#isWanted(uid) || inRuntime.has(uid)) continue;
      try {
        await cgroups.remove(uid);
      } catch (error) {
        base.log.warn({ uid }, `cgroup of a pod that is gone: ${errorText(error)}`);
      }
    }
  }

  async #housekeep(): Promise<void> {
    const { workers, view } = this.#options;
    const isDue = workers.hasLeftOvers(this.#configured(), view.pods);
    // What is older than the workers' own steps may look like pods that nobody has: none is ended by it.
    const inRuntime = isDue ? await view.relist() : view.pods;
    // Asked now and not before the list: a pod that came meanwhile would be ended as one that no source has.
    workers.housekeep(this.#configured(), inRuntime);
  }

  /** Whether anything is gone since the last look. */
  #forgetGone(): boolean {
    const { workers, table, status } = this.#options;
    const now = new Set([...workers.uids(), ...this.#configured()]);
    const gone = [...this.#known].filter((uid) => !now.has(uid) && table.get(uid) === undefined);
    for (const uid of gone) status.forget(uid);
    this.#known = now;
    return gone.length > 0;
  }

  #configured(): ReadonlySet<string> {
    return new Set(this.#options.table.all().map(({ metadata }) => metadata.uid));
  }

  #isWanted(uid: string): boolean {
    const { table, workers } = this.#options;
    return table.get(uid) !== undefined || workers.isAlive(uid) || isBusy(workers, uid);
  }

  /** Nothing of it will be looked at any more. */
  #isFinished(uid: string): boolean {
    const pod = this.#options.table.get(uid);
    if (pod === undefined || !this.#isTold(uid)) return false;
    return pod.metadata.deletionTimestamp !== undefined || pod.status.reason === 'Evicted';
  }

  /** It has ended, and the API server knows how: until then its containers are the only record of that which outlives this process. */
  #isTold(uid: string): boolean {
    const { workers, status } = this.#options;
    return workers.state(uid)?.kind === 'finished' && status.isWritten(uid);
  }

  /** By a worker of its own; resolves when that has ended. */
  async #killOrphan(uid: string): Promise<void> {
    const { workers, base } = this.#options;
    await this.#housekeep();
    while (workers.isAlive(uid)) await base.clock.sleep(waitMs);
  }
}

/** What it had is still being given back. */
function isBusy(workers: PodWorkers, uid: string): boolean {
  return workers.state(uid)?.kind === 'terminated';
}
