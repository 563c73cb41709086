import { constants } from 'node:fs';
import type { Stats } from 'node:fs';
import { mkdir, open, readlink, realpath, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

import { isAbsent, SwitchyardError, systemCode } from '../../error.ts';
import type { Mounts } from '../../host/mounts.ts';
import { O_PATH, pathOf } from './open-path.ts';
import { isWithin } from './removal.ts';

const handleFlags = O_PATH | constants.O_NOFOLLOW;
/** A container that goes on making links must end somewhere. */
const mostSteps = 256;

/**
 * A file or folder inside a volume that is open, so that it stays the same one whatever a container does to its path meanwhile.
 * The path is walked by handles: each element is opened in the folder that is open already, and never through a link. A link is read, and
 * walked on the same way; one that leads out of the volume is refused. What is missing is made, as a folder.
 */
export async function openBelow(root: string, subPath: string): Promise<FileHandle> {
  const elements = subPath.split('/').filter((element) => element !== '' && element !== '.');
  if (subPath.startsWith('/') || elements.includes('..')) throw escapes(subPath);
  const walk = new Walk(await realpath(root), subPath);
  try {
    await walk.begin();
    await walk.along(elements);
    return walk.end();
  } finally {
    await walk.close();
  }
}

class Walk {
  readonly #root: string;
  readonly #subPath: string;
  /** From the volume's root to where the walk is: `..` in a link goes back here, and no further. */
  readonly #open: FileHandle[] = [];
  /** Mode of what is made. */
  #mode = 0o750;

  constructor(root: string, subPath: string) {
    this.#root = root;
    this.#subPath = subPath;
  }

  async begin(): Promise<void> {
    const handle = await open(this.#root, handleFlags);
    this.#open.push(handle);
    this.#mode = (await handle.stat()).mode & 0o7777;
  }

  async along(elements: readonly string[]): Promise<void> {
    const left = elements.toReversed();
    for (let steps = 0; left.length > 0; steps++) {
      if (steps === mostSteps) throw escapes(this.#subPath, 'it has too many links');
      const element = left.pop();
      if (element === undefined || element === '' || element === '.') continue;
      if (element === '..') await this.#back();
      else {
        const link = await this.#into(element);
        if (link !== undefined) left.push(...(await this.#linked(link)).toReversed());
      }
    }
  }

  /** Gives the last handle away. */
  end(): FileHandle {
    const handle = this.#open.pop();
    if (handle === undefined) throw escapes(this.#subPath);
    return handle;
  }

  async close(): Promise<void> {
    for (const handle of this.#open.splice(0)) await handle.close();
  }

  async #back(): Promise<void> {
    const handle = this.#open.length > 1 ? this.#open.pop() : undefined;
    if (handle === undefined) throw escapes(this.#subPath);
    await handle.close();
  }

  /** Goes one element on; gives what a link says where it is one. */
  async #into(element: string): Promise<string | undefined> {
    const at = `${pathOf(this.#here())}/${element}`;
    let handle = await openIfThere(at);
    if (handle === undefined) {
      await this.#make(at);
      handle = await open(at, handleFlags);
    }
    if ((await handle.stat()).isSymbolicLink()) {
      await handle.close();
      return readlink(at);
    }
    this.#open.push(handle);
    return undefined;
  }

  /** The elements to go on with. */
  async #linked(target: string): Promise<readonly string[]> {
    if (!target.startsWith('/')) return target.split('/');
    if (!isWithin(target, this.#root)) throw escapes(this.#subPath);
    while (this.#open.length > 1) await this.#back();
    return target.slice(this.#root.length).split('/');
  }

  async #make(at: string): Promise<void> {
    try {
      await mkdir(at, { mode: this.#mode });
    } catch (error) {
      // somebody was faster
      if (systemCode(error) === 'EEXIST') return;
      throw error;
    }
    const handle = await open(
      at,
      constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW,
    );
    try {
      // what mkdir(2) took off for the umask, and the group that a folder of a group hands down
      const { mode } = await handle.stat();
      await handle.chmod(this.#mode | (mode & 0o2000));
    } finally {
      await handle.close();
    }
  }

  #here(): FileHandle {
    const handle = this.#open.at(-1);
    if (handle === undefined) throw escapes(this.#subPath);
    return handle;
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, handleFlags);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function escapes(subPath: string, why = 'it leads out of the volume'): SwitchyardError {
  const message = `subPath ${JSON.stringify(subPath)} escapes: ${why}`;
  return new SwitchyardError('object', message, { retryable: true });
}

/**
 * Binds what a `subPath` of a volume names to `target`, for a container that is about to be made. What an earlier container of this name
 * was given stays where it is the same.
 */
export async function bindSubPath(
  mounts: Mounts,
  {
    root,
    subPath,
    target,
  }: { readonly root: string; readonly subPath: string; readonly target: string },
  signal: AbortSignal,
): Promise<void> {
  const handle = await openBelow(root, subPath);
  try {
    const meant = await handle.stat();
    const mounted = (await mounts.list()).filter(({ path }) => path === target);
    if (mounted.length > 0 && isSame(meant, await stat(target))) return;
    for (const { path } of mounted) await mounts.unmount(path, signal);
    await makeTarget(target, meant.isDirectory());
    await mounts.bind(pathOf(handle), target, signal);
    if (isSame(meant, await stat(target))) return;
    await mounts.unmount(target, signal);
    throw new SwitchyardError('tool', `mount bound something else to ${target} than it was given`);
  } finally {
    await handle.close();
  }
}

function isSame(a: Stats, b: Stats): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

/** A folder is bound to a folder, anything else to a file. */
async function makeTarget(target: string, isDirectory: boolean): Promise<void> {
  await mkdir(dirname(target), { recursive: true, mode: 0o750 });
  const present = await kindOf(target);
  if (present === isDirectory) return;
  if (present === true) await rmdir(target);
  if (present === false) await rm(target);
  if (isDirectory) await mkdir(target, { mode: 0o750 });
  else await writeFile(target, '', { mode: 0o640 });
}

/** Whether there is a folder; undefined: there is nothing. */
async function kindOf(path: string): Promise<boolean | undefined> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
