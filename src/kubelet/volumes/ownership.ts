import { chmod, lchown, lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

import type { PodSecurityContext } from '../pod/pod.ts';

const setGid = 0o2000;

/** Gives a folder and all in it to a group that may read and write it; what is made in it later is the group's, too (spec 4.2). */
export async function giveToGroup(
  path: string,
  { fsGroup, fsGroupChangePolicy }: Pick<PodSecurityContext, 'fsGroup' | 'fsGroupChangePolicy'>,
): Promise<void> {
  if (fsGroup === undefined) return;
  if (fsGroupChangePolicy === 'OnRootMismatch' && (await isGiven(path, fsGroup))) return;
  await give(path, fsGroup);
}

async function isGiven(path: string, gid: number): Promise<boolean> {
  const found = await lstat(path);
  return found.gid === gid && (found.mode & 0o2770) === 0o2770;
}

/** The folder itself comes last: it tells that all in it is done. */
async function give(path: string, gid: number): Promise<void> {
  const found = await lstat(path);
  if (found.isDirectory()) {
    for (const name of await readdir(path)) await give(join(path, name), gid);
  }
  await lchown(path, found.uid, gid);
  if (found.isSymbolicLink()) return;
  const more = found.isDirectory() ? 0o770 | setGid : 0o660;
  await chmod(path, (found.mode & 0o7777) | more);
}
