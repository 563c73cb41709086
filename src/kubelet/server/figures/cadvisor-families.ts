import type {
  CgroupCpu,
  CgroupMemory,
  CgroupUsage,
  DeviceUse,
} from '../../../host/cgroup-usage.ts';
import type { DiskSpace } from '../../../host/disk-space.ts';
import type { InterfaceUse } from '../../../host/network-usage.ts';
import type { Measured, MeasuredMemory } from '../../stats/measured.ts';
import type { Labels, Sample } from './metric-text.ts';

/** What one line of a dashboard is about: the machine, all pods, a pod, its network, a container. */
export interface Subject {
  /** cAdvisor's: `container`, `id`, `image`, `name`, `namespace`, `pod`. */
  readonly labels: Labels;
  readonly whole: Measured;
  readonly usage: CgroupUsage | undefined;
  readonly network: readonly InterfaceUse[];
  readonly disks: readonly SubjectDisk[];
  readonly startedAtMs: number | undefined;
  readonly atMs: number;
}

/** What it has on a file system: a container its layer, the machine all of it. */
export interface SubjectDisk {
  /** `/dev/sda`; empty: not known. */
  readonly device: string;
  readonly usedBytes: number;
  readonly space: DiskSpace | undefined;
}

/** A metric, and what it says of each subject. */
export interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly samples: (subject: Subject) => readonly Sample[];
}

type Value = number | undefined;

/** By cAdvisor's names. `deviceName`: `/dev/sda` of `8:0`. */
export function cadvisorFamilies(deviceName: (device: string) => string): readonly Family[] {
  return [
    ...cpuFamilies,
    ...memoryFamilies,
    ...ioFamilies(deviceName),
    ...diskFamilies,
    ...networkFamilies,
    ...specFamilies,
    one('container_threads', 'gauge', 'Threads', ({ whole }) => whole.tasks),
    one('container_start_time_seconds', 'gauge', 'When it was started', ({ startedAtMs }) =>
      startedAtMs === undefined ? undefined : startedAtMs / 1000,
    ),
    one('container_last_seen', 'gauge', 'When it was measured last', ({ atMs }) =>
      Math.trunc(atMs / 1000),
    ),
  ];
}

const cpuFamilies: readonly Family[] = [
  one(
    'container_cpu_usage_seconds_total',
    'counter',
    'Time that CPUs were used',
    ({ whole }) => whole.cpu?.seconds,
    { cpu: 'total' },
  ),
  ofCpu('container_cpu_user_seconds_total', 'Of that outside of the kernel', 'userSeconds'),
  ofCpu('container_cpu_system_seconds_total', 'Of that in the kernel', 'systemSeconds'),
  ofQuota('container_cpu_cfs_periods_total', 'Periods of its quota', 'periods'),
  ofQuota(
    'container_cpu_cfs_throttled_periods_total',
    'Periods in which its quota was used up',
    'throttledPeriods',
  ),
  ofQuota(
    'container_cpu_cfs_throttled_seconds_total',
    'Time that it was held up for it',
    'throttledSeconds',
  ),
];

const memoryFamilies: readonly Family[] = [
  ofMemory('container_memory_usage_bytes', 'Memory, files that were read too', 'usageBytes'),
  ofMemory(
    'container_memory_working_set_bytes',
    'Memory without what can be taken back at once',
    'workingSetBytes',
  ),
  ofMemory('container_memory_rss', 'Memory of processes, without files', 'rssBytes'),
  ofGroup('container_memory_cache', 'gauge', 'Memory of files', 'cacheBytes'),
  ofGroup('container_memory_mapped_file', 'gauge', 'Memory of mapped files', 'mappedFileBytes'),
  ofMemory('container_memory_swap', 'Swap in use', 'swapBytes'),
  ofGroup('container_memory_max_usage_bytes', 'gauge', 'The most memory so far', 'maxUsageBytes'),
  ofGroup('container_memory_failcnt', 'counter', 'How often its limit was reached', 'failures'),
  ofGroup('container_oom_events_total', 'counter', 'Processes killed for memory', 'oomKills'),
  {
    name: 'container_memory_failures_total',
    type: 'counter',
    help: 'Page faults',
    samples: ({ labels, whole: { memory }, atMs }) =>
      [
        ['pgfault', memory?.pageFaults] as const,
        ['pgmajfault', memory?.majorPageFaults] as const,
      ].map(([failure, value]) => ({
        labels: { ...labels, failure_type: failure, scope: 'hierarchy' },
        value,
        atMs,
      })),
  },
];

function ioFamilies(deviceName: (device: string) => string): readonly Family[] {
  const ofDevice = (
    name: string,
    help: string,
    field: Exclude<keyof DeviceUse, 'device'>,
  ): Family => ({
    name,
    type: 'counter',
    help,
    samples: ({ labels, usage, atMs }) =>
      (usage?.io ?? []).map((io) => ({
        labels: { ...labels, device: deviceName(io.device) },
        value: io[field],
        atMs,
      })),
  });
  return [
    ofDevice('container_fs_reads_bytes_total', 'Bytes read', 'readBytes'),
    ofDevice('container_fs_writes_bytes_total', 'Bytes written', 'writtenBytes'),
    ofDevice('container_fs_reads_total', 'Reads', 'reads'),
    ofDevice('container_fs_writes_total', 'Writes', 'writes'),
  ];
}

const diskFamilies: readonly Family[] = [
  ofDisk(
    'container_fs_usage_bytes',
    'What a container has written; what is in use on a disk of the machine',
    ({ usedBytes }) => usedBytes,
  ),
  ofDisk('container_fs_limit_bytes', 'Size of the file system', ({ space }) => space?.bytes),
  ofDisk('container_fs_inodes_free', 'Inodes left on it', ({ space }) => space?.freeInodes),
  ofDisk('container_fs_inodes_total', 'Inodes of it', ({ space }) => space?.inodes),
];

const networkFamilies: readonly Family[] = [
  ofInterface('receive_bytes', 'Bytes received', 'receivedBytes'),
  ofInterface('receive_packets', 'Packets received', 'receivedPackets'),
  ofInterface('receive_errors', 'Errors while receiving', 'receiveErrors'),
  ofInterface('receive_packets_dropped', 'Packets dropped while receiving', 'receiveDrops'),
  ofInterface('transmit_bytes', 'Bytes sent', 'sentBytes'),
  ofInterface('transmit_packets', 'Packets sent', 'sentPackets'),
  ofInterface('transmit_errors', 'Errors while sending', 'sendErrors'),
  ofInterface('transmit_packets_dropped', 'Packets dropped while sending', 'sendDrops'),
];

const specFamilies: readonly Family[] = [
  ofCpu('container_spec_cpu_period', 'Period of its quota, in microseconds', 'periodUs'),
  ofCpu('container_spec_cpu_quota', 'Its quota, in microseconds a period', 'quotaUs'),
  ofCpu('container_spec_cpu_shares', 'Its share of CPUs', 'shares'),
  one('container_spec_memory_limit_bytes', 'gauge', 'Most memory; 0: no limit', ({ usage }) =>
    usage?.memory === undefined ? undefined : (usage.memory.limitBytes ?? 0),
  ),
];

function one(
  name: string,
  type: Family['type'],
  help: string,
  value: (subject: Subject) => Value,
  more: Labels = {},
): Family {
  const samples = (subject: Subject): readonly Sample[] => [
    { labels: { ...subject.labels, ...more }, value: value(subject), atMs: subject.atMs },
  ];
  return { name, type, help, samples };
}

function ofCpu(name: string, help: string, field: keyof CgroupCpu): Family {
  const type = name.endsWith('_total') ? 'counter' : 'gauge';
  return one(name, type, help, ({ usage }) => usage?.cpu?.[field]);
}

/** Only where there is a quota. */
function ofQuota(name: string, help: string, field: keyof CgroupCpu): Family {
  return one(name, 'counter', help, ({ usage }) =>
    usage?.cpu?.quotaUs === undefined ? undefined : usage.cpu[field],
  );
}

function ofMemory(name: string, help: string, field: keyof MeasuredMemory): Family {
  return one(name, 'gauge', help, ({ whole }) => whole.memory?.[field]);
}

function ofGroup(
  name: string,
  type: Family['type'],
  help: string,
  field: keyof CgroupMemory,
): Family {
  return one(name, type, help, ({ usage }) => usage?.memory?.[field]);
}

function ofInterface(
  what: string,
  help: string,
  field: Exclude<keyof InterfaceUse, 'name'>,
): Family {
  return {
    name: `container_network_${what}_total`,
    type: 'counter',
    help,
    samples: ({ labels, network, atMs }) =>
      network.map((each) => ({
        labels: { ...labels, interface: each.name },
        value: each[field],
        atMs,
      })),
  };
}

function ofDisk(name: string, help: string, value: (disk: SubjectDisk) => Value): Family {
  return {
    name,
    type: 'gauge',
    help,
    samples: ({ labels, disks, atMs }) =>
      disks.map((disk) => ({
        labels: { ...labels, device: disk.device },
        value: value(disk),
        atMs,
      })),
  };
}
