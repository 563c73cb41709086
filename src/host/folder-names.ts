import { readdir } from 'node:fs/promises';
import { isAbsent } from '../error.ts';

/** What lies in a folder, sorted; undefined where there is none. */
export async function folderNames(path: string): Promise<readonly string[] | undefined> {
  try {
    return (await readdir(path)).toSorted();
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
