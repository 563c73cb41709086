import type { Clock } from '../clock.ts';
import type { BindConfig, ProxyConfig } from '../config/proxy-config.ts';
import { HttpServer } from '../telemetry/http-server.ts';
import type { HttpHandler } from '../telemetry/http-server.ts';
import type { Log } from '../telemetry/log.ts';
import type { ProxyMetrics } from '../telemetry/metrics.ts';
import { profilingHandler } from '../telemetry/profiling.ts';
import type { Verbosity } from '../telemetry/profiling.ts';
import { healthHandler } from './health.ts';
import type { ProxyHealth } from './health.ts';
import { metricsHandler } from './metrics-handler.ts';
import type { OpenEvents } from './service-events.ts';

export interface AgentServersOptions {
  readonly config: ProxyConfig;
  readonly health: ProxyHealth;
  readonly metrics: ProxyMetrics;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: OpenEvents | undefined;
  /** What /configz shows. */
  readonly effectiveConfig?: (() => object) | undefined;
  /** What /debug/flags/v changes. */
  readonly verbosity?: Verbosity | undefined;
}

/**
 * Starts the health server and the metrics server, where they are configured; where a port is taken an Event on the Node says
 * so. Rejects where a taken port is to be the end (`--bind-address-hard-fail`).
 */
export async function startServers(options: AgentServersOptions): Promise<readonly HttpServer[]> {
  const { config, health, metrics, clock, log, events } = options;
  const servers: HttpServer[] = [];
  const start = async (
    which: 'health' | 'metrics',
    bind: BindConfig | undefined,
    handler: HttpHandler,
  ): Promise<void> => {
    if (bind === undefined) return;
    const onFailure = (why: string): void => events?.node.serverFailed(which, why);
    const server = new HttpServer({
      ...bind,
      name: `${which} server`,
      handler,
      log,
      clock,
      hardFail: config.bindAddressHardFail,
      onFailure,
    });
    servers.push(server);
    await server.start();
  };
  metrics.collectProcess();
  try {
    await start('health', config.healthzBind, healthHandler(health, clock, metrics));
    await start('metrics', config.metricsBind, metricsHandler(metricsOptions(options)));
  } catch (error) {
    await Promise.all(servers.map(async (server) => server.stop()));
    await events?.flush(); // else nobody but the log would say why
    throw error;
  }
  return servers;
}

function metricsOptions({
  config: { mode, profiling },
  metrics,
  clock,
  log,
  effectiveConfig,
  verbosity,
}: AgentServersOptions): Parameters<typeof metricsHandler>[0] {
  const debug =
    profiling && verbosity !== undefined ? profilingHandler({ clock, log, verbosity }) : undefined;
  return { metrics, mode, config: effectiveConfig, debug };
}
