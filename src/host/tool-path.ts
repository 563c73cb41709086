import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import process from 'node:process';

/** Where the tools we run lie. `su` without `-` and users other than root have a PATH without it. */
const systemFolders = ['/usr/sbin', '/sbin'];

/** A PATH with the folders of system tools at its end, where it lacks them. */
export function toolPath(path: string | undefined): string {
  const folders = (path ?? '').split(delimiter).filter((folder) => folder !== '');
  return [...new Set([...folders, ...systemFolders])].join(delimiter);
}

/** Where a tool lies that may be run; undefined where there is none. */
export async function findTool(
  tool: string,
  path: string | undefined = process.env['PATH'],
): Promise<string | undefined> {
  for (const folder of toolPath(path).split(delimiter)) {
    const file = join(folder, tool);
    const isThere = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return file;
  }
  return undefined;
}
