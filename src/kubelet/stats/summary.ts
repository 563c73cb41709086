import type { DiskSpace } from '../../host/disk-space.ts';
import type { DiskUse } from '../../host/disk-use.ts';
import type { InterfaceUse } from '../../host/network-usage.ts';
import type { ClaimUse, PodUsage } from '../ports/pod-usage.ts';
import { apiTime } from '../api/api-time.ts';
import type { Measured } from './measured.ts';
import { allPods } from './node-reading.ts';
import type { NodeReading } from './node-reading.ts';
import type { ContainerFigures, Figures, PodFigures } from './stats.ts';

/** Fields that are undefined are left out as it is written. */
type Json = Readonly<Record<string, unknown>>;

/** What pods have on disks, by their UIDs. */
export interface DisksOfPods {
  readonly usages: ReadonlyMap<string, PodUsage>;
  readonly claims: ReadonlyMap<string, readonly ClaimUse[]>;
}

/**
 * `/stats/summary` (Kubernetes: Node metrics data). `disks` is undefined where only CPU and memory are asked for, and then nothing else is
 * told.
 */
export function summary(
  nodeName: string,
  { node, pods }: Figures,
  disks: DisksOfPods | undefined,
): Json {
  return {
    node: { nodeName, ...nodeSummary(node, disks !== undefined) },
    pods: pods.map((each) =>
      disks === undefined ? shortPod(each) : { ...shortPod(each), ...wholePod(each, node, disks) },
    ),
  };
}

function nodeSummary(node: NodeReading, isWhole: boolean): Json {
  const pods = allPods(node);
  const systemContainers = [
    { name: 'kubelet', startTime: apiTime(node.agent.startedAtMs), ...use(node.agent) },
    ...(pods === undefined ? [] : [{ name: 'pods', startTime: started(node), ...use(pods) }]),
  ];
  const { cpu, memory } = use(node, node.availableBytes);
  const short = { systemContainers, startTime: started(node), cpu, memory };
  if (!isWhole) return short;
  const time = apiTime(node.atMs);
  const { disk, images, processes } = node;
  return {
    ...short,
    network: network(time, node.network),
    fs: disk && fs(time, disk, undefined),
    runtime: images && {
      imageFs: fs(time, images.space, images.use),
      containerFs: fs(time, images.space, undefined),
    },
    rlimit: processes && { time, maxpid: processes.most, curproc: processes.now },
  };
}

function started({ startedAtMs, atMs }: NodeReading): string {
  return apiTime(startedAtMs ?? atMs);
}

function shortPod({ pod, whole, sandboxId, containers }: PodFigures): Json {
  const sandbox = pod.sandboxes.find(({ id }) => id === sandboxId);
  return {
    podRef: { name: pod.name, namespace: pod.namespace, uid: pod.uid },
    startTime: apiTime(msOf(sandbox?.createdAt ?? 0n)),
    containers: containers.map(shortContainer),
    ...use(whole),
  };
}

function shortContainer({ container, whole }: ContainerFigures): Json {
  return {
    name: container.name,
    startTime: apiTime(msOf(container.startedAt)),
    ...use(whole),
  };
}

function wholePod(figures: PodFigures, node: NodeReading, disks: DisksOfPods): Json {
  const time = apiTime(figures.atMs);
  const usage = disks.usages.get(figures.pod.uid);
  const claims = disks.claims.get(figures.pod.uid) ?? [];
  const processes = figures.whole.tasks;
  return {
    containers: figures.containers.map((each) => {
      const { layer, logs } = usage?.containers.get(each.container.name) ?? {};
      return {
        ...shortContainer(each),
        rootfs: node.images && layer && fs(time, node.images.space, layer),
        logs: node.disk && logs && fs(time, node.disk, logs),
      };
    }),
    network: network(time, figures.network),
    volume: [
      ...[...(usage?.volumes ?? [])].map(([name, size]) =>
        node.disk === undefined || size.inMemory
          ? { time, usedBytes: size.bytes, inodesUsed: size.inodes, name }
          : { ...fs(time, node.disk, size), name },
      ),
      ...claims.map((each) => claimVolume(time, each)),
    ],
    'ephemeral-storage': node.disk && usage && fs(time, node.disk, usage.disk),
    process_stats: processes === undefined ? undefined : { process_count: processes },
  };
}

function use({ cpu, memory }: Measured, availableBytes?: number): { cpu?: Json; memory?: Json } {
  return {
    ...(cpu && {
      cpu: {
        time: apiTime(cpu.atMs),
        usageNanoCores: cpu.nanoCores,
        usageCoreNanoSeconds: Math.round(cpu.seconds * 1e9),
      },
    }),
    ...(memory && {
      memory: {
        time: apiTime(memory.atMs),
        availableBytes:
          availableBytes ??
          (memory.limitBytes && Math.max(0, memory.limitBytes - memory.workingSetBytes)),
        usageBytes: memory.usageBytes,
        workingSetBytes: memory.workingSetBytes,
        rssBytes: memory.rssBytes,
        pageFaults: memory.pageFaults,
        majorPageFaults: memory.majorPageFaults,
      },
    }),
  };
}

/** A file system, and what of it somebody uses; undefined: all that is used. */
function fs(time: string, space: DiskSpace, own: DiskUse | undefined): Json {
  return {
    time,
    availableBytes: space.availableBytes,
    capacityBytes: space.bytes,
    usedBytes: own?.bytes ?? space.bytes - space.availableBytes,
    inodesFree: space.freeInodes,
    inodes: space.inodes,
    inodesUsed: own?.inodes ?? space.inodes - space.freeInodes,
  };
}

/** The whole file system that the claim lies on: nobody knows what of it is the claim's. */
function claimVolume(time: string, { volume, namespace, claim, space }: ClaimUse): Json {
  const own = { bytes: space.usedBytes, inodes: space.inodes - space.freeInodes };
  return { ...fs(time, space, own), name: volume, pvcRef: { name: claim, namespace } };
}

/** The first interface is told apart: of a pod it is its only one, but for those that another plugin added. */
function network(time: string, all: readonly InterfaceUse[] | undefined): Json | undefined {
  if (all === undefined) return undefined;
  const interfaces = all.map((each) => ({
    name: each.name,
    rxBytes: each.receivedBytes,
    rxErrors: each.receiveErrors,
    txBytes: each.sentBytes,
    txErrors: each.sendErrors,
  }));
  const first = interfaces.find(({ name }) => name === 'eth0') ?? interfaces[0];
  return { time, ...first, interfaces };
}

function msOf(nanoseconds: bigint): number {
  return Number(nanoseconds / 1_000_000n);
}
