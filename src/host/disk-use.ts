import { constants } from 'node:fs';
import type { Stats } from 'node:fs';
import { lstat, open, readdir, statfs } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

/** What is on a disk. */
export interface DiskUse {
  readonly bytes: number;
  /** Files, folders and all else that has a number there. */
  readonly inodes: number;
}

const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Looked at at a time. */
const atOnce = 16;
/** A tree may be as deep as whoever writes it likes; one handle a level is open. */
const deepest = 256;
const bytesPerBlock = 512;

/**
 * What a folder and all below it takes on its file system; nothing of another one that is mounted there. It is walked by handles, for
 * whoever writes to it may swap folders and links meanwhile, and what is outside of it is not to be counted. A file with several names
 * counts once. Throws where `path` is no folder.
 */
export async function diskUse(path: string, signal: AbortSignal): Promise<DiskUse> {
  const root = await open(path, flags);
  try {
    const { dev, blocks } = await root.stat();
    const walk = new Walk(dev, signal);
    walk.count(blocks);
    await walk.into(root, 0);
    return walk.sum;
  } finally {
    await root.close();
  }
}

/** The same at once where the folder is a file system of its own; undefined: it is none. Throws where there is no folder. */
export async function mountUse(path: string): Promise<DiskUse | undefined> {
  const [own, above] = await Promise.all([lstat(path), lstat(dirname(path))]);
  if (own.dev === above.dev) return undefined;
  const { bsize, blocks, bfree, files, ffree } = await statfs(path);
  return { bytes: bsize * (blocks - bfree), inodes: files - ffree };
}

class Walk {
  readonly #dev: number;
  readonly #signal: AbortSignal;
  readonly #linked = new Set<number>();
  #bytes = 0;
  #inodes = 0;

  constructor(dev: number, signal: AbortSignal) {
    this.#dev = dev;
    this.#signal = signal;
  }

  get sum(): DiskUse {
    return { bytes: this.#bytes, inodes: this.#inodes };
  }

  count(blocks: number): void {
    this.#bytes += blocks * bytesPerBlock;
    this.#inodes++;
  }

  async into(folder: FileHandle, depth: number): Promise<void> {
    this.#signal.throwIfAborted();
    const at = `/proc/self/fd/${folder.fd}`;
    const names = await readdir(at);
    for (let from = 0; from < names.length; from += atOnce) {
      const some = names.slice(from, from + atOnce);
      const folders = await Promise.all(some.map(async (name) => this.#look(`${at}/${name}`)));
      for (const path of folders) {
        if (path !== undefined && depth < deepest) await this.#enter(path, depth + 1);
      }
    }
  }

  /** Counts it; gives its path where it is a folder. */
  async #look(path: string): Promise<string | undefined> {
    const found = await lstat(path).catch(() => undefined);
    // gone meanwhile
    if (found === undefined || this.#isKnown(found)) return undefined;
    // something is mounted there; of files that says nothing, for those of an overlay have other numbers than its folders
    if (found.isDirectory() && found.dev !== this.#dev) return undefined;
    this.count(found.blocks);
    return found.isDirectory() ? path : undefined;
  }

  #isKnown(found: Stats): boolean {
    if (found.nlink < 2 || found.isDirectory()) return false;
    if (this.#linked.has(found.ino)) return true;
    this.#linked.add(found.ino);
    return false;
  }

  async #enter(path: string, depth: number): Promise<void> {
    const folder = await open(path, flags).catch(() => undefined);
    if (folder === undefined) return;
    try {
      if ((await folder.stat()).dev === this.#dev) await this.into(folder, depth);
    } finally {
      await folder.close();
    }
  }
}
