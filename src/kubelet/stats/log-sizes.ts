import { lstat, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { DiskUse } from '../../host/disk-use.ts';

const bytesPerBlock = 512;

/**
 * What the logs of a container take: `.../NAME/3.log` with its parts that were rotated, and those of its earlier instances, which lie
 * beside it; undefined: it has none, or they cannot be read.
 */
export async function logSize(logPath: string): Promise<DiskUse | undefined> {
  if (logPath === '') return undefined;
  const folder = dirname(logPath);
  const names = await readdir(folder).catch(() => undefined);
  if (names === undefined) return undefined;
  const found = await Promise.all(
    names.map(async (name) => lstat(join(folder, name)).catch(() => undefined)),
  );
  const files = found.filter((each) => each !== undefined && each.isFile());
  const bytes = files.reduce((sum, each) => sum + (each?.blocks ?? 0) * bytesPerBlock, 0);
  return { bytes, inodes: files.length };
}
