import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** When the machine was started, in milliseconds since the epoch; undefined: not known. */
export async function readBootTimeMs(proc = '/proc'): Promise<number | undefined> {
  const text = await readFile(join(proc, 'stat'), 'utf8').catch(() => '');
  const seconds = /^btime (\d+)$/m.exec(text)?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}
