import { createHash } from 'node:crypto';
import { lstat, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { dataLink, parentsOf } from './atomic-writer.ts';
import type { AtomicWrite } from './atomic-writer.ts';

/**
 * What a folder of `writeAtomically` looks like, and what is to be there. As long as this is the same, so are its files: who writes, renames or
 * removes one changes a time of inode(7) that nobody can set. Not seen is what is stored through a mapping of a file in memory, which takes
 * root on the node. A fifth of what it takes to read them all, which a node would do for each pod each minute.
 * Undefined: something is not there, or not what it was.
 */
export async function writtenStamp(
  directory: string,
  { payload, fsGroup }: Pick<AtomicWrite, 'payload' | 'fsGroup'>,
): Promise<string | undefined> {
  const hash = createHash('sha256').update(`${fsGroup}\n`);
  const data = join(directory, dataLink);
  const looked = new Set<string>();
  const lookOnce = async (path: string): Promise<void> => {
    if (looked.has(path)) return;
    looked.add(path);
    hash.update(await look(join(data, path), lstat));
  };
  try {
    hash.update(await look(directory, lstat)).update(await look(data, stat));
    for (const [path, { data: content, mode, uid }] of payload) {
      for (const parent of parentsOf(path)) await lookOnce(parent);
      await lookOnce(path);
      hash.update(`${JSON.stringify(path)} ${mode} ${uid} ${content.length}\n`).update(content);
    }
  } catch {
    return undefined;
  }
  return hash.digest('base64');
}

async function look(path: string, by: typeof lstat): Promise<string> {
  const { dev, ino, mode, uid, gid, size, ctimeNs } = await by(path, { bigint: true });
  return [dev, ino, mode, uid, gid, size, ctimeNs].join(' ') + '\n';
}
