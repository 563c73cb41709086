import { expect, test } from 'vitest';
import { KubeletMetrics } from '../../../src/telemetry/kubelet-metrics.ts';

/** What the kubelet's /metrics say, under upstream's names. */

const made = (): KubeletMetrics => new KubeletMetrics({ version: '1.37.0', nodeName: 'n1' });

test('what there is now is read when it is asked for', async () => {
  const metrics = made();
  metrics.collect(() => ({
    runningPods: 2,
    containers: new Map([['running', 3]]),
    desiredPods: { static: 1, others: 4 },
    mirrorPods: 1,
    lastListSeconds: 1_700_000_000,
  }));
  const lines = (await metrics.registry.metrics())
    .split('\n')
    .filter((line) => line.startsWith('kubelet_'));
  expect(lines).toEqual([
    'kubelet_node_name{node="n1"} 1',
    'kubelet_running_pods 2',
    'kubelet_running_containers{container_state="created"} 0',
    'kubelet_running_containers{container_state="running"} 3',
    'kubelet_running_containers{container_state="exited"} 0',
    'kubelet_running_containers{container_state="unknown"} 0',
    'kubelet_desired_pods{static="true"} 1',
    'kubelet_desired_pods{static=""} 4',
    'kubelet_mirror_pods 1',
    'kubelet_pleg_last_seen_seconds 1700000000',
  ]);
});

test('calls of the runtime are counted by their names at upstream', async () => {
  const metrics = made();
  metrics.runtimeCall('RunPodSandbox', 0.1, false);
  metrics.runtimeCall('ListContainers', 0.1, true);
  const text = await metrics.registry.metrics();
  expect(text).toContain('kubelet_runtime_operations_total{operation_type="run_podsandbox"} 1');
  expect(text).toContain(
    'kubelet_runtime_operations_errors_total{operation_type="list_containers"} 1',
  );
  expect(text).not.toContain('errors_total{operation_type="run_podsandbox"}');
});

test('paths that nobody knows are one series', async () => {
  const metrics = made();
  for (const path of ['/exec', '/a', '/b']) metrics.request({ method: 'GET', path, isMain: true });
  const text = await metrics.registry.metrics();
  const common = 'method="GET",path=';
  expect(text).toContain(`{${common}"exec",server_type="readwrite",long_running="true"} 1`);
  expect(text).toContain(`{${common}"other",server_type="readwrite",long_running="false"} 2`);
});
