import type { CgroupUsage } from '../../../../src/host/cgroup-usage.ts';
import type { InterfaceUse } from '../../../../src/host/network-usage.ts';
import type { CadvisorExtras } from '../../../../src/kubelet/server/figures/cadvisor-metrics.ts';
import type { Measured } from '../../../../src/kubelet/stats/measured.ts';
import type { NodeReading } from '../../../../src/kubelet/stats/node-reading.ts';
import type { Figures, PodFigures } from '../../../../src/kubelet/stats/stats.ts';
import { runtimeContainer, runtimePod, runtimeSandbox } from '../support/runtime-pods.ts';

/** So much of everything. */
export function measured(seconds: number, bytes: number): Measured {
  return {
    cpu: { seconds, nanoCores: 250_000_000, atMs: 7000 },
    memory: {
      workingSetBytes: bytes,
      usageBytes: bytes + 10,
      rssBytes: bytes - 10,
      swapBytes: 3,
      pageFaults: 5,
      majorPageFaults: 1,
      limitBytes: undefined,
      atMs: 7000,
    },
    tasks: 3,
  };
}

export const cgroup: CgroupUsage = {
  cpu: {
    seconds: 1.5,
    userSeconds: 1,
    systemSeconds: 0.5,
    periods: 10,
    throttledPeriods: 4,
    throttledSeconds: 0.25,
    shares: 512,
    periodUs: 100_000,
    quotaUs: 20_000,
  },
  memory: {
    usageBytes: 110,
    workingSetBytes: 100,
    rssBytes: 90,
    cacheBytes: 20,
    mappedFileBytes: 5,
    swapBytes: 0,
    maxUsageBytes: 200,
    failures: 7,
    oomKills: 2,
    pageFaults: 5,
    majorPageFaults: 1,
    limitBytes: 4096,
  },
  io: [{ device: '8:0', readBytes: 4096, writtenBytes: 512, reads: 2, writes: 1 }],
  tasks: 3,
};

const space = { bytes: 1000, availableBytes: 400, usedBytes: 550, inodes: 100, freeInodes: 60 };

const nodeReading: NodeReading = {
  ...measured(10, 2048),
  atMs: 9000,
  startedAtMs: 1000,
  availableBytes: 512,
  swapTotalBytes: 1024,
  network: [],
  disk: { ...space, usedBytes: 500 },
  diskFolder: '/kubelet',
  images: { space, folder: '/images', use: { bytes: 300, inodes: 20 } },
  processes: { most: 32_768, now: 200 },
  pods: { path: '/node-7/kubepods', usage: cgroup },
  agent: { ...measured(2, 64), startedAtMs: 2000 },
};

export const eth0: InterfaceUse = {
  name: 'eth0',
  receivedBytes: 11,
  receivedPackets: 12,
  receiveErrors: 13,
  receiveDrops: 14,
  sentBytes: 21,
  sentPackets: 22,
  sendErrors: 23,
  sendDrops: 24,
};

const web: PodFigures = {
  pod: runtimePod({
    sandboxes: [runtimeSandbox({ createdAt: 2_000_000_000n })],
    containers: [runtimeContainer({ id: 'a', startedAt: 2_500_000_000n })],
  }),
  cgroup: { path: '/node-7/kubepods/poduid-1', usage: cgroup },
  sandboxId: 'box',
  sandboxPath: '/node-7/kubepods/poduid-1/box',
  network: [eth0],
  containers: [
    {
      container: runtimeContainer({ id: 'a', startedAt: 2_500_000_000n }),
      cgroup: { path: '/node-7/kubepods/poduid-1/a', usage: cgroup },
      atMs: 7000,
      whole: measured(1.5, 100),
    },
  ],
  whole: measured(2, 150),
  atMs: 7000,
};

/** A node with pod `web` of namespace `shop`, and its container `app`. */
export const figures: Figures = { node: nodeReading, pods: [web] };

/** What `/metrics/cadvisor` is told besides. */
export const cadvisorExtras: CadvisorExtras = {
  machine: { cpus: 2, memoryBytes: 4096, bootId: 'b', machineId: 'm', systemUuid: 's' },
  layerOf: () => ({ bytes: 30, inodes: 3 }),
  deviceName: () => '/dev/vda',
  nodeDevice: '/dev/vda',
  imageDevice: '/dev/vda',
};
