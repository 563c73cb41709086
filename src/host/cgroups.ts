import { mkdir, readFile, readdir, rmdir, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import type { Clock } from '../clock.ts';
import { SwitchyardError, errorText, isAbsent, systemCode } from '../error.ts';
import { isUnlimited } from './memory-limit.ts';

/** What a cgroup's members may have together. */
export interface CgroupLimits {
  /** In the kernel's shares, 2 to 262,144, whatever the version. */
  readonly cpuShares: bigint;
  readonly cpuPeriodUs: bigint;
  /** 0: all of it. */
  readonly cpuQuotaUs: bigint;
  /** Bytes; 0: no limit. */
  readonly memoryBytes: bigint;
  /** Processes and threads; 0: no limit. */
  readonly pids: bigint;
}

/** What making sure of a cgroup came to. */
export type CgroupChange = 'create' | 'update' | 'none';

/** To compare by. */
export function limitsText(limits: CgroupLimits | undefined, raising: boolean): string {
  const values = limits === undefined ? [] : Object.values(limits);
  return [raising ? 'at least' : 'just', ...values].join(' ');
}

/** Where the kernel's tree of cgroups is mounted. */
export const cgroupMount = '/sys/fs/cgroup';

const cgroup2Magic = 0x63677270;

/** 2 where there is one tree for all controllers. */
export async function cgroupVersion(mount = cgroupMount): Promise<1 | 2> {
  const { type } = await statfs(mount);
  return type === cgroup2Magic ? 2 : 1;
}

/** Whether swap is limited by cgroup here; by a file that only then is there. */
export async function limitsSwap(version: 1 | 2, mount = cgroupMount): Promise<boolean> {
  if (version === 1) {
    return exists(join(mount, 'memory', 'memory.memsw.limit_in_bytes'));
  }
  // the root has none: the first group that has one tells
  for (const name of await directories(mount)) {
    if (await exists(join(mount, name, 'memory.swap.max'))) return true;
  }
  return false;
}

/**
 * The cgroups below one root: nothing else is made, changed or removed, for several nodes may share a machine's tree. With version 1
 * the controllers that hold limits get the groups here, the others from the runtime; all are removed in the end.
 */
export class CgroupTree {
  readonly #version: 1 | 2;
  readonly #root: string;
  readonly #mount: string;
  readonly #clock: Clock;
  /** What each was last asked to have and was given, and when. */
  readonly #given = new Map<string, { readonly asked: string; readonly atMs: number }>();

  constructor(
    { version, root, mount = cgroupMount }: { version: 1 | 2; root: string; mount?: string },
    clock: Clock,
  ) {
    this.#version = version;
    this.#root = root;
    this.#mount = mount;
    this.#clock = clock;
  }

  /**
   * Makes it with all that it is in. `path` is below the root: `/kubepods/burstable/podUID`. `raising`: where it stands already, limits
   * of memory and of CPU time are raised and never lowered, for its members may have more than the new ones (version 2 kills them then,
   * version 1 refuses). What stands, and was given the same not long ago, is left as it is.
   */
  async make(
    path: string,
    limits: CgroupLimits | undefined,
    { raising = false } = {},
  ): Promise<CgroupChange> {
    const asked = limitsText(limits, raising);
    const nowMs = this.#clock.monotonic();
    const given = this.#given.get(path);
    const isGiven = given?.asked === asked && nowMs - given.atMs < givenAgainMs;
    if (isGiven && (await this.#standsWhole(path))) return 'none';
    this.#given.delete(path);
    const made = await this.#make(path, limits, raising);
    this.#given.set(path, { asked, atMs: nowMs });
    return made ? 'create' : 'update';
  }

  /** Whether it was not there. */
  async #make(path: string, limits: CgroupLimits | undefined, raising: boolean): Promise<boolean> {
    let made = false;
    for (const tree of this.#limiting()) {
      const isNew = await this.#makeIn(tree, path);
      made ||= isNew;
      if (limits === undefined) continue;
      const folder = join(tree, this.#root, checked(path));
      const wanted = raising && !isNew ? raised(limits, await this.#standing(tree, path)) : limits;
      for (const [file, value] of this.#values(wanted, tree)) {
        await writeFile(join(folder, file), value);
      }
    }
    if (limits !== undefined) await this.#limitPids(path, limits.pids);
    return made;
  }

  async exists(path: string): Promise<boolean> {
    const [tree] = this.#limiting();
    return tree !== undefined && exists(join(tree, this.#root, checked(path)));
  }

  /** Names directly below `path`, in any controller. */
  async children(path: string): Promise<readonly string[]> {
    const names = new Set<string>();
    for (const tree of await this.#all()) {
      for (const name of await directories(join(tree, this.#root, checked(path)))) names.add(name);
    }
    return [...names].toSorted();
  }

  /** Removes it with all below; processes that are left in it are killed. */
  async remove(path: string): Promise<void> {
    const below = checked(path);
    this.#given.delete(path);
    for (const tree of await this.#all()) {
      await this.#removeTree(join(tree, this.#root, below));
    }
  }

  async #standsWhole(path: string): Promise<boolean> {
    for (const tree of this.#limiting()) {
      if (!(await exists(join(tree, this.#root, checked(path))))) return false;
    }
    return true;
  }

  #limiting(): readonly string[] {
    if (this.#version === 2) return [this.#mount];
    return [join(this.#mount, 'cpu'), join(this.#mount, 'memory')];
  }

  async #all(): Promise<readonly string[]> {
    if (this.#version === 2) return [this.#mount];
    return (await directories(this.#mount)).map((name) => join(this.#mount, name));
  }

  /** Whether it was not there. */
  async #makeIn(tree: string, path: string): Promise<boolean> {
    let at = tree;
    let made: string | undefined;
    for (const name of [...this.#root.split('/'), ...checked(path).split('/')]) {
      if (name === '') continue;
      if (this.#version === 2) await enableControllers(at);
      at = join(at, name);
      made = await mkdir(at, { recursive: true, mode: 0o755 });
    }
    return made !== undefined;
  }

  /** These, or what stands there where that is more; nothing is written. */
  async raised(path: string, limits: CgroupLimits): Promise<CgroupLimits> {
    let wanted = limits;
    for (const tree of this.#limiting()) wanted = raised(wanted, await this.#standing(tree, path));
    return wanted;
  }

  /** With version 1 each controller has its own, and the others' stand nowhere. */
  async #standing(tree: string, path: string): Promise<StandingLimits> {
    const folder = join(tree, this.#root, checked(path));
    const read = async (file: string): Promise<string> => contents(join(folder, file));
    if (this.#version === 2) {
      const [quota = '', period = ''] = (await read('cpu.max')).split(' ');
      return standing(await read('memory.max'), quota, period);
    }
    return standing(
      await read('memory.limit_in_bytes'),
      await read('cpu.cfs_quota_us'),
      await read('cpu.cfs_period_us'),
    );
  }

  /** Where nothing is to be limited, there need be no such controller. */
  async #limitPids(path: string, pids: bigint): Promise<void> {
    const tree = this.#version === 2 ? this.#mount : join(this.#mount, 'pids');
    const file = join(tree, this.#root, checked(path), 'pids.max');
    if (pids > 0n) {
      await this.#makeIn(tree, path);
      await writeFile(file, String(pids));
    } else if (await exists(file)) await writeFile(file, 'max');
  }

  #values(limits: CgroupLimits, tree: string): readonly (readonly [string, string])[] {
    const { cpuShares, cpuPeriodUs, cpuQuotaUs, memoryBytes } = limits;
    if (this.#version === 2) {
      const quota = cpuQuotaUs === 0n ? 'max' : String(cpuQuotaUs);
      return [
        ['cpu.weight', String(cpuWeight(cpuShares))],
        ['cpu.max', `${quota} ${cpuPeriodUs}`],
        ['memory.max', memoryBytes === 0n ? 'max' : String(memoryBytes)],
      ];
    }
    if (tree.endsWith('/memory')) {
      return [['memory.limit_in_bytes', memoryBytes === 0n ? '-1' : String(memoryBytes)]];
    }
    return [
      ['cpu.shares', String(cpuShares)],
      ['cpu.cfs_period_us', String(cpuPeriodUs)],
      ['cpu.cfs_quota_us', cpuQuotaUs === 0n ? '-1' : String(cpuQuotaUs)],
    ];
  }

  async #removeTree(path: string): Promise<void> {
    for (const name of await directories(path)) await this.#removeTree(join(path, name));
    for (let tried = 0; ; tried += 1) {
      try {
        await rmdir(path);
        return;
      } catch (thrown) {
        if (isAbsent(thrown)) return;
        if (tried === removeTries || systemCode(thrown) !== 'EBUSY') {
          throw new SwitchyardError('tool', `cgroup ${path}: ${errorText(thrown)}`, {
            cause: thrown,
            retryable: true,
          });
        }
      }
      await killAllOf(path);
      await this.#clock.sleep(removePauseMs * 2 ** tried);
    }
  }
}

/** As far as they stand there; in {@link CgroupLimits}' terms. */
type StandingLimits = Partial<Pick<CgroupLimits, 'memoryBytes' | 'cpuQuotaUs' | 'cpuPeriodUs'>>;

/** What version 2 has for shares of version 1: 1 to 10,000. */
export function cpuWeight(shares: bigint): bigint {
  return 1n + ((shares - 2n) * 9999n) / 262_142n;
}

function standing(memory: string, quota: string, period: string): StandingLimits {
  const bytes = amount(memory);
  const [cpuQuotaUs, cpuPeriodUs] = [amount(quota), amount(period)];
  return {
    ...(bytes === undefined ? {} : { memoryBytes: isUnlimited(bytes) ? 0n : bytes }),
    ...(cpuQuotaUs === undefined || cpuPeriodUs === undefined ? {} : { cpuQuotaUs, cpuPeriodUs }),
  };
}

function amount(text: string): bigint | undefined {
  if (text === 'max' || text === '-1') return 0n;
  return /^\d+$/.test(text) ? BigInt(text) : undefined;
}

/** These, or what stands there where that is more. */
function raised(limits: CgroupLimits, stands: StandingLimits): CgroupLimits {
  const { memoryBytes = limits.memoryBytes } = stands;
  const { cpuQuotaUs = limits.cpuQuotaUs, cpuPeriodUs = limits.cpuPeriodUs } = stands;
  const lowersMemory = isLower(limits.memoryBytes, memoryBytes);
  const lowersCpu = isLower(limits.cpuQuotaUs * cpuPeriodUs, cpuQuotaUs * limits.cpuPeriodUs);
  return {
    ...limits,
    ...(lowersMemory ? { memoryBytes } : {}),
    ...(lowersCpu ? { cpuQuotaUs, cpuPeriodUs } : {}),
  };
}

/** 0: no limit. */
function isLower(limit: bigint, than: bigint): boolean {
  return limit !== 0n && (than === 0n || limit < than);
}

async function contents(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (thrown) {
    if (isAbsent(thrown)) return '';
    throw thrown;
  }
}

/** Limits that others have changed are taken back after so long. */
const givenAgainMs = 600_000;
const removeTries = 6;
const removePauseMs = 5;

/** A path that stays below what it is joined to. */
function checked(path: string): string {
  if (path.split('/').includes('..')) {
    throw new SwitchyardError('internal', `cgroup ${path} is outside of its root`);
  }
  return path;
}

async function enableControllers(at: string): Promise<void> {
  const available = await readFile(join(at, 'cgroup.controllers'), 'utf8');
  const wanted = available
    .trim()
    .split(/\s+/)
    .filter((name) => name !== '');
  const enabled = (await readFile(join(at, 'cgroup.subtree_control'), 'utf8')).trim().split(/\s+/);
  const missing = wanted.filter((name) => !enabled.includes(name));
  if (missing.length === 0) return;
  await writeFile(join(at, 'cgroup.subtree_control'), missing.map((name) => `+${name}`).join(' '));
}

async function killAllOf(path: string): Promise<void> {
  const text = await readFile(join(path, 'cgroup.procs'), 'utf8').catch(() => '');
  for (const line of text.split('\n')) {
    const pid = Number(line);
    // 0: it is in another PID namespace, out of reach
    if (!Number.isInteger(pid) || pid <= 1) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it has ended by itself
    }
  }
}

async function directories(path: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (thrown) {
    if (isAbsent(thrown)) return [];
    throw thrown;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await statfs(path);
    return true;
  } catch (thrown) {
    if (isAbsent(thrown)) return false;
    throw thrown;
  }
}
