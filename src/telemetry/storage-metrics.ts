import { Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';

/** So many volumes of one kind: those that pods are to have, and those that are set up. */
export interface CountedVolumes {
  /** `kubernetes.io/empty-dir` */
  readonly plugin: string;
  readonly desired: number;
  readonly actual: number;
}

/** A PersistentVolumeClaim that a pod has, and the file system that it lies on. */
export interface MeasuredClaim {
  readonly namespace: string;
  readonly claim: string;
  readonly space: {
    readonly bytes: number;
    readonly availableBytes: number;
    readonly usedBytes: number;
    /** 0: the file system does not count them. */
    readonly inodes: number;
    readonly freeInodes: number;
  };
}

/** What a kubelet has at the moment it is asked. */
export interface StorageReadings {
  readonly volumes: () => readonly CountedVolumes[];
  /** Does not reject: what cannot be read is not among them. */
  readonly claims: () => Promise<readonly MeasuredClaim[]>;
}

/** Upstream's edges, in seconds. */
const operationBuckets = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600];

const claimLabels = ['namespace', 'persistentvolumeclaim'] as const;

type Space = MeasuredClaim['space'];

const claimFigures: readonly (readonly [string, string, (space: Space) => number])[] = [
  ['capacity_bytes', 'Size of the file system of a claim, in bytes', ({ bytes }) => bytes],
  ['available_bytes', 'What of it is available, in bytes', (space) => space.availableBytes],
  ['used_bytes', 'What of it is in use, whoever uses it, in bytes', (space) => space.usedBytes],
  ['inodes', 'How many files it can have', ({ inodes }) => inodes],
  ['inodes_free', 'How many more it can have', ({ freeInodes }) => freeInodes],
  ['inodes_used', 'How many it has', ({ inodes, freeInodes }) => inodes - freeInodes],
];

/** Volumes of pods, under upstream's names. */
export class StorageMetrics {
  readonly #operations: Histogram<'volume_plugin' | 'operation_name' | 'status' | 'migrated'>;

  #readings: StorageReadings = { volumes: () => [], claims: async () => [] };

  constructor(registry: Registry) {
    this.#operations = new Histogram({
      name: 'storage_operation_duration_seconds',
      help: 'Time to set up a volume, or to bring it up to date, in seconds',
      labelNames: ['volume_plugin', 'operation_name', 'status', 'migrated'],
      buckets: operationBuckets,
      registers: [registry],
    });
    this.#collectVolumes(registry);
    this.#collectClaims(registry);
  }

  /** `plugin`: `kubernetes.io/empty-dir`. */
  volumeSetUp(plugin: string, seconds: number, failed: boolean): void {
    const labels = { volume_plugin: plugin, operation_name: 'volume_mount', migrated: 'false' };
    this.#operations.observe({ ...labels, status: failed ? 'fail-unknown' : 'success' }, seconds);
  }

  /** Says where the readings come from. */
  collect(readings: StorageReadings): void {
    this.#readings = readings;
  }

  #collectVolumes(registry: Registry): void {
    const total = new Gauge({
      name: 'volume_manager_total_volumes',
      help: 'Volumes of pods, by whether they are to be there or are',
      labelNames: ['plugin_name', 'state'],
      registers: [registry],
      collect: () => {
        total.reset();
        for (const { plugin, desired, actual } of this.#readings.volumes()) {
          total.set({ plugin_name: plugin, state: 'desired_state_of_world' }, desired);
          total.set({ plugin_name: plugin, state: 'actual_state_of_world' }, actual);
        }
      },
    });
  }

  #collectClaims(registry: Registry): void {
    for (const [name, help, figure] of claimFigures) {
      const gauge = new Gauge({
        name: `kubelet_volume_stats_${name}`,
        help,
        labelNames: claimLabels,
        registers: [registry],
        collect: async () => {
          const all = await this.#readings.claims();
          gauge.reset();
          // Of a claim that several pods have, once.
          for (const { namespace, claim, space } of all) {
            gauge.set({ namespace, persistentvolumeclaim: claim }, figure(space));
          }
        },
      });
    }
  }
}
