// What the metrics server reads of a node: its own use, and that of pods and containers that run.
import { expect, test } from 'vitest';
import { readUsage } from '../../../../src/kubelet/node/resource-usage.ts';
import { resourceMetrics } from '../../../../src/kubelet/server/resource-metrics.ts';
import { runtimeContainer, runtimePod } from '../support/runtime-pods.ts';

const stats = (id: string, cpuNs: bigint, bytes: bigint): object => ({
  attributes: { id },
  cpu: { timestamp: 7_000_000_000n, usageCoreNanoSeconds: { value: cpuNs } },
  memory: { workingSetBytes: { value: bytes } },
});

async function usage(list: readonly object[]) {
  const pod = runtimePod({
    containers: [
      runtimeContainer({ id: 'a', name: 'app', startedAt: 2_500_000_000n }),
      runtimeContainer({ id: 'b', name: 'side', startedAt: 3_000_000_000n }),
      runtimeContainer({ id: 'c', name: 'done', state: 'exited' }),
    ],
  });
  const runtime = { listContainerStats: async () => Promise.resolve({ stats: list } as never) };
  return readUsage(runtime, [pod], 9000);
}

test('containers that run are measured, each at its own moment, and pods by them', async () => {
  const { containers } = await usage([
    stats('a', 1_500_000_000n, 100n),
    stats('b', 500_000_000n, 50n),
    stats('c', 1n, 1n),
    stats('another', 1n, 1n),
  ]);
  const node = { cpuSeconds: 10, memoryBytes: 2048, atMs: 9000 };
  const lines = resourceMetrics({ node, containers }).split('\n');
  const { namespace, name } = runtimePod();
  const of = `namespace="${namespace}",pod="${name}"`;
  expect(lines.filter((line) => !line.startsWith('#') && line !== '')).toEqual([
    `container_cpu_usage_seconds_total{container="app",${of}} 1.5 7000`,
    `container_cpu_usage_seconds_total{container="side",${of}} 0.5 7000`,
    `container_memory_working_set_bytes{container="app",${of}} 100 7000`,
    `container_memory_working_set_bytes{container="side",${of}} 50 7000`,
    `container_start_time_seconds{container="app",${of}} 2.5 7000`,
    `container_start_time_seconds{container="side",${of}} 3 7000`,
    'node_cpu_usage_seconds_total 10 9000',
    'node_memory_working_set_bytes 2048 9000',
    `pod_cpu_usage_seconds_total{${of}} 2 7000`,
    `pod_memory_working_set_bytes{${of}} 150 7000`,
    'resource_scrape_error 0',
  ]);
  expect(lines.filter((line) => line.startsWith('# TYPE'))).toHaveLength(8);
});

test('the machine is measured, and what the runtime does not know is left out', async () => {
  const { node, containers } = await usage([{ attributes: { id: 'a' } }]);
  expect(node.cpuSeconds).toBeGreaterThan(0);
  expect(node.memoryBytes).toBeGreaterThan(0);
  const text = resourceMetrics({ node, containers });
  expect(text).toContain('container_start_time_seconds');
  expect(text).not.toContain('container_cpu_usage_seconds_total');
  expect(text).not.toContain('pod_memory_working_set_bytes');
});
