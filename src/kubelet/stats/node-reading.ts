import process from 'node:process';
import type { Clock } from '../../clock.ts';
import { readBootTimeMs } from '../../host/boot-time.ts';
import type { CgroupReader, CgroupUsage } from '../../host/cgroup-usage.ts';
import { readCpuSeconds } from '../../host/cpu-time.ts';
import { readDiskSpace } from '../../host/disk-space.ts';
import type { FilledSpace } from '../../host/disk-space.ts';
import type { DiskUse } from '../../host/disk-use.ts';
import { readMemoryUse } from '../../host/memory-use.ts';
import { readNetworkUse } from '../../host/network-usage.ts';
import type { InterfaceUse } from '../../host/network-usage.ts';
import { readProcessCount } from '../../host/process-count.ts';
import type { ProcessCount } from '../../host/process-count.ts';
import type { Cri } from '../cri/client.ts';
import { kubepodsPath } from '../runtime/cgroups.ts';
import type { CgroupSettings } from '../runtime/settings.ts';
import type { Measured } from './measured.ts';
import { byCgroup } from './measured.ts';
import { diskUseOf } from './runtime-stats.ts';

/** What the machine uses, and the parts of it that are not pods; undefined: not known. */
export interface NodeReading extends Measured {
  readonly atMs: number;
  readonly startedAtMs: number | undefined;
  /** Still free for new ones. */
  readonly availableBytes: number | undefined;
  readonly swapTotalBytes: number | undefined;
  readonly network: readonly InterfaceUse[] | undefined;
  /** Of the file system with the kubelet's own folder, which is there. */
  readonly disk: FilledSpace | undefined;
  readonly diskFolder: string;
  /** Where images are, and what they take there. */
  readonly images: ImageStore | undefined;
  readonly processes: ProcessCount | undefined;
  /** All pods together. */
  readonly pods: { readonly path: string; readonly usage: CgroupUsage } | undefined;
  /** This very process. */
  readonly agent: Measured & { readonly startedAtMs: number };
}

export interface ImageStore {
  readonly space: FilledSpace;
  readonly folder: string;
  readonly use: DiskUse | undefined;
}

export interface NodeReadingOptions {
  readonly rootDir: string;
  readonly images: Pick<Cri['images'], 'imageFsInfo'>;
  readonly cgroups: CgroupReader;
  readonly settings: Pick<CgroupSettings, 'root' | 'driver' | 'perQos'>;
  readonly clock: Clock;
}

/** Reads the machine. Does not throw. */
export async function readNodeUse(options: NodeReadingOptions): Promise<NodeReading> {
  const { rootDir, images, cgroups, settings, clock } = options;
  const [seconds, memory, startedAtMs, network, disk, imageStore, processes] = await Promise.all([
    readCpuSeconds(),
    readMemoryUse(),
    readBootTimeMs(),
    readNetworkUse('self'),
    readDiskSpace(rootDir).catch(() => undefined),
    readImages(images),
    readProcessCount(),
  ]);
  const atMs = clock.now();
  const path = kubepodsPath(settings);
  const usage = settings.perQos ? cgroups.read(path) : undefined;
  return {
    atMs,
    startedAtMs,
    cpu: seconds === undefined ? undefined : { seconds, nanoCores: undefined, atMs },
    memory: memory && {
      workingSetBytes: memory.totalBytes - memory.availableBytes,
      usageBytes: memory.totalBytes - memory.freeBytes,
      rssBytes: memory.anonymousBytes,
      swapBytes: memory.swapBytes,
      pageFaults: memory.pageFaults,
      majorPageFaults: memory.majorPageFaults,
      limitBytes: memory.totalBytes,
      atMs,
    },
    availableBytes: memory?.availableBytes,
    swapTotalBytes: memory?.swapTotalBytes,
    tasks: processes?.now,
    network,
    disk,
    diskFolder: rootDir,
    images: imageStore,
    processes,
    pods: usage && { path, usage },
    agent: agentUse(atMs),
  };
}

/** CPU, memory and tasks of all pods together. */
export function allPods({ pods, atMs }: NodeReading): Measured | undefined {
  return pods && byCgroup(pods.usage, atMs);
}

async function readImages(
  images: Pick<Cri['images'], 'imageFsInfo'>,
): Promise<ImageStore | undefined> {
  try {
    const [store] = (await images.imageFsInfo({})).imageFilesystems;
    const folder = store?.fsId?.mountpoint ?? '';
    if (folder === '') return undefined;
    return { folder, space: await readDiskSpace(folder), use: diskUseOf(store) };
  } catch {
    return undefined;
  }
}

function agentUse(atMs: number): Measured & { readonly startedAtMs: number } {
  const { user, system } = process.cpuUsage();
  const rssBytes = process.memoryUsage.rss();
  const { minorPageFault, majorPageFault } = process.resourceUsage();
  return {
    startedAtMs: atMs - process.uptime() * 1000,
    cpu: { seconds: (user + system) / 1e6, nanoCores: undefined, atMs },
    memory: {
      workingSetBytes: rssBytes,
      usageBytes: rssBytes,
      rssBytes,
      swapBytes: undefined,
      pageFaults: minorPageFault + majorPageFault,
      majorPageFaults: majorPageFault,
      limitBytes: undefined,
      atMs,
    },
    tasks: undefined,
  };
}
