import process from 'node:process';
import { serveAdmin } from '../../host/admin-server.ts';
import { AdminRoutes } from '../admin/admin-routes.ts';
import { kubeletStatus } from '../admin/kubelet-status.ts';
import { byName, orphanEntry, podEntry } from '../admin/pod-entry.ts';
import type { PodEntry, PodsDocument } from '../admin/pods-document.ts';
import type { KubeletBase } from '../base/kubelet-base.ts';
import type { Pod } from '../pod/pod.ts';
import type { SourceReport } from './pod-sources.ts';
import type { PodTable } from '../dispatch/pod-table.ts';
import type { RuntimeView } from '../runtime/view.ts';
import { Exchanges } from '../server/exchanges.ts';
import type { KubeletHealth } from '../server/kubelet-routes.ts';
import { PodLogs } from '../server/logs/pod-logs.ts';
import { PodStreams } from '../server/streams/pod-streams.ts';
import { shownPod } from '../status/shown-pod.ts';
import type { StatusWriter } from '../status/status-writer.ts';
import type { PodWorkers } from '../worker/pod-workers.ts';

export interface PodAdminOptions {
  readonly base: KubeletBase;
  readonly table: PodTable;
  readonly view: RuntimeView;
  readonly workers: () => ReturnType<PodWorkers['all']>;
  readonly status: StatusWriter;
  readonly sources: () => readonly SourceReport[];
  readonly health: () => KubeletHealth;
}

/** More than enough for those who follow logs. */
const mostClients = 128;

/** Answers at the admin socket until `signal`; where there is none to be, at once. */
export async function servePodAdmin(options: PodAdminOptions, signal: AbortSignal): Promise<void> {
  const { base, table, view, status, health } = options;
  const { clock, log, cri, config, nodeIps, version, adminSocket: path } = base;
  if (path === '') return;
  const started = new Date(clock.now()).toISOString();
  const pods = (): PodsDocument => podsDocument(options);
  const { runtime } = cri;
  const findPod = (namespace: string, name: string): Pod | undefined => {
    const pod = table.byName(namespace, name);
    return pod && shownPod(pod, status.current(pod));
  };
  const routes = new AdminRoutes({
    version,
    pods,
    logs: new PodLogs({ runtime, findPod, clock }),
    streams: new PodStreams({
      runtime,
      findPod,
      runtimePod: async (uid, gone) => view.pod(uid, gone),
      ownAddresses: () => nodeIps,
      idleMs: config.server.streamIdleMs,
    }),
    status: () => {
      const { version: runs = null, problems } = base.health;
      const facts = {
        version,
        pid: process.pid,
        started,
        runtime: { endpoint: config.runtime.endpoint, version: runs },
        addresses: nodeIps,
        isAlive: health().isAlive,
        problems,
      };
      return kubeletStatus(facts, pods());
    },
  });
  const exchanges = new Exchanges({ routes, log });
  const stop = (): void => exchanges.stop();
  signal.addEventListener('abort', stop, { once: true });
  await serveAdmin(
    { path, attach: (server) => exchanges.attach(server), log, clock, mostClients },
    signal,
  );
  signal.removeEventListener('abort', stop);
}

function podsDocument(options: PodAdminOptions): PodsDocument {
  const { base, sources, health } = options;
  return {
    now: new Date(base.clock.now()).toISOString(),
    node: base.nodeName,
    waitsFor: health().waitsFor ?? null,
    pods: entries(options).toSorted(byName),
    sources: sources().map(({ name, place, hasSpoken, isStale, complaints }) => ({
      name,
      place,
      complete: hasSpoken,
      stale: isStale,
      refused: complaints,
    })),
  };
}

/** Those of the sources, and those that still end. */
function entries({ table, view, workers, status }: PodAdminOptions): readonly PodEntry[] {
  const all = table.all();
  const listed = new Set(all.map(({ metadata }) => metadata.uid));
  const ending = workers().filter(
    ({ uid, state }) => !listed.has(uid) && state.kind === 'terminating',
  );
  const now = all.map((pod) => ({ pod, isEnding: false }));
  const gone = ending.flatMap(({ pod }) => (pod === undefined ? [] : [{ pod, isEnding: true }]));
  const orphans = ending
    .filter(({ pod }) => pod === undefined)
    .flatMap(({ uid }) => view.pods.get(uid) ?? []);
  return [
    ...[...now, ...gone].map(({ pod, isEnding }) => {
      const shown = shownPod(pod, status.current(pod));
      return podEntry({ pod: shown, runtime: view.pods.get(pod.metadata.uid), isEnding });
    }),
    ...orphans.map(orphanEntry),
  ];
}
