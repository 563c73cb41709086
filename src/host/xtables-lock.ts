import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { toolOwnerVariable } from './run-tool.ts';

/** The process that keeps others out of xtables. */
export interface LockHolder {
  /** 0 where the process lives outside this pid namespace. */
  readonly pid: number;
  readonly name: string | undefined;
}

/** Where to look; tests point it at files of their own. */
export interface LockPaths {
  readonly lockFile: string;
  readonly proc: string;
}

/** The lock file every xtables tool takes (legacy variant); XTABLES_LOCKFILE moves it. */
export function defaultLockPaths(env: Readonly<Record<string, string | undefined>>): LockPaths {
  return { lockFile: env['XTABLES_LOCKFILE'] ?? '/run/xtables.lock', proc: '/proc' };
}

/** Who holds the xtables lock now, or undefined where nobody does or it cannot be told. */
export async function xtablesLockHolder(paths: LockPaths): Promise<LockHolder | undefined> {
  try {
    const { ino } = await stat(paths.lockFile);
    const pid = lockHolderPid(await readFile(join(paths.proc, 'locks'), 'utf8'), ino);
    return pid === undefined ? undefined : { pid, name: await processName(paths.proc, pid) };
  } catch {
    return undefined; // only an addition to a message: its absence must not hide the message
  }
}

/** Whether a tool that the process `owner` runs waits for the lock now; false where it cannot be told. */
export async function waitsForXtablesLock(paths: LockPaths, owner: number): Promise<boolean> {
  try {
    const { ino } = await stat(paths.lockFile);
    const waiting = lockWaiterPids(await readFile(join(paths.proc, 'locks'), 'utf8'), ino);
    const owners = await Promise.all(waiting.map(async (pid) => ownerOf(paths.proc, pid)));
    return owners.includes(owner);
  } catch {
    return false; // no such file: nobody has taken the lock yet
  }
}

/** The pids that wait for a lock on an inode, in the text of /proc/locks. */
export function lockWaiterPids(locks: string, inode: number): readonly number[] {
  return locks
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1] === '->' && fields[6]?.split(':').at(-1) === String(inode))
    .map((fields) => Number(fields[5]));
}

/** The process that runs a tool, or a script around it: as it is written into the environment of each. */
async function ownerOf(proc: string, pid: number): Promise<number | undefined> {
  try {
    const environment = await readFile(join(proc, String(pid), 'environ'), 'utf8');
    const prefix = `${toolOwnerVariable}=`;
    const found = environment.split('\0').find((each) => each.startsWith(prefix));
    return found === undefined ? undefined : Number(found.slice(prefix.length));
  } catch {
    return undefined; // it has ended meanwhile
  }
}

/** The pid of the lock on an inode in the text of /proc/locks; lines with `->` are waiters. */
export function lockHolderPid(locks: string, inode: number): number | undefined {
  for (const line of locks.split('\n')) {
    const fields = line.trim().split(/\s+/);
    if (fields[1] === '->' || fields[5]?.split(':').at(-1) !== String(inode)) continue;
    return Number(fields[4]);
  }
  return undefined;
}

async function processName(proc: string, pid: number): Promise<string | undefined> {
  try {
    return (await readFile(join(proc, String(pid), 'comm'), 'utf8')).trim();
  } catch {
    return undefined;
  }
}
