import type { Clock } from '../../clock.ts';
import type { DiskUse } from '../../host/disk-use.ts';
import type { ContainerDisk, PodUsage, PodUsages, VolumeUse } from '../ports.ts';
import { KeptReading } from './kept-reading.ts';
import { logSize } from './log-sizes.ts';
import { measuredContainer, measuredPod } from './measured.ts';
import type { Measured } from './measured.ts';
import type { PodReading, PodReadings } from './pod-readings.ts';
import { diskUseOf, readRuntimeStats } from './runtime-stats.ts';
import type { RuntimeStats, StatsCalls } from './runtime-stats.ts';
import type { VolumeSizes } from './volume-sizes.ts';

export interface StatsOptions {
  readonly readings: Pick<PodReadings, 'read'>;
  readonly volumes: Pick<VolumeSizes, 'of' | 'keepOnly'>;
  readonly runtime: StatsCalls;
  readonly clock: Clock;
}

/** What pods that are up use, read when somebody asks and kept for some seconds. */
export class Stats implements PodUsages {
  readonly #options: StatsOptions;
  readonly #readings: KeptReading<readonly PodReading[]>;
  readonly #runtime: KeptReading<RuntimeStats>;
  readonly #usages: KeptReading<ReadonlyMap<string, PodUsage>>;

  constructor(options: StatsOptions) {
    this.#options = options;
    const { clock, readings, runtime } = options;
    this.#readings = new KeptReading(clock, async () => readings.read());
    this.#runtime = new KeptReading(clock, async () => {
      const pods = await this.pods();
      const wantsSandboxes = pods.some(({ cgroup }) => cgroup === undefined);
      return readRuntimeStats(runtime, { wantsSandboxes });
    });
    this.#usages = new KeptReading(clock, async () => this.#readUsages());
  }

  /** By their cgroups. */
  async pods(): Promise<readonly PodReading[]> {
    return this.#readings.get();
  }

  /** What the runtime measures: layers of containers, and all else of those whose cgroups cannot be read. Throws where it does not answer. */
  async runtime(): Promise<RuntimeStats> {
    return this.#runtime.get();
  }

  async podUsages(): Promise<ReadonlyMap<string, PodUsage>> {
    return this.#usages.get();
  }

  async #readUsages(): Promise<ReadonlyMap<string, PodUsage>> {
    const pods = await this.pods();
    const runtime = await this.runtime().catch(() => undefined);
    this.#options.volumes.keepOnly(new Set(pods.map(({ pod }) => pod.uid)));
    const usages = new Map<string, PodUsage>();
    for (const reading of pods) {
      usages.set(reading.pod.uid, await this.#usageOf(reading, runtime));
    }
    return usages;
  }

  async #usageOf(reading: PodReading, runtime: RuntimeStats | undefined): Promise<PodUsage> {
    const { uid, name, namespace } = reading.pod;
    const volumes = await this.#options.volumes.of(uid);
    const containers = new Map<string, ContainerDisk>();
    const ofContainers: Measured[] = [];
    for (const each of reading.containers) {
      const { id, name: container, logPath } = each.container;
      const said = runtime?.containers.get(id);
      const measured = measuredContainer(each, said);
      ofContainers.push(measured);
      containers.set(container, {
        memoryBytes: measured.memory?.workingSetBytes,
        layer: diskUseOf(said?.writableLayer),
        logs: await logSize(logPath),
      });
    }
    const whole = measuredPod(reading, ofContainers, runtime?.sandboxes.get(reading.sandboxId));
    return {
      uid,
      name,
      namespace,
      memoryBytes: whole.memory?.workingSetBytes,
      processes: whole.tasks,
      containers,
      volumes,
      disk: onDisk(containers.values(), volumes.values()),
    };
  }
}

function onDisk(containers: Iterable<ContainerDisk>, volumes: Iterable<VolumeUse>): DiskUse {
  const parts = [
    ...[...containers].flatMap(({ layer, logs }) => [layer, logs]),
    ...[...volumes].filter(({ inMemory }) => !inMemory),
  ].filter((part) => part !== undefined);
  return {
    bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    inodes: parts.reduce((sum, { inodes }) => sum + inodes, 0),
  };
}
