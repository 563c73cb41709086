import type { SyncReport } from '../backends/sync-report.ts';
import type { Clock } from '../clock.ts';
import { familyLabel } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import type { ServicePort, ServicePortKey } from '../services/service-port.ts';
import type { ServiceCatalog } from '../services/service-catalog.ts';
import type { ProxyMetrics } from '../telemetry/metrics.ts';
import type { FamilyLabel } from '../telemetry/family-label.ts';

/** Tells a sync's end: what it did, or what kind of sync failed. */
export type SyncDone = (outcome: SyncReport | 'full' | 'partial') => void;

/** Services, and services' endpoints, with changes that no sync has taken yet. */
export type Pending = ServiceCatalog['pending'];

/** Tables that rules are counted in, kube-proxy's: in mangle is a chain without rules. */
const ruleTables = ['filter', 'nat'] as const;

export interface SyncMeterOptions {
  readonly metrics: ProxyMetrics;
  readonly clock: Clock;
  readonly family: Family;
  /** Another one counts objects that are told of, until this one begins. */
  readonly takesOver?: boolean;
}

/** Keeps one family's metrics of the sync loop. */
export class SyncMeter {
  readonly #metrics: ProxyMetrics;
  readonly #clock: Clock;
  readonly #label: { readonly ip_family: FamilyLabel };
  #hasBegun = false;
  /** What is told is not counted by somebody else. */
  #counts: boolean;
  /** What is told when it begins. */
  #queuedMs: number | undefined;
  #waiting: Pending | undefined;

  constructor({ metrics, clock, family, takesOver = false }: SyncMeterOptions) {
    this.#metrics = metrics;
    this.#clock = clock;
    this.#counts = !takesOver;
    this.#label = { ip_family: familyLabel(family) };
    metrics.openFamily(this.#label.ip_family);
  }

  /** From now on it says what waits: before, that would be said of another one, which works while this one only lists. */
  begin(): void {
    this.#hasBegun = true;
    this.#counts = true;
    this.#tellWaiting();
  }

  /** A Service was told of; kube-proxy counts each. */
  serviceTold(pending: Pending, changes: boolean): void {
    this.#pending(pending);
    if (!this.#counts) return;
    this.#metrics.agent.objectTold(this.#label.ip_family, 'Service', changes);
    this.#metrics.serviceChanges.inc();
  }

  /** An EndpointSlice was told of; kube-proxy counts those that change something. */
  sliceTold(pending: Pending, changes: boolean): void {
    if (changes) this.#pending(pending);
    if (!this.#counts) return;
    this.#metrics.agent.objectTold(this.#label.ip_family, 'EndpointSlice', changes);
    if (changes) this.#metrics.endpointChanges.inc();
  }

  /** Pending changes went into a sync. */
  taken(pending: Pending): void {
    this.#pending(pending);
  }

  queued(): void {
    this.#queuedMs = this.#clock.now();
    this.#tellWaiting();
  }

  /** A sync starts; durations are observed for failures too. */
  start(): SyncDone {
    const startMs = this.#clock.monotonic();
    return (outcome) => {
      const seconds = (this.#clock.monotonic() - startMs) / 1000;
      const failed = typeof outcome === 'string';
      const full = failed ? outcome === 'full' : outcome.full;
      const { syncDuration, fullSyncDuration, partialSyncDuration } = this.#metrics;
      syncDuration.observe(this.#label, seconds);
      (full ? fullSyncDuration : partialSyncDuration).observe(this.#label, seconds);
      const refused = failed
        ? { full: Number(full), partial: Number(!full) }
        : outcome.refusedWrites;
      this.#metrics.restoreFailures.inc(this.#label, refused.full + refused.partial);
      this.#metrics.partialRestoreFailures.inc(this.#label, refused.partial);
    };
  }

  /** The rules for changes made at these times (milliseconds since the epoch) are in force now. */
  programmed(triggerTimesMs: readonly number[]): void {
    const nowMs = this.#clock.now();
    for (const triggerMs of triggerTimesMs) {
      // another machine's date: it may be ahead of ours
      const seconds = Math.max(0, nowMs - triggerMs) / 1000;
      this.#metrics.networkProgramming.observe(this.#label, seconds);
    }
    this.#metrics.lastSync.set(this.#label, nowMs / 1000);
  }

  /** A sync is to be tried again. */
  failed(): void {
    this.#metrics.agent.syncFailed(this.#label.ip_family);
  }

  /** Somebody else changed our rules. */
  foreign(): void {
    this.#metrics.agent.changedByOthers(this.#label.ip_family);
  }

  conntrackFailed(): void {
    this.#metrics.agent.conntrackFailed(this.#label.ip_family);
  }

  /** What is in force after a sync. */
  gauges(servicePorts: ReadonlyMap<ServicePortKey, ServicePort>, report: SyncReport): void {
    const { rulesTotal, rulesLast, noLocalEndpoints, agent } = this.#metrics;
    for (const table of ruleTables) {
      rulesTotal.set({ table, ...this.#label }, report.rulesTotal[table] ?? 0);
      rulesLast.set({ table, ...this.#label }, report.rulesWritten[table] ?? 0);
    }
    const ports = servicePorts.values().filter(lacksLocalEndpoints).toArray();
    const count = (policy: 'internalPolicy' | 'externalPolicy'): number =>
      ports.filter((port) => port[policy] === 'Local').length;
    noLocalEndpoints.set({ traffic_policy: 'internal', ...this.#label }, count('internalPolicy'));
    noLocalEndpoints.set({ traffic_policy: 'external', ...this.#label }, count('externalPolicy'));
    agent.unprogrammed.set(this.#label, report.unprogrammed.length);
  }

  #pending(pending: Pending): void {
    this.#waiting = pending;
    this.#tellWaiting();
  }

  #tellWaiting(): void {
    if (!this.#hasBegun) return;
    const { lastQueued, serviceChangesPending, endpointChangesPending } = this.#metrics;
    if (this.#queuedMs !== undefined) lastQueued.set(this.#label, this.#queuedMs / 1000);
    if (this.#waiting === undefined) return;
    serviceChangesPending.set(this.#waiting.services);
    endpointChangesPending.set(this.#waiting.endpoints);
  }
}

function lacksLocalEndpoints(port: ServicePort): boolean {
  const { hasAny, local } = port.endpoints;
  return hasAny && local !== undefined && local.length === 0;
}
