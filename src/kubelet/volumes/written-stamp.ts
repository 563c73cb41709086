import { createHash } from 'node:crypto';
import { lstat, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { isAbsent } from '../../error.ts';
import { dataLink } from './atomic-writer.ts';
import type { AtomicWrite } from './atomic-writer.ts';

/**
 * What a folder of `writeAtomically` looks like, and what was written there. As long as this is the same, so are its files: whatever changes
 * one of them, or a name, changes a time of inode(7) that nobody can set. A fifth of what it takes to read them all again, which a node does
 * for each pod each minute. Undefined: something of it is not there.
 */
export async function writtenStamp(
  directory: string,
  { payload, fsGroup }: Pick<AtomicWrite, 'payload' | 'fsGroup'>,
): Promise<string | undefined> {
  const hash = createHash('sha256').update(`${fsGroup}\n`);
  const data = join(directory, dataLink);
  try {
    hash.update(await look(directory, lstat)).update(await look(data, stat));
    const folders = new Set(['.']);
    for (const [path, { data: content, mode, uid }] of payload) {
      const folder = dirname(path);
      if (!folders.has(folder)) hash.update(await look(join(data, folder), lstat));
      folders.add(folder);
      hash.update(await look(join(data, path), lstat));
      hash.update(`${JSON.stringify(path)} ${mode} ${uid} ${content.length}\n`).update(content);
    }
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
  return hash.digest('base64');
}

async function look(path: string, by: typeof lstat): Promise<string> {
  const { dev, ino, mode, uid, gid, size, ctimeNs } = await by(path, { bigint: true });
  return [dev, ino, mode, uid, gid, size, ctimeNs].join(' ') + '\n';
}
