// `npm run metrics`: writes the table of docs/metrics.md from the metrics the agent has.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { collectProcessMetrics } from '../src/telemetry/process-metrics.ts';
import { ProxyMetrics } from '../src/telemetry/metrics.ts';

const page = join(import.meta.dirname, '..', 'docs', 'metrics.md');

/** The page as it is, and as the program's metrics make it. */
export async function metricsPage(): Promise<{
  readonly committed: string;
  readonly made: string;
}> {
  const committed = readFileSync(page, 'utf8');
  const rows = await tableRows();
  const table = ['| name | type | labels | meaning |', '|---|---|---|---|', ...rows].join('\n');
  return { committed, made: committed.replace(/^\| name \|.*(?:\n\|.*)*/m, () => table) };
}

/** Every metric that there can be, in any mode and with any flag. */
export function everyMetric(): ProxyMetrics {
  const metrics = new ProxyMetrics({ version: '' });
  collectProcessMetrics(metrics.registry);
  metrics.collectRelay(() => []);
  const none = { series: [], leftOut: {} };
  metrics.collectServices({ rows: () => [], series: () => none });
  metrics.features([]);
  metrics.collectConntrack(async () => undefined);
  metrics.collectCountedPackets(async () => undefined);
  const nothing = { rows: () => [], named: 0, limit: 0, lastReadMs: 0, failures: 0 };
  metrics.collectTraffic({ hasBytes: true, ...nothing });
  return metrics;
}

async function tableRows(): Promise<readonly string[]> {
  const { registry } = everyMetric();
  const described = await registry.getMetricsAsJSON();
  return described.map(({ name, type, help }) => {
    const labels = labelNames(registry.getSingleMetric(name)).toSorted().join(', ');
    return `| \`${name}\` | ${String(type)} | ${labels === '' ? '–' : labels} | ${help} |`;
  });
}

/** prom-client keeps them on each metric, though its types do not say so. */
function labelNames(metric: object | undefined): readonly string[] {
  const names: unknown = metric !== undefined && 'labelNames' in metric ? metric.labelNames : [];
  return names as readonly string[];
}

if (import.meta.main) writeFileSync(page, (await metricsPage()).made);
