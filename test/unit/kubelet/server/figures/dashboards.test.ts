// What the dashboards, alerts and rules of kubernetes-mixin (those of kube-prometheus too) ask a kubelet for, as of August 2026: each series is
// here with the labels that they go by, or stands below with the reason why not.
import { describe, expect, it } from 'vitest';
import { cadvisorMetrics } from '../../../../../src/kubelet/server/figures/cadvisor-metrics.ts';
import { KubeletMetrics } from '../../../../../src/telemetry/kubelet-metrics.ts';
import { cadvisorExtras, figures } from '../../stats/figures.ts';

/** Of /metrics; with the labels that series are selected, grouped or joined by. */
const ofKubelet: readonly (readonly [string, ...string[]])[] = [
  ['kubelet_certificate_manager_client_expiration_renew_errors'],
  ['kubelet_certificate_manager_client_ttl_seconds'],
  ['kubelet_certificate_manager_server_ttl_seconds'],
  ['kubelet_cgroup_manager_duration_seconds', 'operation_type'],
  ['kubelet_evictions', 'eviction_signal'],
  ['kubelet_node_name', 'node'],
  ['kubelet_pleg_relist_duration_seconds'],
  ['kubelet_pleg_relist_interval_seconds'],
  ['kubelet_pod_start_duration_seconds'],
  ['kubelet_pod_worker_duration_seconds', 'operation_type'],
  ['kubelet_running_containers', 'container_state'],
  ['kubelet_running_pods'],
  ['kubelet_runtime_operations_duration_seconds', 'operation_type'],
  ['kubelet_runtime_operations_errors_total', 'operation_type'],
  ['kubelet_runtime_operations_total', 'operation_type'],
  ['kubelet_server_expiration_renew_errors'],
  ['kubelet_volume_stats_available_bytes', 'namespace', 'persistentvolumeclaim'],
  ['kubelet_volume_stats_capacity_bytes', 'namespace', 'persistentvolumeclaim'],
  ['kubelet_volume_stats_inodes', 'namespace', 'persistentvolumeclaim'],
  ['kubelet_volume_stats_inodes_free', 'namespace', 'persistentvolumeclaim'],
  ['kubelet_volume_stats_inodes_used', 'namespace', 'persistentvolumeclaim'],
  ['kubelet_volume_stats_used_bytes', 'namespace', 'persistentvolumeclaim'],
  ['kubernetes_build_info', 'git_version'],
  ['process_cpu_seconds_total'],
  ['process_resident_memory_bytes'],
  ['rest_client_request_duration_seconds', 'verb'],
  ['rest_client_requests_total', 'code', 'method'],
  ['storage_operation_duration_seconds', 'operation_name', 'volume_plugin'],
  ['volume_manager_total_volumes', 'plugin_name', 'state'],
];

/** Not here, and why. */
const missing: Readonly<Record<string, string>> = {
  go_goroutines: 'the runtime is not Go',
  kubelet_node_config_error:
    'of a configuration that the API server gave: Kubernetes has none any more',
  storage_operation_errors_total:
    'Kubernetes has it no more: the status is a label of the duration',
};

/** Of /metrics/cadvisor, for a container (`container!=""`, `image!=""`). */
const ofContainers = [
  'container_cpu_cfs_periods_total',
  'container_cpu_cfs_throttled_periods_total',
  'container_cpu_usage_seconds_total',
  'container_memory_cache',
  'container_memory_rss',
  'container_memory_swap',
  'container_memory_usage_bytes',
  'container_memory_working_set_bytes',
];

/** The same by its disk (`device=~"/dev.+"`). */
const ofDisks = [
  'container_fs_reads_bytes_total',
  'container_fs_reads_total',
  'container_fs_writes_bytes_total',
  'container_fs_writes_total',
];

/** The same for the network of a pod (`namespace!=""`, `pod`). */
const ofNetworks = [
  'container_network_receive_bytes_total',
  'container_network_receive_packets_dropped_total',
  'container_network_receive_packets_total',
  'container_network_transmit_bytes_total',
  'container_network_transmit_packets_dropped_total',
  'container_network_transmit_packets_total',
];

const kubelet = new KubeletMetrics({ version: '1.37.0', nodeName: 'n1' });
kubelet.collectProcess();

describe('/metrics', () => {
  it.each(ofKubelet)('has %s', (name, ...labels) => {
    const metric = kubelet.registry.getSingleMetric(name) as
      | { readonly labelNames: readonly string[] }
      | undefined;
    expect(metric).toBeDefined();
    expect(metric?.labelNames).toEqual(expect.arrayContaining(labels));
  });

  it.each(Object.entries(missing))('has no %s: %s', (name) => {
    expect(kubelet.registry.getSingleMetric(name)).toBeUndefined();
  });
});

describe('/metrics/cadvisor', () => {
  const lines = cadvisorMetrics(figures, cadvisorExtras).split('\n');

  it.each(ofContainers)('has %s of each container', (name) => {
    const found = lines.filter((line) => line.startsWith(`${name}{container="app"`));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/image="[^"]+".*namespace="shop",pod="web"/);
  });

  it.each(ofDisks)('has %s of each container', (name) => {
    const found = lines.filter((line) => line.startsWith(`${name}{container="app"`));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/namespace="shop",pod="web",device="\/dev\/vda"/);
  });

  it.each(ofNetworks)('has %s of each pod', (name) => {
    const found = lines.filter((line) => line.startsWith(name) && line.includes('pod="web"'));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/namespace="shop",pod="web",interface="eth0"/);
  });
});
