import type { ContainerUsage, NodeUsage, Usage } from '../node/resource-usage.ts';

type Labels = Readonly<Record<string, string>>;

interface Sample {
  readonly labels: Labels;
  readonly value: number | undefined;
  /** undefined: it is of the moment at which it is read. */
  readonly atMs: number | undefined;
}

/**
 * `/metrics/resource` as the metrics server reads it (spec 10.5); each sample with its own moment. A pod uses what its containers use.
 * undefined: the runtime did not say it.
 */
export function resourceMetrics(usage: NodeUsage | undefined): string {
  const nodes = usage === undefined ? [] : [{ labels: {}, ...usage.node }];
  const containers = (usage?.containers ?? []).map((each) => ({ labels: labelsOf(each), ...each }));
  const pods = podsOf(usage?.containers ?? []);
  return [
    ...family('container_cpu_usage_seconds_total', 'counter', containers.map(cpuOf)),
    ...family('container_memory_working_set_bytes', 'gauge', containers.map(memoryOf)),
    ...family(
      'container_start_time_seconds',
      'gauge',
      containers.map(({ labels, startedAtMs, atMs }) => ({
        labels,
        value: startedAtMs / 1000,
        atMs,
      })),
    ),
    ...family('node_cpu_usage_seconds_total', 'counter', nodes.map(cpuOf)),
    ...family('node_memory_working_set_bytes', 'gauge', nodes.map(memoryOf)),
    ...family('pod_cpu_usage_seconds_total', 'counter', pods.map(cpuOf)),
    ...family('pod_memory_working_set_bytes', 'gauge', pods.map(memoryOf)),
    ...family('resource_scrape_error', 'gauge', [
      { labels: {}, value: usage === undefined ? 1 : 0, atMs: undefined },
    ]),
    '',
  ].join('\n');
}

const helps: Readonly<Record<string, string>> = {
  container_cpu_usage_seconds_total: 'Time that the container has used CPUs, in core-seconds',
  container_memory_working_set_bytes: 'Memory in use by the container, in bytes',
  container_start_time_seconds: 'When the container was started, in seconds since the epoch',
  node_cpu_usage_seconds_total: 'Time that the CPUs of the node have worked, in core-seconds',
  node_memory_working_set_bytes: 'Memory in use on the node, in bytes',
  pod_cpu_usage_seconds_total: 'Time that the containers of the pod have used CPUs',
  pod_memory_working_set_bytes: 'Memory in use by the containers of the pod, in bytes',
  resource_scrape_error: '1 where the container runtime could not be asked',
};

function family(
  name: string,
  type: 'counter' | 'gauge',
  samples: readonly Sample[],
): readonly string[] {
  const lines = samples.flatMap(({ labels, value, atMs }) =>
    value === undefined
      ? []
      : [`${name}${labelText(labels)} ${value}${atMs === undefined ? '' : ` ${Math.trunc(atMs)}`}`],
  );
  if (lines.length === 0) return [];
  return [`# HELP ${name} ${helps[name] ?? ''}`, `# TYPE ${name} ${type}`, ...lines];
}

/** Names of Kubernetes hold nothing that would have to be escaped. */
function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function labelsOf({ container, namespace, pod }: ContainerUsage): Labels {
  return { container, namespace, pod };
}

type Labelled = Usage & { readonly labels: Labels };

function cpuOf({ labels, cpuSeconds: value, atMs }: Labelled): Sample {
  return { labels, value, atMs };
}

function memoryOf({ labels, memoryBytes: value, atMs }: Labelled): Sample {
  return { labels, value, atMs };
}

function podsOf(containers: readonly ContainerUsage[]): readonly Labelled[] {
  const byPod = Map.groupBy(containers, ({ namespace, pod }) => `${namespace}/${pod}`);
  return [...byPod.values()].flatMap((all) => {
    const [first] = all;
    if (first === undefined) return [];
    const { namespace, pod } = first;
    return {
      labels: { namespace, pod },
      cpuSeconds: sum(all.map(({ cpuSeconds }) => cpuSeconds)),
      memoryBytes: sum(all.map(({ memoryBytes }) => memoryBytes)),
      atMs: Math.max(...all.map(({ atMs }) => atMs)),
    };
  });
}

function sum(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : known.reduce((all, value) => all + value, 0);
}
