import { chmod, mkdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';

import { errorText } from '../../error.ts';
import type { MountPoint, Mounts } from '../../host/mounts.ts';
import type { Log } from '../../telemetry/log.ts';
import { isWithin } from './removal.ts';

/** What lies in the kubelet's root directory (Kubernetes: Local Files And Paths Used By The Kubelet). */
const folders = { pods: 0o750, plugins: 0o750, checkpoints: 0o700, pki: 0o750 } as const;

/**
 * Makes the kubelet's root directory with its folders, and sees to it that what is mounted below is seen in containers that ask for that.
 * Gives its real path: the kernel's table of mounts knows no links.
 */
export async function prepareRoot(
  root: string,
  mounts: Mounts,
  log: Log,
  signal: AbortSignal,
): Promise<string> {
  await mkdir(root, { recursive: true, mode: 0o750 });
  const real = await realpath(root);
  for (const [name, mode] of Object.entries(folders)) {
    const folder = join(real, name);
    if ((await mkdir(folder, { recursive: true })) !== undefined) await chmod(folder, mode);
  }
  try {
    await share(real, mounts, signal);
  } catch (error) {
    signal.throwIfAborted();
    log.warn(
      { root: real },
      `${real} is no shared mount, so that mountPropagation shows nothing of what is mounted there later: ${errorText(error)}`,
    );
  }
  return real;
}

async function share(root: string, mounts: Mounts, signal: AbortSignal): Promise<void> {
  const all = await mounts.list();
  const at = mountOf(root, all);
  if (at?.shared === true) return;
  const isOwn = at?.path === root;
  // bound on itself, it would hide what is mounted below
  if (!isOwn && all.some(({ path }) => isWithin(path, root))) {
    throw new Error('there are mounts below it already');
  }
  if (!isOwn) await mounts.bind(root, root, signal);
  await mounts.share(root, signal);
}

/** What a path lies on: the last mounted of the deepest. */
function mountOf(path: string, all: readonly MountPoint[]): MountPoint | undefined {
  let found: MountPoint | undefined;
  for (const mount of all) {
    const covers = mount.path === '/' || isWithin(path, mount.path);
    if (covers && mount.path.length >= (found?.path.length ?? 0)) found = mount;
  }
  return found;
}
