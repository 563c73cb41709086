import type { SyncReport } from '../backends/backend.ts';
import type { Clock } from '../clock.ts';
import { familyLabel } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import type { ServicePort, ServicePortKey } from '../services/service-port.ts';
import type { FamilyLabel, ProxyMetrics } from '../telemetry/metrics.ts';

/** Tells a sync's end: what it did, or what kind of sync failed. */
export type SyncDone = (outcome: SyncReport | 'full' | 'partial') => void;

/** Keeps one family's metrics of the sync loop. */
export class SyncMeter {
  readonly #metrics: ProxyMetrics;
  readonly #clock: Clock;
  readonly #label: { readonly ip_family: FamilyLabel };
  readonly #services = new Set<string>();
  readonly #slices = new Set<string>();

  constructor(metrics: ProxyMetrics, clock: Clock, family: Family) {
    this.#metrics = metrics;
    this.#clock = clock;
    this.#label = { ip_family: familyLabel(family) };
    metrics.openFamily(this.#label.ip_family);
  }

  serviceChanged(key: string): void {
    this.#services.add(key);
    this.#metrics.serviceChanges.inc();
    this.#metrics.serviceChangesPending.set(this.#services.size);
  }

  sliceChanged(key: string): void {
    this.#slices.add(key);
    this.#metrics.endpointChanges.inc();
    this.#metrics.endpointChangesPending.set(this.#slices.size);
  }

  /** All pending changes went into a sync. */
  taken(): void {
    this.#services.clear();
    this.#slices.clear();
    this.#metrics.serviceChangesPending.set(0);
    this.#metrics.endpointChangesPending.set(0);
  }

  queued(): void {
    this.#metrics.lastQueued.set(this.#label, this.#clock.now() / 1000);
  }

  /** A sync starts; durations are observed for failures too. */
  start(): SyncDone {
    const startMs = this.#clock.now();
    return (outcome) => {
      const seconds = (this.#clock.now() - startMs) / 1000;
      const failed = typeof outcome === 'string';
      const full = failed ? outcome === 'full' : outcome.full;
      const { syncDuration, fullSyncDuration, partialSyncDuration } = this.#metrics;
      syncDuration.observe(this.#label, seconds);
      (full ? fullSyncDuration : partialSyncDuration).observe(this.#label, seconds);
      if (!failed) return;
      this.#metrics.restoreFailures.inc(this.#label);
      if (!full) this.#metrics.partialRestoreFailures.inc(this.#label);
    };
  }

  /** The rules for changes made at these times (milliseconds since the epoch) are in force now. */
  programmed(triggerTimesMs: readonly number[]): void {
    const nowMs = this.#clock.now();
    for (const triggerMs of triggerTimesMs) {
      this.#metrics.networkProgramming.observe(this.#label, (nowMs - triggerMs) / 1000);
    }
    this.#metrics.lastSync.set(this.#label, nowMs / 1000);
  }

  /** What is in force after a sync. */
  gauges(servicePorts: ReadonlyMap<ServicePortKey, ServicePort>, report: SyncReport): void {
    const { rulesTotal, rulesLast, noLocalEndpoints, unprogrammed } = this.#metrics;
    for (const [table, rules] of Object.entries(report.rulesTotal)) {
      rulesTotal.set({ table, ...this.#label }, rules);
    }
    for (const [table, rules] of Object.entries(report.rulesWritten)) {
      rulesLast.set({ table, ...this.#label }, rules);
    }
    const ports = servicePorts.values().filter(lacksLocalEndpoints).toArray();
    const count = (policy: 'internalPolicy' | 'externalPolicy'): number =>
      ports.filter((port) => port[policy] === 'Local').length;
    noLocalEndpoints.set({ traffic_policy: 'internal', ...this.#label }, count('internalPolicy'));
    noLocalEndpoints.set({ traffic_policy: 'external', ...this.#label }, count('externalPolicy'));
    unprogrammed.set(this.#label, report.unprogrammed.length);
  }
}

function lacksLocalEndpoints(port: ServicePort): boolean {
  const { hasAny, local } = port.endpoints;
  return hasAny && local !== undefined && local.length === 0;
}
