import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { AgentMetrics } from './agent-metrics.ts';
import { addBuildInfo, addFeatures, featuresMetric } from './build-info.ts';
import type { FeatureState } from './build-info.ts';
import { collectNodeMetrics } from './node-metrics.ts';
import { collectProcessMetrics } from './process-metrics.ts';
import { ConfigMetrics } from './config-metrics.ts';
import { RestClientMetrics } from './rest-client-metrics.ts';
import { collectServiceStates } from './service-state-metrics.ts';
import type { ServiceStates } from './service-state-metrics.ts';
import { SliMetrics } from './sli-metrics.ts';
import { ToolMetrics } from './tool-metrics.ts';
import { conntrackMetrics, countedPackets } from './kernel-metrics.ts';
import type { ReadConntrackUsage, ReadCountedPackets } from './kernel-metrics.ts';
import { RelayMetrics } from './relay-metrics.ts';
import type { RelayRow } from './relay-metrics.ts';
import type { FamilyLabel } from './family-label.ts';
import { TrafficMetrics } from './traffic-metrics.ts';
import type { TrafficReadings } from './traffic-metrics.ts';

/** 1 ms to 16.384 s, each twice the one before, kube-proxy's edges. */
const syncBuckets = Array.from({ length: 15 }, (_, k) => 0.001 * 2 ** k);

const steps = (from: number, to: number, step: number): number[] =>
  Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => from + i * step);

/** The edges of the network programming latency SLI: fine below a minute, up to five minutes; kube-proxy's begin at 0. */
export const networkBuckets: readonly number[] = [
  0,
  0.25,
  0.5,
  ...steps(1, 59, 1),
  ...steps(60, 115, 5),
  ...steps(120, 300, 30),
];

/**
 * The proxy's metrics under kube-proxy's names, labels and bucket edges, in a registry of their own.
 * All times are observed in seconds.
 */
export class ProxyMetrics {
  readonly registry = new Registry();
  readonly slis = new SliMetrics();
  #relayRows: (() => readonly RelayRow[]) | undefined;
  #removeServices: (() => void) | undefined;
  #traffic: TrafficMetrics | undefined;

  readonly syncDuration = this.#histogram(
    'sync_proxy_rules_duration_seconds',
    'Time of each sync in seconds',
  );
  readonly fullSyncDuration = this.#histogram(
    'sync_full_proxy_rules_duration_seconds',
    'Time of each full sync in seconds',
  );
  readonly partialSyncDuration = this.#histogram(
    'sync_partial_proxy_rules_duration_seconds',
    'Time of each partial sync in seconds',
  );
  readonly networkProgramming = this.#histogram(
    'network_programming_duration_seconds',
    'Time from the change of an endpoint until rules are written, in seconds',
    [...networkBuckets],
  );
  readonly lastSync = this.#gauge(
    'sync_proxy_rules_last_timestamp_seconds',
    'Unix time of the last successful sync',
    ['ip_family'],
  );
  readonly lastQueued = this.#gauge(
    'sync_proxy_rules_last_queued_timestamp_seconds',
    'Unix time a sync was last queued',
    ['ip_family'],
  );
  readonly endpointChangesPending = this.#gauge(
    'sync_proxy_rules_endpoint_changes_pending',
    'Endpoint changes not yet in the rules',
  );
  readonly endpointChanges = this.#counter(
    'sync_proxy_rules_endpoint_changes_total',
    'Endpoint changes seen',
  );
  readonly serviceChangesPending = this.#gauge(
    'sync_proxy_rules_service_changes_pending',
    'Service changes not yet in the rules',
  );
  readonly serviceChanges = this.#counter(
    'sync_proxy_rules_service_changes_total',
    'Service changes seen',
  );
  readonly rulesTotal = this.#gauge('sync_proxy_rules_iptables_total', 'Rules in force, by table', [
    'table',
    'ip_family',
  ]);
  readonly rulesLast = this.#gauge(
    'sync_proxy_rules_iptables_last',
    'Rules written by the last sync, by table',
    ['table', 'ip_family'],
  );
  readonly restoreFailures = this.#counter(
    'sync_proxy_rules_iptables_restore_failures_total',
    'Restores that failed',
    ['ip_family'],
  );
  readonly partialRestoreFailures = this.#counter(
    'sync_proxy_rules_iptables_partial_restore_failures_total',
    'Partial restores that failed',
    ['ip_family'],
  );
  readonly noLocalEndpoints = this.#gauge(
    'sync_proxy_rules_no_local_endpoints_total',
    'Service ports of policy Local without an endpoint on this node',
    ['traffic_policy', 'ip_family'],
  );
  readonly healthz = this.#counter('proxy_healthz_total', 'Answers of /healthz', ['code']);
  readonly livez = this.#counter('proxy_livez_total', 'Answers of /livez', ['code']);
  readonly conntrackDuration = this.#histogram(
    'conntrack_reconciler_sync_duration_seconds',
    'Time of each reconciling of connection tracking in seconds',
  );
  readonly conntrackDeleted = this.#counter(
    'conntrack_reconciler_deleted_entries_total',
    'Connection tracking entries deleted',
    ['ip_family'],
  );
  readonly agent = new AgentMetrics(this.registry);
  readonly tools = new ToolMetrics(this.registry);
  readonly restClient = new RestClientMetrics(this.registry);
  readonly drainingServers = new Gauge({
    name: 'switchyard_draining_real_servers',
    help: 'Real servers of ipvs mode that take no new connection and stay for those they have',
    labelNames: ['ip_family'],
    registers: [this.registry],
  });
  readonly oldestDrain = new Gauge({
    name: 'switchyard_draining_oldest_seconds',
    help: 'For how long the oldest of them has drained, in seconds; 0 where none does',
    labelNames: ['ip_family'],
    registers: [this.registry],
  });

  readonly config = new ConfigMetrics(this.registry);

  constructor(build: { readonly version: string }) {
    addBuildInfo(this.registry, build.version);
  }

  /** Adds the metrics of the process and of Node; only for a process that serves them. */
  collectProcess(): void {
    collectNodeMetrics(this.registry);
    collectProcessMetrics(this.registry);
  }

  /** Adds the metrics of what is carried by sockets of ours; for a mode that does. The last ones named count. */
  collectRelay(rows: () => readonly RelayRow[]): void {
    if (this.#relayRows === undefined) {
      void new RelayMetrics(this.registry, () => this.#relayRows?.() ?? []);
    }
    this.#relayRows = rows;
  }

  /** Adds the state of Services, in place of that of another agent. */
  collectServices(states: ServiceStates): void {
    this.#removeServices?.();
    this.#removeServices = collectServiceStates(this.registry, states);
  }

  /** Adds the state of the feature gates, in place of that of another agent. */
  features(features: readonly FeatureState[]): void {
    this.registry.removeSingleMetric(featuresMetric);
    addFeatures(this.registry, features);
  }

  /** Another mode begins: what the one before it said of its rules, servers and sockets is no more. */
  forgetMode(): void {
    for (const gauge of [
      this.rulesTotal,
      this.rulesLast,
      this.noLocalEndpoints,
      this.agent.unprogrammed,
      this.drainingServers,
      this.oldestDrain,
    ]) {
      gauge.reset();
    }
    if (this.#relayRows !== undefined) this.#relayRows = () => [];
  }

  /** Adds the metrics of the traffic of service ports, in place of those of another agent; undefined: nobody counts it. */
  collectTraffic(readings: TrafficReadings | undefined): void {
    this.#traffic?.remove();
    this.#traffic = readings && new TrafficMetrics(this.registry, readings);
  }

  /** Adds the metrics of connection tracking; for a mode that has to do with it. */
  collectConntrack(read: ReadConntrackUsage): void {
    conntrackMetrics(this.registry, read);
  }

  /** Adds kube-proxy's metrics of nfacct objects; undefined: the mode has none. */
  collectCountedPackets(read: ReadCountedPackets | undefined): void {
    countedPackets(this.registry, read);
  }

  /** Makes every series of a family exist, so that dashboards see 0 and not a gap; those that are there stay as they are. */
  openFamily(family: FamilyLabel): void {
    this.restoreFailures.inc({ ip_family: family }, 0);
    this.partialRestoreFailures.inc({ ip_family: family }, 0);
    this.conntrackDeleted.inc({ ip_family: family }, 0);
    this.agent.openFamily(family);
    for (const gauge of [this.drainingServers, this.oldestDrain]) {
      gauge.inc({ ip_family: family }, 0);
    }
    for (const policy of ['internal', 'external']) {
      this.noLocalEndpoints.inc({ traffic_policy: policy, ip_family: family }, 0);
    }
  }

  /** What drains in a family. */
  draining(family: FamilyLabel, now: { readonly count: number; readonly oldestMs: number }): void {
    this.drainingServers.set({ ip_family: family }, now.count);
    this.oldestDrain.set({ ip_family: family }, now.oldestMs / 1000);
  }

  #histogram(name: string, help: string, buckets: number[] = syncBuckets): Histogram<'ip_family'> {
    return new Histogram({
      name: `kubeproxy_${name}`,
      help,
      labelNames: ['ip_family'],
      buckets,
      registers: [this.registry],
    });
  }

  #gauge<T extends string = never>(name: string, help: string, labels: T[] = []): Gauge<T> {
    return new Gauge({
      name: `kubeproxy_${name}`,
      help,
      labelNames: labels,
      registers: [this.registry],
    });
  }

  #counter<T extends string = never>(name: string, help: string, labels: T[] = []): Counter<T> {
    return new Counter({
      name: `kubeproxy_${name}`,
      help,
      labelNames: labels,
      registers: [this.registry],
    });
  }
}
