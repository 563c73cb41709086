import { existsSync, readdirSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isAbsent } from '../../src/error.ts';
import { processLives } from '../../src/host/process.ts';

const base = '/sys/fs/cgroup';
const name = 'switchyard-kubelet-test-';

/** Under which all cgroups of a run lie, in each hierarchy; `within`: under which those of the run lie that this one is a part of. */
export function cgroupPrefix(pid: number, within?: string): string {
  return within === undefined ? `${name}${pid}` : join(within, `part-${pid}`);
}

/** Of runs that are gone. */
export function staleCgroups(): readonly string[] {
  const found = new Set(hierarchies().flatMap((each) => readdirSync(each)));
  return [...found].filter(
    (each) => each.startsWith(name) && !processLives(Number(each.slice(name.length))),
  );
}

/** Removes them, and answers what could not be removed. */
export function removeCgroups(prefix: string): readonly string[] {
  return trees(prefix).flatMap((path) => removeTree(path));
}

/** All cgroups of a run that there are. */
export function listCgroups(prefix: string): readonly string[] {
  return trees(prefix).flatMap((path) => [path, ...foldersBelow(path)]);
}

function trees(prefix: string): readonly string[] {
  const paths = hierarchies().map((each) => join(each, prefix));
  return paths.filter((path) => existsSync(path));
}

/** With cgroup v2 the only one is the mount itself. */
function hierarchies(): readonly string[] {
  if (existsSync(join(base, 'cgroup.controllers'))) return [base];
  return readdirSync(base)
    .map((each) => join(base, each))
    .filter((path) => statSync(path).isDirectory());
}

function removeTree(path: string): readonly string[] {
  const left = foldersBelow(path).toReversed();
  const failed: string[] = [];
  for (const folder of [...left, path]) {
    try {
      rmdirSync(folder);
    } catch {
      failed.push(folder);
    }
  }
  return failed;
}

/** Parents before their children. What is removed meanwhile is not there. */
function foldersBelow(path: string): readonly string[] {
  try {
    const entries = readdirSync(path, { withFileTypes: true });
    const paths = entries
      .filter((entry) => entry.isDirectory())
      .map(({ name: each }) => join(path, each));
    return paths.flatMap((each) => [each, ...foldersBelow(each)]);
  } catch (thrown) {
    if (isAbsent(thrown)) return [];
    throw thrown;
  }
}
