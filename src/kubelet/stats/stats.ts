import type { Clock } from '../../clock.ts';
import type { DiskUse } from '../../host/disk-use.ts';
import type {
  ClaimUse,
  ContainerDisk,
  PodUsage,
  PodUsages,
  VolumeUse,
} from '../ports/pod-usage.ts';
import type { ClaimSizes } from './claim-sizes.ts';
import { KeptReading } from './kept-reading.ts';
import { logSize } from './log-sizes.ts';
import { measuredContainer, measuredPod } from './measured.ts';
import type { Measured } from './measured.ts';
import type { NodeReading } from './node-reading.ts';
import { Rates } from './rates.ts';
import type { ContainerReading, PodReading, PodReadings } from './pod-readings.ts';
import { diskUseOf, readRuntimeStats } from './runtime-stats.ts';
import type { RuntimeStats, StatsCalls } from './runtime-stats.ts';
import type { VolumeSizes } from './volume-sizes.ts';

export interface StatsOptions {
  readonly readings: Pick<PodReadings, 'read'>;
  readonly volumes: Pick<VolumeSizes, 'of' | 'keepOnly'>;
  readonly claims: Pick<ClaimSizes, 'all'>;
  readonly runtime: StatsCalls;
  readonly readNode: () => Promise<NodeReading>;
  readonly clock: Clock;
}

/** All that is measured at a moment: the node, and each pod that is up with its containers. */
export interface Figures {
  readonly node: NodeReading;
  readonly pods: readonly PodFigures[];
}

export interface PodFigures extends PodReading {
  readonly whole: Measured;
  readonly containers: readonly ContainerFigures[];
}

export interface ContainerFigures extends ContainerReading {
  readonly whole: Measured;
}

/** What pods that are up use, read when somebody asks and kept for some seconds. */
export class Stats implements PodUsages {
  readonly #options: StatsOptions;
  readonly #readings: KeptReading<readonly PodReading[]>;
  readonly #runtime: KeptReading<RuntimeStats>;
  readonly #usages: KeptReading<ReadonlyMap<string, PodUsage>>;
  readonly #figures: KeptReading<Figures>;
  readonly #rates = new Rates();

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
    this.#figures = new KeptReading(clock, async () => this.#readFigures());
  }

  /** By their cgroups. */
  async pods(): Promise<readonly PodReading[]> {
    return this.#readings.get();
  }

  /** What the runtime measures: layers of containers, and all else of those whose cgroups cannot be read. Throws where it does not answer. */
  async runtime(): Promise<RuntimeStats> {
    return this.#runtime.get();
  }

  /** Throws where the runtime has to be asked and does not answer. */
  async figures(): Promise<Figures> {
    return this.#figures.get();
  }

  async podUsages(): Promise<ReadonlyMap<string, PodUsage>> {
    return this.#usages.get();
  }

  /** Claims of pods, as far as they can be measured. Does not reject. */
  async claims(): Promise<readonly ClaimUse[]> {
    return this.#options.claims.all();
  }

  async #readFigures(): Promise<Figures> {
    const [readings, node] = await Promise.all([this.pods(), this.#options.readNode()]);
    const isWhole = readings.every(
      ({ cgroup, containers }) =>
        cgroup !== undefined && containers.every((each) => each.cgroup !== undefined),
    );
    const runtime = isWhole ? undefined : await this.runtime();
    const rates = this.#rates;
    const pods = readings.map((reading) => {
      const { whole, containers } = measured(reading, runtime);
      return {
        ...reading,
        whole: rates.rated(reading.pod.uid, whole),
        containers: containers.map((each) => ({
          ...each,
          whole: rates.rated(each.container.id, each.whole),
        })),
      };
    });
    const rated = {
      ...rates.rated('node', node),
      agent: rates.rated('agent', node.agent),
    };
    rates.turn();
    return { node: rated, pods };
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
    const { whole, containers: ofContainers } = measured(reading, runtime);
    for (const { container, whole: of } of ofContainers) {
      containers.set(container.name, {
        memoryBytes: of.memory?.workingSetBytes,
        layer: diskUseOf(runtime?.containers.get(container.id)?.writableLayer),
        logs: await logSize(container.logPath),
      });
    }
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

/** CPU and memory of a pod and its containers. */
function measured(
  reading: PodReading,
  runtime: RuntimeStats | undefined,
): { readonly whole: Measured; readonly containers: readonly ContainerFigures[] } {
  const containers = reading.containers.map((each) => ({
    ...each,
    whole: measuredContainer(each, runtime?.containers.get(each.container.id)),
  }));
  const sandbox = runtime?.sandboxes.get(reading.sandboxId);
  return {
    whole: measuredPod(
      reading,
      containers.map(({ whole }) => whole),
      sandbox,
    ),
    containers,
  };
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
