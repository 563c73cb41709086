import { rm } from 'node:fs/promises';

import { SwitchyardError } from '../../error.ts';
import type { Mounts } from '../../host/mounts.ts';

/** Unmounts all that is mounted on a folder and below it, the last mounted first. */
export async function unmountBelow(
  mounts: Mounts,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  for (const { path } of (await mounts.list()).toReversed()) {
    if (isWithin(path, directory)) await mounts.unmount(path, signal);
  }
}

/**
 * Removes a folder with all in it; refuses where anything is mounted on it or below it, for that would be emptied with it: a
 * `hostPath` that a container mounted on, a tmpfs that another process took.
 */
export async function removeUnmounted(mounts: Mounts, directory: string): Promise<void> {
  const inTheWay = (await mounts.list()).find(({ path }) => isWithin(path, directory));
  if (inTheWay !== undefined) {
    const message = `${directory} is not removed: ${inTheWay.path} is still mounted`;
    const hint = `see what uses it (fuser -m ${inTheWay.path}), and unmount it`;
    throw new SwitchyardError('tool', message, { retryable: true, hint });
  }
  await rm(directory, { recursive: true, force: true });
}

/** Whether `path` is `directory`, or lies below it. */
export function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory}/`);
}
