import { mkdir, open, stat } from 'node:fs/promises';
import type { Stats } from 'node:fs';

import { isAbsent, SwitchyardError } from '../../error.ts';
import type { Volume } from '../pod/volume.ts';

/** What a type asks for, and how upstream calls it. */
const checks: Readonly<Record<string, readonly [(stats: Stats) => boolean, string]>> = {
  Directory: [(stats) => stats.isDirectory(), 'directory'],
  File: [(stats) => stats.isFile(), 'file'],
  Socket: [(stats) => stats.isSocket(), 'socket file'],
  CharDevice: [(stats) => stats.isCharacterDevice(), 'character device'],
  BlockDevice: [(stats) => stats.isBlockDevice(), 'block device'],
};

/** Checks that a `hostPath` is of its type, and makes it where the type says so (Kubernetes: Volumes). Nothing of it is ever removed. */
export async function checkHostPath({
  path,
  type = '',
}: NonNullable<Volume['hostPath']>): Promise<void> {
  if (path.split('/').includes('..')) {
    throw new SwitchyardError('object', `hostPath ${path}: expected a path without ".."`);
  }
  if (type === 'DirectoryOrCreate') await makeDirectory(path);
  if (type === 'FileOrCreate') await makeFile(path);
  const [fits, name] = checks[type.replace('OrCreate', '')] ?? [];
  if (fits === undefined || name === undefined) {
    if (type === '') return;
    throw new SwitchyardError('object', `hostPath ${path}: type ${type} is unknown`);
  }
  const found = await present(path);
  if (found !== undefined && fits(found)) return;
  const message = `hostPath type check failed: ${path} is not a ${name}`;
  throw new SwitchyardError('object', message, { retryable: true });
}

async function present(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** What is there already, of whatever kind, is left to the check. */
async function makeDirectory(path: string): Promise<void> {
  if ((await present(path)) === undefined) await mkdir(path, { recursive: true, mode: 0o755 });
}

async function makeFile(path: string): Promise<void> {
  if ((await present(path)) !== undefined) return;
  const file = await open(path, 'a', 0o644);
  await file.close();
}
