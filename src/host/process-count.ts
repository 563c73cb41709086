import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

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
