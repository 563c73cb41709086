import type { BigIntStats } from 'node:fs';
import { lstat, readdir, readFile, realpath, stat } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';

import { errorText, systemCode } from '../error.ts';
import type { Kind, KubeObject } from './kind.ts';
import {
  mergeManifests,
  parseManifestFile,
  unreadableManifest,
  type ManifestFile,
  type ManifestSet,
} from './manifests.ts';

const EXTENSIONS = new Set(['.yaml', '.yml', '.json']);
/** Why a pipe, a socket or a device is not read. */
export const NO_FILE = 'is no regular file, expected one with manifests';

/** A manifest file as it was found. */
export interface FoundFile {
  readonly path: string;
  /** Differs when the content may differ: inode, size and times in nanoseconds. */
  readonly fingerprint: string;
  readonly modifiedAtMs: number;
  /** Where it lies when all links are followed. */
  readonly realPath: string;
  /** A pipe or a device can be read once, and by no watch. */
  readonly regular: boolean;
}

/** What lies under some paths. */
export interface FoundFiles {
  /** Each path's files sorted by name, in the order of the paths. */
  readonly files: readonly FoundFile[];
  /** Directories that hold them, with their inode: what has to be watched. */
  readonly directories: ReadonlyMap<string, string>;
  /** Files that exist and cannot be looked at. */
  readonly unreadable: readonly { readonly path: string; readonly reason: string }[];
  /** Paths or directories that are not there or cannot be listed. */
  readonly missing: readonly {
    readonly path: string;
    readonly reason: string;
    /** Gone from a directory that is there: a file that was here is deleted, not lost. */
    readonly deleted: boolean;
  }[];
}

/**
 * Reads manifests from files and directories once; what cannot be read is in `problems`. `read` are
 * files that were read otherwise, and come last.
 */
export async function readManifestPaths(
  paths: readonly string[],
  kinds: readonly Kind<KubeObject>[],
  read: readonly ManifestFile[] = [],
): Promise<ManifestSet> {
  const found = await findManifestFiles(paths);
  const files = await Promise.all(found.files.map((file) => readManifestFile(file.path, kinds)));
  const unread = [...found.missing, ...found.unreadable].map(({ path, reason }) =>
    unreadableManifest(path, reason),
  );
  return mergeManifests([...files.filter((file) => file !== undefined), ...unread, ...read]);
}

/** One file's objects; undefined when it is gone. */
export async function readManifestFile(
  path: string,
  kinds: readonly Kind<KubeObject>[],
): Promise<ManifestFile | undefined> {
  try {
    return await parseManifestFile(await readFile(path, 'utf8'), path, kinds);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    return unreadableManifest(path, `cannot be read: ${errorText(error)}`);
  }
}

/** What {@link FoundFile.fingerprint} would be now; undefined when there is no such file. */
export async function fingerprintOf(path: string): Promise<string | undefined> {
  try {
    return fingerprint(await stat(path, { bigint: true }));
  } catch {
    return undefined;
  }
}

/**
 * Finds `.yaml`, `.yml` and `.json` files. Directories are entered, links followed. Names with a dot
 * in front are left out: the `..data` of a mounted ConfigMap is what its files link to, and editors
 * keep their locks and copies there.
 */
export async function findManifestFiles(paths: readonly string[]): Promise<FoundFiles> {
  const search = new FileSearch();
  for (const path of paths) await search.addRoot(path);
  return search;
}

class FileSearch implements FoundFiles {
  readonly files: FoundFile[] = [];
  readonly directories = new Map<string, string>();
  readonly unreadable: { path: string; reason: string }[] = [];
  readonly missing: { path: string; reason: string; deleted: boolean }[] = [];
  /** Real paths, so that a link to a parent ends. */
  readonly #entered = new Set<string>();
  readonly #seenFiles = new Set<string>();

  async addRoot(path: string): Promise<void> {
    try {
      const stats = await stat(path, { bigint: true });
      if (stats.isDirectory()) {
        await this.#addDirectory(path, stats.ino);
        // a link that is swapped says so where it lies
        if ((await lstat(path)).isSymbolicLink()) await this.#addParent(path);
        return;
      }
      await this.#addParent(path);
      await this.#addFile(path, stats);
    } catch (error) {
      await this.#addMissingRoot(path, error);
    }
  }

  async #addParent(path: string): Promise<void> {
    const parent = dirname(path);
    this.directories.set(parent, String((await stat(parent, { bigint: true })).ino));
  }

  async #addMissingRoot(path: string, error: unknown): Promise<void> {
    const parent = await stat(dirname(path), { bigint: true }).catch(() => undefined);
    if (parent?.isDirectory() === true) {
      // its return is seen at once
      this.directories.set(dirname(path), String(parent.ino));
    }
    const deleted = parent !== undefined && systemCode(error) === 'ENOENT';
    this.missing.push({ path, reason: `cannot be read: ${errorText(error)}`, deleted });
  }

  async #addDirectory(path: string, inode: bigint): Promise<void> {
    let names: string[];
    try {
      const real = await realpath(path);
      if (this.#entered.has(real)) return;
      this.#entered.add(real);
      names = await readdir(path);
    } catch (error) {
      const reason = `cannot be listed: ${errorText(error)}`;
      this.missing.push({ path, reason, deleted: false });
      return;
    }
    this.directories.set(path, String(inode));
    for (const name of names.toSorted()) {
      if (!name.startsWith('.')) await this.#addEntry(join(path, name));
    }
  }

  async #addEntry(path: string): Promise<void> {
    try {
      const stats = await stat(path, { bigint: true });
      if (stats.isDirectory()) await this.#addDirectory(path, stats.ino);
      else if (!EXTENSIONS.has(extname(path))) return;
      else if (stats.isFile()) await this.#addFile(path, stats);
      else this.unreadable.push({ path, reason: NO_FILE });
    } catch (error) {
      // gone since it was listed, or a dangling link: there is no such file
      if (systemCode(error) === 'ENOENT') return;
      this.unreadable.push({ path, reason: `cannot be read: ${errorText(error)}` });
    }
  }

  async #addFile(path: string, stats: BigIntStats): Promise<void> {
    if (this.#seenFiles.has(path)) return;
    const realPath = await realpath(path);
    this.#seenFiles.add(path);
    this.files.push({
      path,
      fingerprint: fingerprint(stats),
      modifiedAtMs: Number(stats.mtimeMs),
      realPath,
      regular: stats.isFile(),
    });
  }
}

/** {@link FoundFile.fingerprint} of what `stat` says. */
export function fingerprint(stats: BigIntStats): string {
  return [stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(' ');
}
