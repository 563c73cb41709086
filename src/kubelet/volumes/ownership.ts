import { chmod, chown, lstat, open, readdir } from 'node:fs/promises';
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';

import { SwitchyardError, systemCode } from '../../error.ts';
import type { PodSecurityContext } from '../pod/security-context.ts';
import { O_PATH, pathOf } from './open-path.ts';

const setGid = 0o2000;
/** Each level is an open handle while what is in it is walked. */
const mostLevels = 256;

/**
 * Gives a folder and all in it to a group that may read and write it; what is made in it later is the group's, too
 * (`PodSecurityContext.fsGroup` of the API). It is walked by handles: a container that has the folder already, and makes links of what it
 * holds meanwhile, leads nowhere else.
 */
export async function giveToGroup(
  path: string,
  { fsGroup, fsGroupChangePolicy }: Pick<PodSecurityContext, 'fsGroup' | 'fsGroupChangePolicy'>,
): Promise<void> {
  if (fsGroup === undefined) return;
  if (fsGroupChangePolicy === 'OnRootMismatch' && (await isGiven(path, fsGroup))) return;
  const root = await open(path, O_PATH | constants.O_DIRECTORY);
  try {
    await give(root, fsGroup);
  } finally {
    await root.close();
  }
}

async function isGiven(path: string, gid: number): Promise<boolean> {
  const found = await lstat(path);
  return found.gid === gid && (found.mode & 0o2770) === 0o2770;
}

/** A folder itself comes last: it tells that all in it is done. */
async function give(handle: FileHandle, gid: number, level = 1): Promise<void> {
  const path = pathOf(handle);
  const found = await handle.stat();
  if (found.isDirectory()) {
    if (level > mostLevels)
      throw new SwitchyardError(
        'object',
        `fsGroup: a volume with more than ${mostLevels} folders one in another is not given to a group`,
        { hint: 'set fsGroupChangePolicy to OnRootMismatch and the group of the volume by hand' },
      );
    for (const name of await readdir(path)) await giveEntry(`${path}/${name}`, gid, level + 1);
  }
  await chown(path, found.uid, gid);
  const more = found.isDirectory() ? 0o770 | setGid : 0o660;
  await chmod(path, (found.mode & 0o7777) | more);
}

/** What has gone meanwhile needs no group. */
async function giveEntry(at: string, gid: number, level: number): Promise<void> {
  let handle: FileHandle;
  try {
    handle = await open(at, O_PATH | constants.O_NOFOLLOW);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    throw error;
  }
  try {
    const found = await handle.stat();
    // By the handle it is the link itself; by its name it could be another file by now.
    if (found.isSymbolicLink()) await chown(pathOf(handle), found.uid, gid);
    else await give(handle, gid, level);
  } finally {
    await handle.close();
  }
}
