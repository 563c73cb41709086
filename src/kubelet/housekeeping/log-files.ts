import { readdir, readlink, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isAbsent } from '../../error.ts';

/** Removes a container's log, what was rotated of it, and the link to it. */
export async function removeContainerLogs(
  logPath: string,
  id: string,
  linksFolder: string,
): Promise<void> {
  const folder = dirname(logPath);
  const name = basename(logPath);
  // `1.log` and `1.log.20260102-030405.gz`, and never `11.log`.
  const own = (await entries(folder)).filter(
    (each) => each === name || each.startsWith(`${name}.`),
  );
  await Promise.all(own.map(async (each) => rm(join(folder, each), { force: true })));
  const links = (await entries(linksFolder)).filter((each) => each.endsWith(`-${id}.log`));
  await Promise.all(links.map(async (each) => rm(join(linksFolder, each), { force: true })));
}

/**
 * Removes links whose log is gone. `isLive`: whether a container with this ID may still write one, so that its link stays. Only links
 * into `logFolders`, one a pod, are looked at.
 */
export async function removeDeadLinks(
  linksFolder: string,
  logFolders: readonly string[],
  isLive: (id: string) => boolean,
): Promise<void> {
  const own = new Set(logFolders);
  for (const name of await entries(linksFolder)) {
    const id = /-([0-9a-f]{64})\.log$/.exec(name)?.[1];
    const path = join(linksFolder, name);
    const target = await readlink(path).catch(() => undefined);
    if (id === undefined || target === undefined || isLive(id)) continue;
    // FOLDER/CONTAINER/0.log
    if (own.has(dirname(dirname(target))) && !(await exists(target)))
      await rm(path, { force: true });
  }
}

async function entries(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).toSorted();
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}
