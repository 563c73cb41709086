import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { cgroupMount, cgroupVersion } from './cgroups.ts';

/** What the kernel's tree of cgroups can limit. */
export interface CgroupControllers {
  readonly version: 1 | 2;
  /** `cpu`, `memory`, `pids`. */
  readonly controllers: readonly string[];
}

/** Reads it of the root of the tree; version 1 has a folder for each. */
export async function readControllers(mount = cgroupMount): Promise<CgroupControllers> {
  const version = await cgroupVersion(mount);
  const names =
    version === 2
      ? (await readFile(join(mount, 'cgroup.controllers'), 'utf8')).trim().split(' ')
      : (await readdir(mount)).flatMap((name) => name.split(','));
  return { version, controllers: [...new Set(names)].filter((name) => name !== '').toSorted() };
}
