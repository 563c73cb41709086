import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { addBuildInfo } from './build-info.ts';
import { CertificateMetrics } from './certificate-metrics.ts';
import { ConnectionMetrics } from './connection-metrics.ts';
import { PodMetrics } from './pod-metrics.ts';
import { collectNodeMetrics } from './node-metrics.ts';
import { collectProcessMetrics } from './process-metrics.ts';
import { ReliefMetrics } from './relief-metrics.ts';
import { RestClientMetrics } from './rest-client-metrics.ts';
import { RuntimeEventMetrics } from './runtime-event-metrics.ts';
import { SliMetrics } from './sli-metrics.ts';
import { StorageMetrics } from './storage-metrics.ts';

/** What a kubelet has at the moment it is asked. */
export interface KubeletReadings {
  /** Pods with a sandbox that is ready. */
  readonly runningPods: number;
  /** Containers by state: `created`, `running`, `exited`, `unknown`. */
  readonly containers: ReadonlyMap<string, number>;
  readonly desiredPods: { readonly static: number; readonly others: number };
  readonly mirrorPods: number;
  /** Pods that run or will, or end. */
  readonly activePods: { readonly static: number; readonly others: number };
  /** Pods that are looked after, by where they are in their life: `sync`, `terminating`, `terminated`. */
  readonly workingPods: readonly WorkingPods[];
  /** Of the last good list of the runtime; seconds since the epoch, 0: there was none. */
  readonly lastListSeconds: number;
}

/** So many pods that are alike. */
export interface WorkingPods {
  readonly lifecycle: string;
  /** `desired`: a source has them; `orphan`: none, and `runtime_only`: none ever had. */
  readonly config: 'desired' | 'orphan' | 'runtime_only';
  readonly isStatic: boolean;
  readonly count: number;
}

const noReadings: KubeletReadings = {
  runningPods: 0,
  containers: new Map(),
  desiredPods: { static: 0, others: 0 },
  mirrorPods: 0,
  activePods: { static: 0, others: 0 },
  workingPods: [],
  lastListSeconds: 0,
};
const containerStates = ['created', 'running', 'exited', 'unknown'];
/** Upstream's edges: 5 ms to 163.84 s. */
const operationBuckets = Array.from({ length: 14 }, (_, power) => 0.005 * 2.5 ** power);

/** The kubelet's metrics under upstream's names, in a registry of their own. */
export class KubeletMetrics {
  readonly registry = new Registry();
  readonly slis = new SliMetrics();
  readonly restClient = new RestClientMetrics(this.registry);
  readonly pods = new PodMetrics(this.registry);
  readonly storage = new StorageMetrics(this.registry);
  readonly relief = new ReliefMetrics(this.registry);
  readonly certificates = new CertificateMetrics(this.registry);
  readonly runtimeEvents = new RuntimeEventMetrics(this.registry);
  readonly connections = new ConnectionMetrics(this.registry);
  #read: () => KubeletReadings = () => noReadings;
  readonly #requests = this.#counter(
    'http_requests_total',
    'Requests to the ports of the kubelet',
    ['method', 'path', 'server_type', 'long_running'],
  );
  readonly #operations = this.#counter(
    'runtime_operations_total',
    'Calls to the container runtime',
    ['operation_type'],
  );
  readonly #operationErrors = this.#counter(
    'runtime_operations_errors_total',
    'Calls to the container runtime that failed',
    ['operation_type'],
  );
  readonly #operationSeconds = new Histogram({
    name: 'kubelet_runtime_operations_duration_seconds',
    help: 'Time of a call to the container runtime in seconds',
    labelNames: ['operation_type'],
    buckets: operationBuckets,
    registers: [this.registry],
  });

  constructor(build: { readonly version: string; readonly nodeName: string }) {
    addBuildInfo(this.registry, build.version);
    this.#gauge('node_name', 'The name of the node: 1', ['node']).set({ node: build.nodeName }, 1);
    this.#collectReadings();
  }

  /** Adds the metrics of the process and of Node; only for a process that serves them. */
  collectProcess(): void {
    collectNodeMetrics(this.registry);
    collectProcessMetrics(this.registry);
  }

  /** Says where the readings come from. */
  collect(read: () => KubeletReadings): void {
    this.#read = read;
  }

  request(of: { readonly method: string; readonly path: string; readonly isMain: boolean }): void {
    const { method, path, isMain } = of;
    const longRunning = longRunningPaths.has(path);
    this.#requests.inc({
      method,
      path: knownPaths.has(path) ? path.slice(1) : 'other',
      server_type: isMain ? 'readwrite' : 'readonly',
      long_running: String(longRunning),
    });
  }

  /** `name` as CRI has it: `RunPodSandbox`. */
  runtimeCall(name: string, seconds: number, failed: boolean): void {
    const labels = { operation_type: operationType(name) };
    this.#operations.inc(labels);
    this.#operationSeconds.observe(labels, seconds);
    if (failed) this.#operationErrors.inc(labels);
    if (name === 'RunPodSandbox') this.pods.sandboxMade(seconds, failed);
  }

  #collectReadings(): void {
    this.#gauge('running_pods', 'Pods with a sandbox that is ready', [], (gauge) => {
      gauge.set(this.#read().runningPods);
    });
    const states = ['container_state'] as const;
    this.#gauge('running_containers', 'Containers, by their state', states, (gauge) => {
      for (const state of containerStates) {
        gauge.set({ container_state: state }, this.#read().containers.get(state) ?? 0);
      }
    });
    this.#gauge('desired_pods', 'Pods that the sources have', ['static'] as const, (gauge) => {
      const { desiredPods } = this.#read();
      gauge.set({ static: 'true' }, desiredPods.static);
      gauge.set({ static: '' }, desiredPods.others);
    });
    this.#gauge('active_pods', 'Pods that run or will, or end', ['static'] as const, (gauge) => {
      const { activePods } = this.#read();
      gauge.set({ static: 'true' }, activePods.static);
      gauge.set({ static: '' }, activePods.others);
    });
    const working = ['lifecycle', 'config', 'static'] as const;
    this.#gauge('working_pods', 'Pods that are looked after', working, (gauge) => {
      gauge.reset();
      for (const { lifecycle, config, isStatic, count } of this.#read().workingPods) {
        gauge.set({ lifecycle, config, static: isStatic ? 'true' : '' }, count);
      }
    });
    this.#gauge('mirror_pods', 'Pods of the API that stand for static ones', [], (gauge) => {
      gauge.set(this.#read().mirrorPods);
    });
    this.#gauge(
      'pleg_last_seen_seconds',
      'Unix time of the last list of the runtime',
      [],
      (gauge) => {
        gauge.set(this.#read().lastListSeconds);
      },
    );
  }

  #counter<T extends string>(name: string, help: string, labelNames: readonly T[]): Counter<T> {
    return new Counter({
      name: `kubelet_${name}`,
      help,
      labelNames: [...labelNames],
      registers: [this.registry],
    });
  }

  #gauge<T extends string = never>(
    name: string,
    help: string,
    labelNames: readonly T[],
    collect?: (gauge: Gauge<T>) => void,
  ): Gauge<T> {
    const gauge = new Gauge<T>({
      name: `kubelet_${name}`,
      help,
      labelNames: [...labelNames],
      registers: [this.registry],
      ...(collect === undefined
        ? {}
        : {
            collect: () => {
              collect(gauge);
            },
          }),
    });
    return gauge;
  }
}

const longRunningPaths = new Set(['/exec', '/attach', '/portForward']);
/** A stranger may ask for anything: that makes no series. */
const knownPaths = new Set([
  ...longRunningPaths,
  '/configz',
  '/containerLogs',
  '/healthz',
  '/metrics',
  '/pods',
  '/run',
  '/runningpods',
  '/stats',
  '/logs',
]);

/** `run_podsandbox`, as upstream calls it. */
function operationType(name: string): string {
  return name
    .replace('PodSandbox', 'Podsandbox')
    .replaceAll(/(?<=[a-z])[A-Z]/g, '_$&')
    .toLowerCase();
}
