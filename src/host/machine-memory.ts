import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readMeminfo } from './meminfo.ts';

/** Memory that is there for this process, in bytes. */
export interface MachineMemory {
  readonly total: number | undefined;
  readonly available: number | undefined;
  /** The least limit of the control groups this process is in; undefined: none, or not known. */
  readonly limit: number | undefined;
}

/** Where the kernel says so; tests point it at folders of their own. */
export interface MemoryPaths {
  readonly proc: string;
  readonly cgroups: string;
}

/** Reads memory and the limits of control groups, of either version. */
export async function readMemory(
  { proc, cgroups }: MemoryPaths = { proc: '/proc', cgroups: '/sys/fs/cgroup' },
): Promise<MachineMemory> {
  const bytesOf = await readMeminfo(proc);
  const groups = await readFile(join(proc, 'self/cgroup'), 'utf8').catch(() => '');
  const limits: number[] = [];
  for (const file of limitFiles(groups)) {
    const text = await readFile(join(cgroups, file), 'utf8').catch(() => 'max');
    const bytes = Number(text.trim());
    // version 1 says "no limit" by a number near 2^63
    if (Number.isFinite(bytes) && bytes < 2 ** 60) limits.push(bytes);
  }
  return {
    total: bytesOf('MemTotal'),
    available: bytesOf('MemAvailable'),
    limit: limits.length === 0 ? undefined : Math.min(...limits),
  };
}

/** The limits of all groups from this process's up to the root. */
function limitFiles(groups: string): readonly string[] {
  return groups.split('\n').flatMap((line) => {
    const [, controllers, path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const isMemory = controllers?.split(',').includes('memory') === true;
    if (controllers !== '' && !isMemory) return [];
    const names = path.split('/').filter((name) => name !== '');
    const folders = [...names.keys(), names.length].map((count) => names.slice(0, count).join('/'));
    return folders.map((folder) =>
      isMemory ? join('memory', folder, 'memory.limit_in_bytes') : join(folder, 'memory.max'),
    );
  });
}
