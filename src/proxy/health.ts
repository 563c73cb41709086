import type { Family } from '../ip/address.ts';
import { familyLabel } from '../ip/address.ts';
import type { Clock } from '../clock.ts';
import { requestUrl } from '../telemetry/http-server.ts';
import type { HttpHandler } from '../telemetry/http-server.ts';
import type { ProxyMetrics } from '../telemetry/metrics.ts';
import type { FamilyLabel } from '../telemetry/family-label.ts';
import type { HealthCheck } from '../telemetry/sli-metrics.ts';
import type { NodeObject } from '../services/objects.ts';

/** The taint by which the cluster autoscaler announces a node's end; it takes traffic no more. */
const deletionTaint = 'ToBeDeletedByClusterAutoscaler';

/** One family's state. */
interface FamilyHealth {
  readonly healthy: boolean;
  /** Last successful sync, milliseconds since the epoch. */
  readonly lastUpdatedMs: number;
}

export interface HealthReport {
  readonly healthy: boolean;
  readonly nodeEligible: boolean;
  /** Families that reported at least once. */
  readonly families: ReadonlyMap<Family, FamilyHealth>;
}

export interface ProxyHealthOptions {
  readonly clock: Clock;
  /** A change that waits longer than this to be written makes the proxy unhealthy: 2 × syncPeriod. */
  readonly timeoutMs: number;
  /** Whether the node's object can be known at all: with manifests alone, no Node means nothing. */
  readonly nodeExpected: boolean;
}

/**
 * Whether the proxy does its work: unhealthy where a family has a change that has waited for more
 * than the time-out. A quiet cluster stays healthy; before anything happened it counts as healthy.
 */
export class ProxyHealth {
  readonly #options: ProxyHealthOptions;
  readonly #updatedMs = new Map<Family, number>();
  /** The oldest request no successful sync has answered, on the clock that nobody sets. */
  readonly #pendingMs = new Map<Family, number>();
  /** The oldest request since the running sync started: that sync may have missed it. */
  readonly #laterMs = new Map<Family, number>();
  #node: NodeObject | undefined;

  constructor(options: ProxyHealthOptions) {
    this.#options = options;
  }

  /** A sync was asked for. */
  queued(family: Family): void {
    const now = this.#options.clock.monotonic();
    if (!this.#pendingMs.has(family)) this.#pendingMs.set(family, now);
    if (!this.#laterMs.has(family)) this.#laterMs.set(family, now);
  }

  /** A sync starts: it answers what was asked for so far. */
  started(family: Family): void {
    this.#laterMs.delete(family);
  }

  /** A sync ended well, or the loop started. */
  updated(family: Family): void {
    const later = this.#laterMs.get(family);
    if (later === undefined) this.#pendingMs.delete(family);
    else this.#pendingMs.set(family, later);
    this.#updatedMs.set(family, this.#options.clock.now());
  }

  /** A sync failed: a change is waiting, whatever asked for the sync. */
  failed(family: Family): void {
    this.queued(family);
  }

  /** This process stood still for so long: nothing could be written then, which says nothing about it. */
  stoodStill(ms: number): void {
    for (const times of [this.#pendingMs, this.#laterMs]) {
      for (const [family, sinceMs] of times) times.set(family, sinceMs + ms);
    }
  }

  /** The newest Node object; undefined when it is not known or gone. */
  setNode(node: NodeObject | undefined): void {
    this.#node = node;
  }

  /** By the label of metrics: families that reported at least once. */
  byFamily(): ReadonlyMap<FamilyLabel, boolean> {
    const { families } = this.report();
    return new Map([...families].map(([family, { healthy }]) => [familyLabel(family), healthy]));
  }

  /** What /livez and /healthz look at, one by one. */
  checks(): readonly HealthCheck[] {
    const { families, nodeEligible } = this.report();
    const types = ['livez', 'healthz'] as const;
    return [
      ...[...families].flatMap(([family, { healthy }]) =>
        types.map((type) => ({ name: familyLabel(family), type, succeeds: healthy })),
      ),
      { name: 'node', type: 'healthz', succeeds: nodeEligible },
    ];
  }

  report(): HealthReport {
    const now = this.#options.clock.monotonic();
    const families = new Map<Family, FamilyHealth>();
    for (const [family, lastUpdatedMs] of this.#updatedMs) {
      const pending = this.#pendingMs.get(family);
      const healthy = pending === undefined || now - pending < this.#options.timeoutMs;
      families.set(family, { healthy, lastUpdatedMs });
    }
    return {
      healthy: [...families.values()].every((each) => each.healthy),
      nodeEligible: this.#nodeEligible(),
      families,
    };
  }

  #nodeEligible(): boolean {
    if (this.#node === undefined) return !this.#options.nodeExpected;
    return !this.#node.deleting && !this.#node.taintKeys.includes(deletionTaint);
  }
}

/**
 * Answers /healthz (healthy and node eligible), /livez (healthy) and /livez/ping (this process answers, whatever its rules are like);
 * every other path is 404.
 */
export function healthHandler(
  health: ProxyHealth,
  clock: Clock,
  metrics: ProxyMetrics,
): HttpHandler {
  return (request, response) => {
    const path = requestUrl(request).pathname;
    if (path === '/livez/ping') {
      response.writeHead(200, { 'Content-Type': 'text/plain; charset=utf-8' }).end('ok\n');
      return;
    }
    if (path !== '/healthz' && path !== '/livez') {
      response.writeHead(404, { 'Content-Type': 'text/plain; charset=utf-8' }).end('not found\n');
      return;
    }
    const withNode = path === '/healthz';
    const report = health.report();
    const code = report.healthy && (!withNode || report.nodeEligible) ? 200 : 503;
    (withNode ? metrics.healthz : metrics.livez).inc({ code: String(code) });
    metrics.slis.asked(withNode ? 'healthz' : 'livez');
    response.writeHead(code, {
      'Content-Type': 'application/json',
      'X-Content-Type-Options': 'nosniff',
    });
    response.end(`${JSON.stringify(bodyOf(report, clock.now(), withNode))}\n`);
  };
}

function bodyOf(report: HealthReport, nowMs: number, withNode: boolean): object {
  const stale = [...report.families.values()].filter((each) => !each.healthy);
  const lastMs = report.healthy ? nowMs : Math.min(...stale.map((each) => each.lastUpdatedMs));
  const status = [...report.families].map(([family, { healthy, lastUpdatedMs }]) => [
    familyLabel(family),
    { lastUpdated: timeText(lastUpdatedMs), healthy },
  ]);
  return {
    lastUpdated: timeText(lastMs),
    currentTime: timeText(nowMs),
    ...(withNode ? { nodeEligible: report.nodeEligible } : {}),
    healthy: report.healthy,
    status: Object.fromEntries(status),
  };
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}
