import { readFile, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';

/** What a file system has, in bytes and files. */
export interface DiskSpace {
  readonly bytes: number;
  /** Without what is kept for root. */
  readonly availableBytes: number;
  /** 0: the file system does not count them. */
  readonly inodes: number;
  readonly freeInodes: number;
}

/** The space of the file system that a path is on. */
export async function readDiskSpace(path: string): Promise<DiskSpace> {
  const { bsize, blocks, bavail, files, ffree } = await statfs(path);
  return {
    bytes: bsize * blocks,
    availableBytes: bsize * bavail,
    inodes: files,
    freeInodes: ffree,
  };
}

/** Whether two paths are on different file systems. */
export async function areOnTwoDisks(one: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([stat(one), stat(other)]);
  return a.dev !== b.dev;
}

/** How many processes and threads there may be, and are; undefined: not known. */
export interface ProcessCount {
  readonly most: number;
  readonly now: number;
}

/** Reads the kernel's own limit and count. */
export async function readProcessCount(proc = '/proc'): Promise<ProcessCount | undefined> {
  const most = await readFile(join(proc, 'sys/kernel/pid_max'), 'utf8').catch(() => '');
  const load = await readFile(join(proc, 'loadavg'), 'utf8').catch(() => '');
  const now = /^\S+ \S+ \S+ \d+\/(\d+) /.exec(load)?.[1];
  return now === undefined || most === '' ? undefined : { most: Number(most), now: Number(now) };
}
