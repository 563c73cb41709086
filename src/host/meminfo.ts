import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Reads `/proc/meminfo`: bytes by name (`MemTotal`); undefined where the kernel does not say it. */
export async function readMeminfo(proc: string): Promise<(name: string) => number | undefined> {
  const text = await readFile(join(proc, 'meminfo'), 'utf8').catch(() => '');
  return (name) => {
    const kilobytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
  };
}
