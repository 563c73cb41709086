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
    activePods: { static: 1, others: 3 },
    workingPods: [{ lifecycle: 'sync', config: 'desired', isStatic: true, count: 1 }],
    lastListSeconds: 1_700_000_000,
  }));
  const lines = (await metrics.registry.metrics())
    .split('\n')
    .filter((line) =>
      /^kubelet_(?:node|running|desired|active|working|mirror|pleg_last)/.test(line),
    );
  expect(lines).toEqual([
    'kubelet_node_name{node="n1"} 1',
    'kubelet_running_pods 2',
    'kubelet_running_containers{container_state="created"} 0',
    'kubelet_running_containers{container_state="running"} 3',
    'kubelet_running_containers{container_state="exited"} 0',
    'kubelet_running_containers{container_state="unknown"} 0',
    'kubelet_desired_pods{static="true"} 1',
    'kubelet_desired_pods{static=""} 4',
    'kubelet_active_pods{static="true"} 1',
    'kubelet_active_pods{static=""} 3',
    'kubelet_working_pods{lifecycle="sync",config="desired",static="true"} 1',
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

test('sandboxes that are made are pods that are started', async () => {
  const metrics = made();
  metrics.runtimeCall('RunPodSandbox', 0.1, false);
  metrics.runtimeCall('RunPodSandbox', 0.1, true);
  metrics.runtimeCall('StopPodSandbox', 0.1, true);
  const text = await metrics.registry.metrics();
  expect(text).toContain('kubelet_started_pods_total 2');
  expect(text).toContain('kubelet_started_pods_errors_total 1');
  expect(text).toContain('kubelet_run_podsandbox_errors_total{runtime_handler=""} 1');
  expect(text).toContain('kubelet_run_podsandbox_duration_seconds_count{runtime_handler=""} 2');
});

test('what becomes of pods is counted and timed', async () => {
  const { pods, registry } = made();
  pods.podRunning(2);
  pods.workerStarted(0.01);
  pods.worked('kill', 1);
  pods.statusWritten(0.2);
  pods.listed(0.1, undefined);
  pods.listed(0.1, 1);
  pods.containerStarting('init_container');
  pods.containerFailed('container', 'ErrImagePull');
  pods.containerEnded('container', 137);
  pods.pulled(3, 50 * 1024 ** 2);
  pods.pulled(3, 1024 ** 4);
  pods.rejected('OutOfcpu');
  pods.orphaned();
  pods.restarted(true);
  pods.cgroupChanged('create', 0.02);
  const text = await registry.metrics();
  for (const line of [
    'pod_start_duration_seconds_sum 2',
    'pod_worker_start_duration_seconds_count 1',
    'pod_worker_duration_seconds_count{operation_type="kill"} 1',
    'pod_status_sync_duration_seconds_sum 0.2',
    'pleg_relist_duration_seconds_count 2',
    'pleg_relist_interval_seconds_sum 1',
    'started_containers_total{container_type="init_container"} 1',
    'started_containers_errors_total{container_type="container",code="ErrImagePull"} 1',
    'terminated_containers_total{container_type="container",exit_code="137"} 1',
    'image_pull_duration_seconds_count{image_size_in_bytes="10MB-100MB"} 1',
    'image_pull_duration_seconds_count{image_size_in_bytes="GT100GB"} 1',
    'admission_rejections_total{reason="OutOfcpu"} 1',
    'orphaned_runtime_pods_total 1',
    'restarted_pods_total{static="true"} 1',
    'cgroup_manager_duration_seconds_sum{operation_type="create"} 0.02',
  ]) {
    expect(text).toContain(`kubelet_${line}`);
  }
});

test('volumes are counted and timed by who makes them', async () => {
  const { storage, registry } = made();
  const plugin = 'kubernetes.io/empty-dir';
  storage.volumeSetUp(plugin, 0.2, false);
  storage.volumeSetUp(plugin, 0.2, true);
  let volumes = [{ plugin, desired: 3, actual: 2 }];
  storage.collect({ volumes: () => volumes, claims: async () => Promise.resolve([]) });
  const text = await registry.metrics();
  const of = `volume_plugin="${plugin}",operation_name="volume_mount",migrated="false"`;
  expect(text).toContain(`storage_operation_duration_seconds_sum{${of},status="success"} 0.2`);
  expect(text).toContain(`storage_operation_duration_seconds_count{${of},status="fail-unknown"} 1`);
  const total = `volume_manager_total_volumes{plugin_name="${plugin}",state=`;
  expect(text).toContain(`${total}"desired_state_of_world"} 3`);
  expect(text).toContain(`${total}"actual_state_of_world"} 2`);
  volumes = [];
  expect(await registry.metrics()).not.toContain(total);
});

test('a claim has the figures of its file system, once for all pods that have it, and none when they are gone', async () => {
  const { storage, registry } = made();
  const space = { bytes: 1000, availableBytes: 300, usedBytes: 600, inodes: 100, freeInodes: 60 };
  const one = { namespace: 'shop', claim: 'data-0', space };
  let claims = [one, one];
  storage.collect({ volumes: () => [], claims: async () => Promise.resolve(claims) });
  const seen = async (): Promise<readonly string[]> =>
    (await registry.metrics())
      .split('\n')
      .filter((line) => line.startsWith('kubelet_volume_stats_'));
  const of = '{namespace="shop",persistentvolumeclaim="data-0"}';
  expect(await seen()).toEqual([
    `kubelet_volume_stats_capacity_bytes${of} 1000`,
    `kubelet_volume_stats_available_bytes${of} 300`,
    `kubelet_volume_stats_used_bytes${of} 600`,
    `kubelet_volume_stats_inodes${of} 100`,
    `kubelet_volume_stats_inodes_free${of} 60`,
    `kubelet_volume_stats_inodes_used${of} 40`,
  ]);
  claims = [];
  expect(await seen()).toEqual([]);
});

test('paths that nobody knows are one series', async () => {
  const metrics = made();
  for (const path of ['/exec', '/a', '/b']) metrics.request({ method: 'GET', path, isMain: true });
  const text = await metrics.registry.metrics();
  const common = 'method="GET",path=';
  expect(text).toContain(`{${common}"exec",server_type="readwrite",long_running="true"} 1`);
  expect(text).toContain(`{${common}"other",server_type="readwrite",long_running="false"} 2`);
});

test('who is connected, and who was sent away', async () => {
  const metrics = made();
  metrics.connections.collect(() => ({ known: 2, strangers: 7 }));
  metrics.connections.refused('too_many');
  const text = await metrics.registry.metrics();
  for (const line of [
    'connections{client="known"} 2',
    'connections{client="unknown"} 7',
    'clients_refused_total{reason="too_many"} 1',
    'clients_refused_total{reason="unreviewed"} 0',
  ]) {
    expect(text).toContain(`switchyard_kubelet_${line}\n`);
  }
});

test('how it is known what happens in the runtime', async () => {
  const { runtimeEvents, registry } = made();
  runtimeEvents.begun('containerd');
  runtimeEvents.told('containerd');
  runtimeEvents.begun('cri');
  runtimeEvents.broken('cri');
  runtimeEvents.listed('gap');
  const text = await registry.metrics();
  for (const line of [
    'stream_up{stream="containerd"} 1',
    'stream_up{stream="cri"} 0',
    'stream_begun_total{stream="cri"} 1',
    'stream_broken_total{stream="containerd"} 0',
    'stream_broken_total{stream="cri"} 1',
    'events_total{stream="containerd"} 1',
    'lists_total{reason="gap"} 1',
    'lists_total{reason="periodic"} 0',
  ]) {
    expect(text).toContain(`switchyard_kubelet_runtime_${line}\n`);
  }
});
