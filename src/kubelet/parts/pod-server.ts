import type { Registry } from 'prom-client';
import { BlockDevices } from '../../host/block-devices.ts';
import type { KubeletReadings, WorkingPods } from '../../telemetry/kubelet-metrics.ts';
import type { KubeletBase } from '../base/kubelet-base.ts';
import type { NodeCertificates } from './node-certificates.ts';
import type { Pod } from '../pod/pod.ts';
import type { PodTable } from '../dispatch/pod-table.ts';
import type { RuntimeView } from '../runtime/view.ts';
import type { FigureRoutesOptions } from '../server/figures/figure-routes.ts';
import type { KubeletRoutesOptions } from '../server/kubelet-routes.ts';
import { KubeletServer } from '../server/server.ts';
import { isStaticPod } from '../sources/sourced-pod.ts';
import { shownPod } from '../status/shown-pod.ts';
import type { StatusWriter } from '../status/status-writer.ts';
import type { PodVolumes } from '../volumes/volumes.ts';
import type { PodWorkers } from '../worker/pod-workers.ts';

export interface PodServerOptions {
  readonly base: KubeletBase;
  readonly certificates: NodeCertificates;
  readonly table: PodTable;
  readonly view: RuntimeView;
  readonly workers: () => ReturnType<PodWorkers['all']>;
  readonly status: StatusWriter;
  readonly volumes: Pick<PodVolumes, 'counts'>;
  readonly probeMetrics: Registry;
  readonly health: KubeletRoutesOptions['health'];
  readonly stats: FigureRoutesOptions['stats'];
}

/** Starts what listens. */
export async function openServer(options: PodServerOptions): Promise<KubeletServer> {
  const { base, certificates, table, view, workers, status, probeMetrics, health } = options;
  const { config, nodeName, nodeIps, clock, log, cri, metrics, api } = base;
  metrics.collect(() => readings(table, view, workers()));
  metrics.storage.collect({
    volumes: () => options.volumes.counts(),
    claims: async () => (await options.stats()?.claims()) ?? [],
  });
  const now = (pod: Pod): Pod => shownPod(pod, status.current(pod));
  const server = new KubeletServer({
    config: config.server,
    certFolder: config.certDir,
    servingPair: async () => certificates.servingPair(),
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
    runtimePod: async (uid, signal) => view.pod(uid, signal),
    ownAddresses: () => nodeIps,
    listPods: () => table.all().map(now),
    runtimePods: () => [...view.pods.values()],
    health,
    machine: base.machine,
    stats: options.stats,
    devices: new BlockDevices(),
    configz: base.configz,
    systemLogsFolder: '/var/log',
    metrics: metrics.registry,
    sliMetrics: metrics.slis.registry,
    onRequest: (request) => metrics.request(request),
    onRefused: (reason) => metrics.connections.refused(reason),
  });
  metrics.connections.collect(() => server.connections);
  certificates.onServing = () => server.lookAgain();
  await server.start();
  return server;
}

function readings(
  table: PodTable,
  { pods, relistedAtMs }: RuntimeView,
  workers: ReturnType<PodWorkers['all']>,
): KubeletReadings {
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
    activePods: active(workers),
    workingPods: working(table, workers),
    desiredPods: { static: fromFiles, others: all.length - fromFiles },
    lastListSeconds:
      relistedAtMs === undefined ? 0 : (performance.timeOrigin + relistedAtMs) / 1000,
  };
}

type Workers = ReturnType<PodWorkers['all']>;

function active(workers: Workers): KubeletReadings['activePods'] {
  const pods = workers
    .filter(({ state }) => state.kind === 'syncing' || state.kind === 'terminating')
    .flatMap(({ pod }) => pod ?? []);
  const fromFiles = pods.filter(isStaticPod).length;
  return { static: fromFiles, others: pods.length - fromFiles };
}

const lifecycles = {
  syncing: 'sync',
  terminating: 'terminating',
  terminated: 'terminated',
  finished: 'terminated',
} as const;

function working(table: PodTable, workers: Workers): readonly WorkingPods[] {
  const alike = workers.map(({ uid, state, pod }): Omit<WorkingPods, 'count'> => ({
    lifecycle: lifecycles[state.kind],
    config:
      pod === undefined ? 'runtime_only' : table.get(uid) === undefined ? 'orphan' : 'desired',
    isStatic: pod !== undefined && isStaticPod(pod),
  }));
  const groups = Map.groupBy(alike, (each) => JSON.stringify(each));
  return [...groups.values()].flatMap(([first, ...more]) =>
    first === undefined ? [] : [{ ...first, count: 1 + more.length }],
  );
}
