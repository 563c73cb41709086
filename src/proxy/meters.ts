import { defaultLockPaths, waitsForXtablesLock } from '../host/xtables-lock.ts';
import type { Clock } from '../clock.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import type { ProxyMetrics } from '../telemetry/metrics.ts';
import { meteredTools } from './metered-tools.ts';

export interface MetersOptions {
  readonly tools: ToolRunner;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The tools with a meter at each run. */
export function openMeters(
  { tools, clock, env }: MetersOptions,
  metrics: ProxyMetrics,
): ToolRunner {
  const paths = defaultLockPaths(env);
  const waitsForLock = async (): Promise<boolean> => waitsForXtablesLock(paths, process.pid);
  return meteredTools({ tools, metrics: metrics.tools, clock, waitsForLock });
}
