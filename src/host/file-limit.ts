import { readFile } from 'node:fs/promises';

/** How many files this process may have open at most; undefined where that is not known. Node raises its soft limit to the hard one. */
export async function fileLimit(path = '/proc/self/limits'): Promise<number | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const [, soft] = /^Max open files\s+(\S+)/m.exec(text) ?? [];
  const limit = soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
  return Number.isNaN(limit) ? undefined : limit;
}
