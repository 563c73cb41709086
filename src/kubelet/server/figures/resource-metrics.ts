import type { Measured } from '../../stats/measured.ts';
import type { Figures } from '../../stats/stats.ts';
import { family } from './metric-text.ts';
import type { Labels, Sample } from './metric-text.ts';

type Labelled = Measured & { readonly labels: Labels };

/**
 * `/metrics/resource` as the metrics server reads it (Kubernetes: Node metrics data); each sample with its own moment. undefined: the
 * runtime did not answer.
 */
export function resourceMetrics(figures: Figures | undefined): string {
  const nodes = figures === undefined ? [] : [{ ...figures.node, labels: {} }];
  const all = figures?.pods ?? [];
  const pods = all.map(({ pod, whole }): Labelled => {
    return { ...whole, labels: { namespace: pod.namespace, pod: pod.name } };
  });
  const containers = all.flatMap(({ pod, containers: own }) =>
    own.map(({ container, whole, atMs }) => ({
      ...whole,
      startedAtMs: Number(container.startedAt / 1_000_000n),
      atMs,
      labels: { container: container.name, namespace: pod.namespace, pod: pod.name },
    })),
  );
  const started = containers.map(({ labels, startedAtMs, atMs }): Sample => {
    return { labels, value: startedAtMs / 1000, atMs };
  });
  const failed = { labels: {}, value: figures === undefined ? 1 : 0, atMs: undefined };
  return [
    ...family(
      'container_cpu_usage_seconds_total',
      'counter',
      'Time that the container has used CPUs, in core-seconds',
      containers.map(cpuOf),
    ),
    ...family(
      'container_memory_working_set_bytes',
      'gauge',
      'Memory in use by the container, in bytes',
      containers.map(memoryOf),
    ),
    ...family(
      'container_swap_usage_bytes',
      'gauge',
      'Swap in use by the container, in bytes',
      containers.map(swapOf),
    ),
    ...family(
      'container_start_time_seconds',
      'gauge',
      'When the container was started, in seconds since the epoch',
      started,
    ),
    ...family(
      'node_cpu_usage_seconds_total',
      'counter',
      'Time that the CPUs of the node have worked, in core-seconds',
      nodes.map(cpuOf),
    ),
    ...family(
      'node_memory_working_set_bytes',
      'gauge',
      'Memory in use on the node, in bytes',
      nodes.map(memoryOf),
    ),
    ...family(
      'node_swap_usage_bytes',
      'gauge',
      'Swap in use on the node, in bytes',
      nodes.map(swapOf),
    ),
    ...family(
      'pod_cpu_usage_seconds_total',
      'counter',
      'Time that the pod has used CPUs, in core-seconds',
      pods.map(cpuOf),
    ),
    ...family(
      'pod_memory_working_set_bytes',
      'gauge',
      'Memory in use by the pod, in bytes',
      pods.map(memoryOf),
    ),
    ...family(
      'pod_swap_usage_bytes',
      'gauge',
      'Swap in use by the pod, in bytes',
      pods.map(swapOf),
    ),
    ...family(
      'resource_scrape_error',
      'gauge',
      '1 where the container runtime could not be asked',
      [failed],
    ),
    '',
  ].join('\n');
}

function cpuOf({ labels, cpu }: Labelled): Sample {
  return { labels, value: cpu?.seconds, atMs: cpu?.atMs };
}

function memoryOf({ labels, memory }: Labelled): Sample {
  return { labels, value: memory?.workingSetBytes, atMs: memory?.atMs };
}

function swapOf({ labels, memory }: Labelled): Sample {
  return { labels, value: memory?.swapBytes, atMs: memory?.atMs };
}
