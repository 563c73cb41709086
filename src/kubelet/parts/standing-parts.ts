import { NodeDns } from '../environment/node-dns.ts';
import type { KubeletBase } from '../base/kubelet-base.ts';
import { MirrorKeeper } from '../dispatch/mirror-keeper.ts';
import { PodTable } from '../dispatch/pod-table.ts';
import { likeVersion } from '../node/kubelet-version.ts';
import { probeHandlers } from '../probes/handlers.ts';
import { ProbeMeter } from '../probes/probe-meter.ts';
import { PodProbes } from '../probes/probes.ts';
import { LogFolders } from '../runtime/log-folders.ts';
import { RuntimeView } from '../runtime/view.ts';
import type { PodChange } from '../sources/merge.ts';
import { selectsNode } from '../sources/node-affinity.ts';
import { StatusWriter } from '../status/status-writer.ts';
import { PodDirectories } from '../volumes/pod-directories.ts';
import { PodVolumes } from '../volumes/volumes.ts';
import type { NodeParts } from './node-parts.ts';
import { PodObjects } from './pod-objects.ts';
import { PodSources } from './pod-sources.ts';

/** What of the parts that run pods is there from the start, whether the runtime answers or not. */
export interface StandingParts {
  readonly table: PodTable;
  readonly objects: PodObjects;
  readonly status: StatusWriter;
  readonly view: RuntimeView;
  readonly probeMeter: ProbeMeter;
  readonly probes: PodProbes;
  readonly volumes: PodVolumes;
  readonly sources: PodSources;
  /** undefined: there is no API server. */
  readonly mirrors: MirrorKeeper | undefined;
  readonly dns: NodeDns;
  readonly logFolders: LogFolders;
}

/** Whom they tell of what they see, and ask; nobody hears as long as pods are not worked on. */
export interface StandingPartsListener {
  /** Something that a pod waits for may be there. */
  wake(uid: string): void;
  wakeAll(): void;
  /** A pod of the runtime is another than before. */
  changed(uid: string): void;
  /** What a source says. */
  apply(change: PodChange): void;
  /** Whether anything of a pod may still run. */
  isAlive(uid: string): boolean;
}

/** Makes them; they do nothing yet. */
export function standingParts(
  base: KubeletBase,
  node: NodeParts,
  listener: StandingPartsListener,
): StandingParts {
  const { log, config, nodeIps, rootDir } = base;
  const table = new PodTable();
  const probeMeter = new ProbeMeter();
  const objects = new PodObjects({
    base,
    wake: (uid) => listener.wake(uid),
    wakeAll: () => listener.wakeAll(),
    isNode: (selector) => selectsNode(selector, node.matched),
  });
  const sources = new PodSources(base, node, (change) => listener.apply(change));
  const status = statusWriter(base, table, listener);
  return {
    table,
    objects,
    status,
    view: runtimeView(base, table, listener),
    probeMeter,
    probes: podProbes(base, probeMeter, listener),
    volumes: podVolumes(base, node, objects),
    sources,
    mirrors: mirrorKeeper(base, node, { table, sources, status }, listener),
    dns: new NodeDns({ config: config.dns, nodeIps, log }),
    logFolders: new LogFolders({ rootDir, podLogsDir: config.podLogsDir }),
  };
}

function statusWriter(
  { api, clock, log, random, metrics }: KubeletBase,
  table: PodTable,
  listener: StandingPartsListener,
): StatusWriter {
  return new StatusWriter({
    api: api?.objects('v1', 'pods'),
    mirror: (pod) => table.mirrorOf(pod),
    isListed: (pod) => table.has(pod),
    onContinued: (uid) => listener.wake(uid),
    clock,
    log,
    random,
    meter: metrics.pods,
  });
}

function runtimeView(
  { cri, clock, log, nodeName, metrics }: KubeletBase,
  table: PodTable,
  listener: StandingPartsListener,
): RuntimeView {
  return new RuntimeView({
    cri,
    clock,
    log,
    owner: nodeName,
    meter: metrics.pods,
    eventMeter: metrics.runtimeEvents,
    adopt: (uid) => table.get(uid) !== undefined,
    changed: (uid) => listener.changed(uid),
  });
}

function podProbes(
  { cri, clock, random, events, log }: KubeletBase,
  meter: ProbeMeter,
  listener: StandingPartsListener,
): PodProbes {
  return new PodProbes({
    clock,
    random,
    events,
    log,
    meter,
    startedAt: { monotonicMs: clock.monotonic(), dateMs: clock.now() },
    onChange: (uid) => listener.wake(uid),
    execute: probeHandlers({
      execSync: async (request, options) => cri.runtime.execSync(request, options),
      userAgent: `kube-probe/${likeVersion}`,
    }),
  });
}

function podVolumes(
  { rootDir, mounts, events, clock, random, log, metrics }: KubeletBase,
  node: NodeParts,
  { references, tokens, claims }: PodObjects,
): PodVolumes {
  return new PodVolumes({
    directories: new PodDirectories(rootDir),
    sources: {
      objects: references,
      tokens,
      allocatable: (resource) => node.allocatable(resource),
    },
    mounts,
    tokens,
    claims,
    events,
    meter: metrics.storage,
    clock,
    random,
    log,
  });
}

function mirrorKeeper(
  { api, clock, log }: KubeletBase,
  node: NodeParts,
  { table, sources, status }: Pick<StandingParts, 'table' | 'sources' | 'status'>,
  listener: StandingPartsListener,
): MirrorKeeper | undefined {
  if (api === undefined) return undefined;
  return new MirrorKeeper({
    clock,
    log,
    table,
    isReady: () => sources.allReady,
    api: api.objects('v1', 'pods'),
    owner: () => node.owner,
    isAlive: (uid) => listener.isAlive(uid),
    isOver: (pod) => status.isMirrorOver(pod),
  });
}
