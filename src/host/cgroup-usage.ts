import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupMount } from './cgroups.ts';
import { isUnlimited } from './memory-limit.ts';

/** What the members of a cgroup have used together, and what they may use; undefined: the kernel does not say it. */
export interface CgroupUsage {
  readonly cpu: CgroupCpu | undefined;
  readonly memory: CgroupMemory | undefined;
  /** A device each, by `MAJOR:MINOR`. */
  readonly io: readonly DeviceUse[];
  /** Processes and threads. */
  readonly tasks: number | undefined;
}

export interface CgroupCpu {
  readonly seconds: number;
  readonly userSeconds: number | undefined;
  readonly systemSeconds: number | undefined;
  /** Of its quota: how many there were, in how many it was used up, and for how long it was waited. */
  readonly periods: number | undefined;
  readonly throttledPeriods: number | undefined;
  readonly throttledSeconds: number | undefined;
  /** In the kernel's shares of version 1, whatever the version. */
  readonly shares: number | undefined;
  readonly periodUs: number | undefined;
  /** undefined: no quota. */
  readonly quotaUs: number | undefined;
}

export interface CgroupMemory {
  readonly usageBytes: number;
  /** Without what the kernel can take back at once. */
  readonly workingSetBytes: number;
  readonly rssBytes: number | undefined;
  readonly cacheBytes: number | undefined;
  readonly mappedFileBytes: number | undefined;
  readonly swapBytes: number | undefined;
  readonly maxUsageBytes: number | undefined;
  readonly failures: number | undefined;
  /** Of its members, killed because it had no more. */
  readonly oomKills: number | undefined;
  readonly pageFaults: number | undefined;
  readonly majorPageFaults: number | undefined;
  /** undefined: no limit. */
  readonly limitBytes: number | undefined;
}

export interface DeviceUse {
  readonly device: string;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly reads: number;
  readonly writes: number;
}

const ticksPerSecond = 100;

/**
 * Reads what cgroups use. All at once and not by the thread pool: the kernel answers from memory, and a node has hundreds of groups of a
 * dozen files, which would each cost several times as much. Callers let others work between two groups.
 */
export class CgroupReader {
  readonly #version: 1 | 2;
  readonly #mount: string;

  constructor({ version, mount = cgroupMount }: { version: 1 | 2; mount?: string }) {
    this.#version = version;
    this.#mount = mount;
  }

  /** `path` begins with the root: `/node-7/kubepods/podUID`. undefined: there is no such group. */
  read(path: string): CgroupUsage | undefined {
    const usage = this.#version === 2 ? this.#unified(path) : this.#split(path);
    const isThere = usage.cpu !== undefined || usage.memory !== undefined;
    return isThere ? usage : undefined;
  }

  /** Whether there is such a group. */
  has(path: string): boolean {
    return this.#text('memory', path, 'cgroup.procs') !== undefined;
  }

  /** A process of the group; undefined: none that this process can see. */
  member(path: string): number | undefined {
    const pids = this.#text('memory', path, 'cgroup.procs')?.split('\n').map(Number) ?? [];
    // 0: it is in another PID namespace, out of reach
    return pids.find((pid) => pid > 0);
  }

  #split(path: string): CgroupUsage {
    const text = (tree: string, file: string): string | undefined => this.#text(tree, path, file);
    const number = (tree: string, file: string): number | undefined => numberOf(text(tree, file));
    return {
      cpu: cpuOfSplit(
        number('cpuacct', 'cpuacct.usage'),
        pairsOf(text('cpuacct', 'cpuacct.stat')),
        pairsOf(text('cpu', 'cpu.stat')),
        (file) => number('cpu', file),
      ),
      memory: memoryOfSplit(
        pairsOf(text('memory', 'memory.stat')),
        pairsOf(text('memory', 'memory.oom_control')),
        (file) => number('memory', file),
      ),
      io: ioOfSplit(
        text('blkio', 'blkio.throttle.io_service_bytes_recursive'),
        text('blkio', 'blkio.throttle.io_serviced_recursive'),
      ),
      tasks: number('pids', 'pids.current'),
    };
  }

  #unified(path: string): CgroupUsage {
    const text = (file: string): string | undefined => this.#text('', path, file);
    return {
      cpu: cpuOfUnified(pairsOf(text('cpu.stat')), text('cpu.max'), numberOf(text('cpu.weight'))),
      memory: memoryOfUnified(
        pairsOf(text('memory.stat')),
        pairsOf(text('memory.events')),
        (file) => numberOf(text(file)),
      ),
      io: ioOfUnified(text('io.stat')),
      tasks: numberOf(text('pids.current')),
    };
  }

  #text(tree: string, path: string, file: string): string | undefined {
    const folder = this.#version === 2 ? this.#mount : join(this.#mount, tree);
    try {
      return readFileSync(join(folder, path, file), 'utf8').trim();
    } catch {
      // no such group, controller or file: what is not there is not known
      return undefined;
    }
  }
}

type Pairs = ReadonlyMap<string, number>;
type ReadNumber = (file: string) => number | undefined;

function cpuOfSplit(
  usageNs: number | undefined,
  ticks: Pairs,
  stat: Pairs,
  read: ReadNumber,
): CgroupCpu | undefined {
  if (usageNs === undefined) return undefined;
  const quotaUs = read('cpu.cfs_quota_us');
  return {
    seconds: usageNs / 1e9,
    userSeconds: scaled(ticks.get('user'), ticksPerSecond),
    systemSeconds: scaled(ticks.get('system'), ticksPerSecond),
    periods: stat.get('nr_periods'),
    throttledPeriods: stat.get('nr_throttled'),
    throttledSeconds: scaled(stat.get('throttled_time'), 1e9),
    shares: read('cpu.shares'),
    periodUs: read('cpu.cfs_period_us'),
    quotaUs: quotaUs === undefined || quotaUs < 0 ? undefined : quotaUs,
  };
}

function cpuOfUnified(
  stat: Pairs,
  max: string | undefined,
  weight: number | undefined,
): CgroupCpu | undefined {
  const usage = stat.get('usage_usec');
  if (usage === undefined) return undefined;
  const [quota, period] = (max ?? '').split(' ');
  return {
    seconds: usage / 1e6,
    userSeconds: scaled(stat.get('user_usec'), 1e6),
    systemSeconds: scaled(stat.get('system_usec'), 1e6),
    periods: stat.get('nr_periods'),
    throttledPeriods: stat.get('nr_throttled'),
    throttledSeconds: scaled(stat.get('throttled_usec'), 1e6),
    shares: weight === undefined ? undefined : Math.round(2 + ((weight - 1) * 262_142) / 9999),
    periodUs: numberOf(period),
    quotaUs: numberOf(quota),
  };
}

function memoryOfSplit(stat: Pairs, oom: Pairs, read: ReadNumber): CgroupMemory | undefined {
  const usageBytes = read('memory.usage_in_bytes');
  if (usageBytes === undefined) return undefined;
  return {
    usageBytes,
    workingSetBytes: Math.max(0, usageBytes - (stat.get('total_inactive_file') ?? 0)),
    rssBytes: stat.get('total_rss'),
    cacheBytes: stat.get('total_cache'),
    mappedFileBytes: stat.get('total_mapped_file'),
    swapBytes: stat.get('total_swap'),
    maxUsageBytes: read('memory.max_usage_in_bytes'),
    failures: read('memory.failcnt'),
    oomKills: oom.get('oom_kill'),
    pageFaults: stat.get('total_pgfault'),
    majorPageFaults: stat.get('total_pgmajfault'),
    limitBytes: limitOf(read('memory.limit_in_bytes')),
  };
}

function memoryOfUnified(stat: Pairs, events: Pairs, read: ReadNumber): CgroupMemory | undefined {
  const usageBytes = read('memory.current');
  if (usageBytes === undefined) return undefined;
  return {
    usageBytes,
    workingSetBytes: Math.max(0, usageBytes - (stat.get('inactive_file') ?? 0)),
    rssBytes: stat.get('anon'),
    cacheBytes: stat.get('file'),
    mappedFileBytes: stat.get('file_mapped'),
    swapBytes: read('memory.swap.current'),
    maxUsageBytes: read('memory.peak'),
    failures: events.get('max'),
    oomKills: events.get('oom_kill'),
    pageFaults: stat.get('pgfault'),
    majorPageFaults: stat.get('pgmajfault'),
    limitBytes: limitOf(read('memory.max')),
  };
}

function limitOf(bytes: number | undefined): number | undefined {
  return bytes === undefined || isUnlimited(bytes) ? undefined : bytes;
}

/** `8:0 Read 4096`, a line each; in the end a sum. */
function ioOfSplit(bytes = '', operations = ''): readonly DeviceUse[] {
  const byDevice = new Map<string, Map<string, number>>();
  const take = (text: string, what: string): void => {
    for (const line of text.split('\n')) {
      const [device = '', kind = '', amount] = line.split(' ');
      if (amount === undefined) continue;
      const of = byDevice.get(device) ?? new Map<string, number>();
      byDevice.set(device, of.set(`${what} ${kind}`, Number(amount)));
    }
  };
  take(bytes, 'bytes');
  take(operations, 'operations');
  return [...byDevice].map(([device, of]) => ({
    device,
    readBytes: of.get('bytes Read') ?? 0,
    writtenBytes: of.get('bytes Write') ?? 0,
    reads: of.get('operations Read') ?? 0,
    writes: of.get('operations Write') ?? 0,
  }));
}

/** `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`, a line each. */
function ioOfUnified(text = ''): readonly DeviceUse[] {
  return text.split('\n').flatMap((line) => {
    const [device = '', ...rest] = line.split(' ');
    if (rest.length === 0) return [];
    const of = new Map(rest.map((each) => each.split('=', 2) as [string, string]));
    const amount = (name: string): number => Number(of.get(name) ?? 0);
    return {
      device,
      readBytes: amount('rbytes'),
      writtenBytes: amount('wbytes'),
      reads: amount('rios'),
      writes: amount('wios'),
    };
  });
}

function scaled(value: number | undefined, by: number): number | undefined {
  return value === undefined ? undefined : value / by;
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : undefined;
}

/** `NAME VALUE`, a line each. */
function pairsOf(text = ''): Pairs {
  const pairs = new Map<string, number>();
  for (const line of text.split('\n')) {
    const at = line.indexOf(' ');
    if (at > 0) pairs.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return pairs;
}
