// `npm run metrics`: writes the tables of docs/metrics.md from the metrics that both agents have.
import { writeFileSync } from 'node:fs';
import type { Registry } from 'prom-client';
import { ProbeMeter } from '../src/kubelet/probes/probe-meter.ts';
import { cadvisorFamilies } from '../src/kubelet/server/figures/cadvisor-families.ts';
import { KubeletMetrics } from '../src/telemetry/kubelet-metrics.ts';
import { ProxyMetrics } from '../src/telemetry/metrics.ts';
import { collectProcessMetrics } from '../src/telemetry/process-metrics.ts';
import { madePage } from './made-page.ts';
import type { MadePage } from './made-page.ts';

/** The page as it is, and as the program's metrics make it. */
export async function metricsPage(): Promise<MadePage> {
  return madePage('metrics.md', {
    'proxy-metrics': await table(everyMetric().registry),
    'kubelet-metrics': await table(everyKubeletMetric().registry),
    'probe-metrics': await table(new ProbeMeter().registry),
    'container-metrics': ['| name | type | meaning |', '|---|---|---|', ...containerRows()],
  });
}

/** Every metric of the proxy that there can be, in any mode and with any flag. */
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

/** Every one of the kubelet's. */
export function everyKubeletMetric(): KubeletMetrics {
  const metrics = new KubeletMetrics({ version: '', nodeName: '' });
  collectProcessMetrics(metrics.registry);
  return metrics;
}

function containerRows(): readonly string[] {
  return cadvisorFamilies((device) => device).map(
    ({ name, type, help }) => `| \`${name}\` | ${type} | ${help} |`,
  );
}

async function table(registry: Registry): Promise<readonly string[]> {
  const described = await registry.getMetricsAsJSON();
  const rows = described.map(({ name, type, help }) => {
    const labels = labelNames(registry.getSingleMetric(name)).toSorted().join(', ');
    return `| \`${name}\` | ${String(type)} | ${labels === '' ? '–' : labels} | ${help} |`;
  });
  return ['| name | type | labels | meaning |', '|---|---|---|---|', ...rows];
}

/** prom-client keeps them on each metric, though its types do not say so. */
function labelNames(metric: object | undefined): readonly string[] {
  const names: unknown = metric !== undefined && 'labelNames' in metric ? metric.labelNames : [];
  return names as readonly string[];
}

if (import.meta.main) {
  const { path, made } = await metricsPage();
  writeFileSync(path, made);
}
