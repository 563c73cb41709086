import { Counter, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';

/** Upstream's edges for what a node does: 5 ms to 163 s. */
const workBuckets = Array.from({ length: 14 }, (_, power) => 0.005 * 2.5 ** power);
/** Starting a pod takes as long as pulling its images. */
const startBuckets = [
  0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800,
  2700, 3600,
];
/** Prometheus' own. */
const cgroupBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const pullBuckets = [1, 5, 10, 20, 30, 60, 180, 300, 600, 900, 1200, 1800, 3600];

const mib = 1024 ** 2;
const gib = 1024 ** 3;
/** Sizes of images as upstream has them in a label. */
const sizes: readonly (readonly [belowBytes: number, text: string])[] = [
  [10 * mib, '0-10MB'],
  [100 * mib, '10MB-100MB'],
  [500 * mib, '100MB-500MB'],
  [gib, '500MB-1GB'],
  [5 * gib, '1GB-5GB'],
  [10 * gib, '5GB-10GB'],
  [20 * gib, '10GB-20GB'],
  [30 * gib, '20GB-30GB'],
  [40 * gib, '30GB-40GB'],
  [60 * gib, '40GB-60GB'],
  [100 * gib, '60GB-100GB'],
];

type ContainerType = 'container' | 'init_container' | 'ephemeral_container';

/** What becomes of pods, counted and timed under upstream's names. All durations in seconds. */
export class PodMetrics {
  readonly #registry: Registry;
  readonly #podStarts: Histogram;
  readonly #workerStarts: Histogram;
  readonly #work: Histogram<'operation_type'>;
  readonly #statuses: Histogram;
  readonly #lists: Histogram;
  readonly #listIntervals: Histogram;
  readonly #sandboxes: Histogram<'runtime_handler'>;
  readonly #sandboxErrors: Counter<'runtime_handler'>;
  readonly #started: Counter;
  readonly #startErrors: Counter;
  readonly #containers: Counter<'container_type'>;
  readonly #containerErrors: Counter<'container_type' | 'code'>;
  readonly #endings: Counter<'container_type' | 'exit_code'>;
  readonly #pulls: Histogram<'image_size_in_bytes'>;
  readonly #rejections: Counter<'reason'>;
  readonly #orphans: Counter;
  readonly #restarts: Counter<'static'>;
  readonly #cgroups: Histogram<'operation_type'>;

  constructor(registry: Registry) {
    this.#registry = registry;
    const handler = ['runtime_handler'] as const;
    this.#podStarts = this.#histogram(
      'pod_start_duration_seconds',
      'Time from when a pod was seen first until it ran, in seconds',
      startBuckets,
    );
    this.#workerStarts = this.#histogram(
      'pod_worker_start_duration_seconds',
      'Time from when a pod was seen first until it was looked after, in seconds',
      workBuckets,
    );
    this.#work = this.#histogram(
      'pod_worker_duration_seconds',
      'Time of one operation on a pod, in seconds',
      workBuckets,
      ['operation_type'] as const,
    );
    this.#statuses = this.#histogram(
      'pod_status_sync_duration_seconds',
      'Time until the API server had a changed status of a pod, in seconds',
      [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20, 30, 45, 60],
    );
    this.#lists = this.#histogram(
      'pleg_relist_duration_seconds',
      'Time of one list of all pods of the runtime, in seconds',
      workBuckets,
    );
    this.#listIntervals = this.#histogram(
      'pleg_relist_interval_seconds',
      'Time between two lists of the runtime, in seconds',
      workBuckets,
    );
    this.#sandboxes = this.#histogram(
      'run_podsandbox_duration_seconds',
      'Time to make a sandbox, in seconds',
      workBuckets,
      handler,
    );
    this.#sandboxErrors = this.#counter(
      'run_podsandbox_errors_total',
      'Sandboxes that could not be made',
      handler,
    );
    this.#started = this.#counter('started_pods_total', 'Pods for which a sandbox was to be made');
    this.#startErrors = this.#counter(
      'started_pods_errors_total',
      'Those for which it could not be',
    );
    this.#containers = this.#counter('started_containers_total', 'Containers to be started', [
      'container_type',
    ] as const);
    this.#containerErrors = this.#counter(
      'started_containers_errors_total',
      'Containers that could not be started, by the reason that their status has',
      ['container_type', 'code'] as const,
    );
    this.#endings = this.#counter(
      'terminated_containers_total',
      'Containers that ended, by their exit codes',
      ['container_type', 'exit_code'] as const,
    );
    this.#pulls = this.#histogram(
      'image_pull_duration_seconds',
      'Time to pull an image, by its size, in seconds',
      pullBuckets,
      ['image_size_in_bytes'] as const,
    );
    this.#rejections = this.#counter('admission_rejections_total', 'Pods that were not let in', [
      'reason',
    ] as const);
    this.#orphans = this.#counter(
      'orphaned_runtime_pods_total',
      'Pods of the runtime that no source had',
    );
    this.#restarts = this.#counter(
      'restarted_pods_total',
      'Pods that came again with the same UID when they had ended',
      ['static'] as const,
    );
    this.#cgroups = this.#histogram(
      'cgroup_manager_duration_seconds',
      'Time to make, change or remove the cgroup of a pod or of a class of pods, in seconds',
      cgroupBuckets,
      ['operation_type'] as const,
    );
  }

  podRunning(seconds: number): void {
    this.#podStarts.observe(seconds);
  }

  workerStarted(seconds: number): void {
    this.#workerStarts.observe(seconds);
  }

  worked(operation: 'sync' | 'kill', seconds: number): void {
    this.#work.observe({ operation_type: operation }, seconds);
  }

  statusWritten(seconds: number): void {
    this.#statuses.observe(seconds);
  }

  /** `sinceLast`: from the begin of the list before; undefined: it is the first. */
  listed(seconds: number, sinceLast: number | undefined): void {
    this.#lists.observe(seconds);
    if (sinceLast !== undefined) this.#listIntervals.observe(sinceLast);
  }

  sandboxMade(seconds: number, failed: boolean): void {
    this.#started.inc();
    this.#sandboxes.observe({ runtime_handler: '' }, seconds);
    if (!failed) return;
    this.#startErrors.inc();
    this.#sandboxErrors.inc({ runtime_handler: '' });
  }

  containerStarting(type: ContainerType): void {
    this.#containers.inc({ container_type: type });
  }

  containerFailed(type: ContainerType, reason: string): void {
    this.#containerErrors.inc({ container_type: type, code: reason });
  }

  containerEnded(type: ContainerType, exitCode: number): void {
    this.#endings.inc({ container_type: type, exit_code: String(exitCode) });
  }

  pulled(seconds: number, bytes: number): void {
    const size = sizes.find(([below]) => bytes < below)?.[1] ?? 'GT100GB';
    this.#pulls.observe({ image_size_in_bytes: size }, seconds);
  }

  rejected(reason: string): void {
    this.#rejections.inc({ reason });
  }

  orphaned(): void {
    this.#orphans.inc();
  }

  restarted(isStatic: boolean): void {
    this.#restarts.inc({ static: isStatic ? 'true' : '' });
  }

  cgroupChanged(operation: 'create' | 'update' | 'destroy', seconds: number): void {
    this.#cgroups.observe({ operation_type: operation }, seconds);
  }

  #counter<T extends string = never>(
    name: string,
    help: string,
    labelNames: readonly T[] = [],
  ): Counter<T> {
    const registers = [this.#registry];
    return new Counter({ name: `kubelet_${name}`, help, labelNames: [...labelNames], registers });
  }

  #histogram<T extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly T[] = [],
  ): Histogram<T> {
    return new Histogram({
      name: `kubelet_${name}`,
      help,
      labelNames: [...labelNames],
      buckets: [...buckets],
      registers: [this.#registry],
    });
  }
}
