import { collectDefaultMetrics } from 'prom-client';
import type { Registry } from 'prom-client';

/** What prom-client reads from `monitorEventLoopDelay` of Node, whose timer has to run for it. */
const sampled = ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'] as const;
const dayMs = 86_400_000;

/**
 * Adds what prom-client says of the process and of Node, but for the distribution of the event loop's delay: to sample that, an idle process
 * would wake a hundred times a second, which is more than the agent does for 100 pods at rest (docs/performance.md, "The kubelet"). Its delay
 * at the moment of a scrape is there.
 */
export function collectNodeMetrics(register: Registry): void {
  collectDefaultMetrics({ register, eventLoopMonitoringPrecision: dayMs });
  for (const what of sampled) register.removeSingleMetric(`nodejs_eventloop_lag_${what}_seconds`);
}
