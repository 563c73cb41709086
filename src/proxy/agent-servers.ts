import type { Clock } from '../clock.ts';
import type { ProxyConfig } from '../config/proxy-config.ts';
import type { Log } from '../telemetry/log.ts';
import type { ProxyMetrics } from '../telemetry/metrics.ts';
import { profilingHandler } from '../telemetry/profiling.ts';
import type { Verbosity } from '../telemetry/profiling.ts';
import { flagzPage, statuszPage } from '../telemetry/z-pages.ts';
import { healthHandler } from './health.ts';
import type { ProxyHealth } from './health.ts';
import { metricsHandler } from './metrics-handler.ts';
import type { ServerAnswers } from './process-servers.ts';
import type { OpenEvents } from './service-events.ts';

export interface AgentAnswersOptions {
  readonly config: Pick<ProxyConfig, 'mode' | 'profiling'>;
  readonly health: ProxyHealth;
  readonly metrics: ProxyMetrics;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: Pick<OpenEvents, 'node'> | undefined;
  /** What /configz shows. */
  readonly effectiveConfig?: (() => object) | undefined;
  /** What /statusz tells besides the mode. */
  readonly version: string;
  /** `name=value` of each flag, for /flagz; left out: there is none. */
  readonly flagLines?: readonly string[] | undefined;
  /** What /debug/flags/v changes. */
  readonly verbosity?: Verbosity | undefined;
}

/** What an agent answers at the servers of the process; where a port is taken an Event on the Node says so. */
export function answersOf(options: AgentAnswersOptions): ServerAnswers {
  const { health, metrics, clock, events } = options;
  return {
    health: healthHandler(health, clock, metrics),
    metrics: metricsHandler(metricsOptions(options)),
    onFailure: (which, why) => events?.node.serverFailed(which, why),
  };
}

function metricsOptions({
  config: { mode, profiling },
  metrics,
  clock,
  log,
  effectiveConfig,
  version,
  flagLines,
  verbosity,
}: AgentAnswersOptions): Parameters<typeof metricsHandler>[0] {
  const debug =
    profiling && verbosity !== undefined ? profilingHandler({ clock, log, verbosity }) : undefined;
  const pages = new Map([['/statusz', () => statusz(version, mode)]]);
  if (flagLines !== undefined) pages.set('/flagz', () => flagzPage(flagLines));
  return { metrics, mode, config: effectiveConfig, pages, debug };
}

const paths = ['/configz', '/flagz', '/healthz', '/metrics', '/metrics/slis', '/proxyMode'];

function statusz(version: string, mode: string): string {
  return statuszPage({
    startedMs: performance.timeOrigin,
    upMs: process.uptime() * 1000,
    version,
    mode,
    paths,
  });
}
