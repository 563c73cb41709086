import type { Registry } from 'prom-client';
import type { KubeletReadings } from '../telemetry/kubelet-metrics.ts';
import type { KubeletBase } from './kubelet.ts';
import type { Pod } from './pod/pod.ts';
import type { PodTable } from './pod-table.ts';
import type { RuntimeView } from './runtime/view.ts';
import { KubeletServer } from './server/server.ts';
import { isStaticPod } from './sources/sourced-pod.ts';
import { shownPod } from './status/shown-pod.ts';
import type { StatusWriter } from './status/status-writer.ts';

export interface PodServerOptions {
  readonly base: KubeletBase;
  readonly table: PodTable;
  readonly view: RuntimeView;
  readonly status: StatusWriter;
  readonly probeMetrics: Registry;
  /** Whether the main loop goes round. */
  readonly isAlive: () => boolean;
}

/** Starts what listens. */
export async function openServer(options: PodServerOptions): Promise<KubeletServer> {
  const { base, table, view, status, probeMetrics, isAlive } = options;
  const { config, nodeName, nodeIps, clock, log, cri, metrics, api } = base;
  metrics.collect(() => readings(table, view));
  const now = (pod: Pod): Pod => shownPod(pod, status.current(pod));
  const server = new KubeletServer({
    config: config.server,
    certFolder: config.certDir,
    api: api?.client,
    nodeName,
    clock,
    log,
    probeMetrics,
    runtime: cri.runtime,
    findPod: (namespace, name) => {
      const pod = table.byName(namespace, name);
      return pod && now(pod);
    },
    runtimePod: (uid) => view.pods.get(uid),
    ownAddresses: () => nodeIps,
    listPods: () => table.all().map(now),
    runtimePods: () => [...view.pods.values()],
    syncLoop: () => ({ isAlive: isAlive() }),
    metrics: metrics.registry,
    sliMetrics: metrics.slis.registry,
    onRequest: (request) => metrics.request(request),
  });
  await server.start();
  return server;
}

function readings(table: PodTable, { pods, relistedAtMs }: RuntimeView): KubeletReadings {
  const containers = new Map<string, number>();
  let runningPods = 0;
  for (const pod of pods.values()) {
    if (pod.sandboxes.some(({ state }) => state === 'ready')) runningPods++;
    for (const { state } of pod.containers) containers.set(state, (containers.get(state) ?? 0) + 1);
  }
  const all = table.all();
  const fromFiles = all.filter(isStaticPod).length;
  return {
    runningPods,
    containers,
    mirrorPods: table.mirrors().length,
    desiredPods: { static: fromFiles, others: all.length - fromFiles },
    lastListSeconds:
      relistedAtMs === undefined ? 0 : (performance.timeOrigin + relistedAtMs) / 1000,
  };
}
