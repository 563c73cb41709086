import { lstat, readlink, realpath, stat } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';

import { errorText } from '../error.ts';
import { fingerprint } from './manifest-files.ts';
import type { FoundFile } from './manifest-files.ts';

/** What a path leads to right now. */
export interface LinkedFile {
  /** The file, or why there is none. */
  readonly file: FoundFile | { readonly missing: string };
  /** Directories where a change of a name may lead elsewhere: the file's, and those of all links on the way; with their inodes. */
  readonly directories: ReadonlyMap<string, string>;
}

/** As many as the kernel follows. */
const mostLinks = 40;

/** Follows a path, link by link: a mounted ConfigMap is two of them. */
export async function findLinkedFile(path: string): Promise<LinkedFile> {
  const directories = await directoriesOn(path);
  try {
    const stats = await stat(path, { bigint: true });
    if (!stats.isFile()) return { file: { missing: 'is no regular file' }, directories };
    const file = {
      path,
      fingerprint: fingerprint(stats),
      modifiedAtMs: Number(stats.mtimeMs),
      realPath: await realpath(path),
      regular: true,
    };
    return { file, directories };
  } catch (error) {
    return { file: { missing: errorText(error) }, directories };
  }
}

async function directoriesOn(path: string): Promise<ReadonlyMap<string, string>> {
  const names = new Set<string>();
  let rest = resolve(path);
  for (let links = 0; links <= mostLinks; links++) {
    const next = await throughFirstLink(rest);
    if (next === undefined) break;
    names.add(dirname(next.link));
    rest = next.leadsTo;
  }
  // where the path is given: its file may come back there
  names.add(dirname(resolve(path)));
  names.add(dirname(rest));
  const found = new Map<string, string>();
  for (const name of names) {
    const stats = await stat(name, { bigint: true }).catch(() => undefined);
    if (stats?.isDirectory() === true) found.set(name, String(stats.ino));
  }
  return found;
}

/** The first link on an absolute path, and the path with that link followed; undefined where there is none (any more). */
async function throughFirstLink(
  path: string,
): Promise<{ readonly link: string; readonly leadsTo: string } | undefined> {
  const parts = path.split(sep).filter((part) => part !== '');
  for (let count = 1; count <= parts.length; count++) {
    const link = sep + parts.slice(0, count).join(sep);
    const stats = await lstat(link).catch(() => undefined);
    if (stats === undefined) return undefined;
    if (!stats.isSymbolicLink()) continue;
    const target = await readlink(link).catch(() => undefined);
    if (target === undefined) return undefined;
    return { link, leadsTo: join(resolve(dirname(link), target), ...parts.slice(count)) };
  }
  return undefined;
}
