import {
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { Buffer } from 'node:buffer';
import { dirname, join } from 'node:path';

import { isAbsent, SwitchyardError, systemCode } from '../../error.ts';

/** A file of a volume. */
export interface PayloadFile {
  readonly data: Uint8Array;
  readonly mode: number;
  /** Its owner; root without. */
  readonly uid?: number;
}

/** By path below the volume: `tls/key.pem`. */
export type Payload = ReadonlyMap<string, PayloadFile>;

export interface AtomicWrite {
  readonly payload: Payload;
  /** The group that may read it all. */
  readonly fsGroup: number | undefined;
  readonly nowMs: number;
  /** A number in [0, 1). */
  readonly random: () => number;
}

/** What a writer turns to its newest folder. */
export const dataLink = '..data';
const nextLink = '..data_tmp';
const generationForm = /^\.\.\d{4}(?:_\d{2}){5}\.\d+$/;

/**
 * Makes a folder hold just these files, in one step for whoever reads them: a new folder is written whole, then the link
 * `..data` is turned to it. What was made by a writer that was interrupted is removed. Says whether anything had to be written.
 *
 * Who opens a file walks through `..data` to the folder that it names at that moment; where that one is removed before the walk is over the
 * answer is ENOENT, and the next try finds the new folder. So it is with upstream's protocol, too: no name is ever absent from `..data`.
 */
export async function writeAtomically(directory: string, write: AtomicWrite): Promise<boolean> {
  const paths = [...write.payload.keys()];
  for (const path of paths) checkPath(path);
  const current = await currentGeneration(directory);
  const isSame = current !== undefined && (await holds(join(directory, current), write));
  const generation = isSame ? current : await newGeneration(directory, write);
  if (!isSame) {
    const link = join(directory, nextLink);
    await rm(link, { force: true });
    await symlink(generation, link);
    await rename(link, join(directory, dataLink));
  }
  await linkNames(directory, new Set(paths.map(firstElement)));
  await removeOtherGenerations(directory, generation);
  return !isSame;
}

function checkPath(path: string): void {
  const elements = path.split('/');
  const isFitting =
    path !== '' &&
    Buffer.byteLength(path) <= 4096 &&
    !(elements[0] ?? '').startsWith('..') &&
    elements.every(
      (element) => element !== '' && element !== '..' && Buffer.byteLength(element) <= 255,
    );
  if (isFitting) return;
  const message = `invalid path ${JSON.stringify(path)}: expected one below the volume, without ".." and not longer than 4096 bytes`;
  throw new SwitchyardError('object', message);
}

function firstElement(path: string): string {
  return path.split('/')[0] ?? path;
}

/** Whether a folder was written by {@link writeAtomically}. */
export async function isWritten(directory: string): Promise<boolean> {
  return (await currentGeneration(directory)) !== undefined;
}

/** The folder that `..data` names, if it is one of ours. */
async function currentGeneration(directory: string): Promise<string | undefined> {
  try {
    const target = await readlink(join(directory, dataLink));
    return generationForm.test(target) ? target : undefined;
  } catch (error) {
    if (isAbsent(error) || systemCode(error) === 'EINVAL') return undefined;
    throw error;
  }
}

/** Whether a folder has these files and no other, with content, mode and owner. */
async function holds(generation: string, write: AtomicWrite): Promise<boolean> {
  try {
    const present = await filesBelow(generation);
    if (present.length !== write.payload.size) return false;
    for (const [path, file] of write.payload) {
      const at = join(generation, path);
      const { mode, uid, gid } = await lstat(at);
      const isMeant =
        (mode & 0o7777) === modeOf(file, write) &&
        (file.uid === undefined || file.uid === uid) &&
        (write.fsGroup === undefined || write.fsGroup === gid);
      if (!isMeant || !(await readFile(at)).equals(file.data)) return false;
    }
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

async function filesBelow(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name);
}

async function newGeneration(directory: string, write: AtomicWrite): Promise<string> {
  const name = await makeGeneration(directory, write);
  const generation = join(directory, name);
  const made = new Set<string>();
  for (const [path, file] of write.payload) {
    const at = join(generation, path);
    for (const parent of parentsOf(path)) {
      if (made.has(parent)) continue;
      made.add(parent);
      await mkdir(join(generation, parent));
      await open(join(generation, parent), write);
    }
    await mkdir(dirname(at), { recursive: true });
    await writeFile(at, file.data, { flag: 'wx', mode: 0o600 });
    if (file.uid !== undefined || write.fsGroup !== undefined) {
      await chown(at, file.uid ?? 0, write.fsGroup ?? 0);
    }
    await chmod(at, modeOf(file, write));
  }
  return name;
}

async function makeGeneration(directory: string, write: AtomicWrite): Promise<string> {
  const stamp = new Date(write.nowMs).toISOString().slice(0, 19).replaceAll(/[-T:]/g, '_');
  for (let tries = 0; ; tries++) {
    const name = `..${stamp}.${Math.floor(write.random() * 1e10) + tries}`;
    try {
      await mkdir(join(directory, name));
      await open(join(directory, name), write);
      return name;
    } catch (error) {
      if (systemCode(error) !== 'EEXIST' || tries >= 100) throw error;
    }
  }
}

/** `a`, `a/b` of `a/b/c`. */
export function parentsOf(path: string): readonly string[] {
  const elements = path.split('/').slice(0, -1);
  return elements.map((_element, i) => elements.slice(0, i + 1).join('/'));
}

/** Gives a folder its group and mode, whatever the umask is. */
async function open(directory: string, { fsGroup }: AtomicWrite): Promise<void> {
  if (fsGroup !== undefined) await chown(directory, 0, fsGroup);
  await chmod(directory, fsGroup === undefined ? 0o755 : 0o2755);
}

function modeOf({ mode }: PayloadFile, { fsGroup }: AtomicWrite): number {
  return fsGroup === undefined ? mode : mode | 0o440;
}

/** What a reader sees: a link for each first element, through `..data`; none for what is gone. */
async function linkNames(directory: string, wanted: ReadonlySet<string>): Promise<void> {
  for (const name of wanted) {
    const target = join(dataLink, name);
    const at = join(directory, name);
    if ((await linkTarget(at)) === target) continue;
    await rm(at, { force: true, recursive: true });
    await symlink(target, at);
  }
  for (const name of await readdir(directory)) {
    if (name.startsWith('..') || wanted.has(name)) continue;
    const at = join(directory, name);
    // only what a writer made
    if ((await linkTarget(at)) === join(dataLink, name)) await rm(at, { force: true });
  }
}

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (error) {
    if (isAbsent(error) || systemCode(error) === 'EINVAL') return undefined;
    throw error;
  }
}

async function removeOtherGenerations(directory: string, kept: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (name === kept || !generationForm.test(name)) continue;
    await rm(join(directory, name), { recursive: true, force: true });
  }
}
