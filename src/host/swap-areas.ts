import { readFile } from 'node:fs/promises';

/** Where the machine swaps to: files and devices, none where there is no swap. */
export async function swapAreas(proc = '/proc'): Promise<readonly string[]> {
  const text = await readFile(`${proc}/swaps`, 'utf8').catch(() => '');
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => line.split(/\s/, 1)[0] || []);
}
