import { delimiter } from 'node:path';

/** Where the tools we run lie. `su` without `-` and users other than root have a PATH without it. */
const systemFolders = ['/usr/sbin', '/sbin'];

/** A PATH with the folders of system tools at its end, where it lacks them. */
export function toolPath(path: string | undefined): string {
  const folders = (path ?? '').split(delimiter).filter((folder) => folder !== '');
  return [...new Set([...folders, ...systemFolders])].join(delimiter);
}
