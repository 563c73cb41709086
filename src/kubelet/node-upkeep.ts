import { errorText } from '../error.ts';
import { Housekeeping } from './housekeeping/housekeeping.ts';
import { LogRotation } from './housekeeping/log-rotation.ts';
import { OrphanedPods } from './housekeeping/orphaned-pods.ts';
import type { KubeletBase } from './kubelet.ts';
import { quantityOf, wholeUnits } from './pod/quantity.ts';
import type { PodTable } from './pod-table.ts';
import type { PodCgroups } from './runtime/cgroups.ts';
import type { LogFolders } from './runtime/log-folders.ts';
import type { RuntimeView } from './runtime/view.ts';
import type { StatusWriter } from './status/status-writer.ts';
import type { PodVolumes } from './volumes/volumes.ts';
import type { PodWorkers } from './worker/pod-workers.ts';

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
const tooLongMs = 1000;
const waitMs = 200;

/** What is done each two seconds and each minute, so that nothing is left of pods that are gone (spec 11). */
export class NodeUpkeep {
  readonly #options: NodeUpkeepOptions;
  readonly #housekeeping: Housekeeping;
  /** Whose workers were there at the last look. */
  #known: ReadonlySet<string> = new Set();

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
      relist: async () => view.relist(),
      isWanted: (uid) => this.#isWanted(uid),
      isFinished: (uid) => this.#isFinished(uid),
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
    const { view, cgroups } = this.#options;
    await this.#housekeep();
    this.#forgetGone();
    for (const uid of await cgroups.known()) {
      if (!this.#isWanted(uid) && !view.pods.has(uid)) await cgroups.remove(uid);
    }
  }

  async #housekeep(): Promise<void> {
    const { workers, view } = this.#options;
    // What is older than the workers' own steps would look like pods that nobody has.
    const inRuntime = await view.relist();
    // Asked now and not before the list: a pod that came meanwhile would be ended as one that no source has.
    workers.housekeep(this.#configured(), inRuntime);
  }

  #forgetGone(): void {
    const { workers, table, status } = this.#options;
    const now = new Set([...workers.uids(), ...this.#configured()]);
    for (const uid of this.#known) {
      if (!now.has(uid) && table.get(uid) === undefined) status.forget(uid);
    }
    this.#known = now;
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
    const { table, workers } = this.#options;
    const pod = table.get(uid);
    if (pod === undefined || workers.state(uid)?.kind !== 'finished') return false;
    return pod.metadata.deletionTimestamp !== undefined || pod.status.reason === 'Evicted';
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
