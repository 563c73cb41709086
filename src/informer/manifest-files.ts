import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';

import { errorText } from '../error.ts';
import type { Kind, KubeObject } from './kind.ts';
import {
  mergeManifests,
  parseManifestFile,
  unreadableManifest,
  type ManifestFile,
  type ManifestSet,
} from './manifests.ts';

const EXTENSIONS = new Set(['.yaml', '.yml', '.json']);

/** A manifest file as it was found. */
export interface FoundFile {
  readonly path: string;
  /** Differs when the content may differ: inode, size and times in nanoseconds. */
  readonly fingerprint: string;
  readonly modifiedAtMs: number;
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
    /** A file that is gone from a directory that is there: deleted, not lost. */
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
    if (errorCode(error) === 'ENOENT') return undefined;
    return unreadableManifest(path, `cannot be read: ${errorText(error)}`);
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
        return;
      }
      const parent = dirname(path);
      this.directories.set(parent, String((await stat(parent, { bigint: true })).ino));
      this.#addFile(path, stats);
    } catch (error) {
      await this.#addMissingRoot(path, error);
    }
  }

  async #addMissingRoot(path: string, error: unknown): Promise<void> {
    const parent = await stat(dirname(path), { bigint: true }).catch(() => undefined);
    if (parent?.isDirectory() === true) {
      // its return is seen at once
      this.directories.set(dirname(path), String(parent.ino));
    }
    const looksLikeFile = EXTENSIONS.has(extname(path));
    const deleted = looksLikeFile && parent !== undefined && errorCode(error) === 'ENOENT';
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
      else if (EXTENSIONS.has(extname(path))) this.#addFile(path, stats);
    } catch (error) {
      // gone since it was listed, or a dangling link: there is no such file
      if (errorCode(error) === 'ENOENT') return;
      this.unreadable.push({ path, reason: `cannot be read: ${errorText(error)}` });
    }
  }

  #addFile(
    path: string,
    stats: { ino: bigint; size: bigint; mtimeNs: bigint; ctimeNs: bigint; mtimeMs: bigint },
  ): void {
    if (this.#seenFiles.has(path)) return;
    this.#seenFiles.add(path);
    const fingerprint = [stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(' ');
    this.files.push({ path, fingerprint, modifiedAtMs: Number(stats.mtimeMs) });
  }
}

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
