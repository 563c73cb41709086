import { readFile, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';

/** A process of this machine, as far as this pid namespace shows it. */
export interface NodeProcess {
  readonly pid: number;
  /** The kernel's name of it, 15 characters at most. */
  readonly name: string;
  /** May hold secrets: it is looked at, never printed. Empty for the kernel's own threads. */
  readonly argv: readonly string[];
  /** Whether it is in the network namespace of this process; undefined where that may not be seen. */
  readonly isInOurNetwork: boolean | undefined;
}

/** All processes that can be seen, but this one; sorted by id. */
export async function listProcesses(
  proc = '/proc',
  own = process.pid,
): Promise<readonly NodeProcess[]> {
  const network = await linkOf(join(proc, String(own), 'ns/net'));
  const found: NodeProcess[] = [];
  for (const entry of await readdir(proc)) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === own) continue;
    const one = await readProcess(proc, pid, network);
    if (one !== undefined) found.push(one);
  }
  return found.toSorted((a, b) => a.pid - b.pid);
}

/** Undefined where it has ended meanwhile. */
async function readProcess(
  proc: string,
  pid: number,
  network: string | undefined,
): Promise<NodeProcess | undefined> {
  const folder = join(proc, String(pid));
  try {
    const name = (await readFile(join(folder, 'comm'), 'utf8')).trimEnd();
    const words = (await readFile(join(folder, 'cmdline'), 'utf8')).split('\0');
    const argv = words.at(-1) === '' ? words.slice(0, -1) : words;
    const theirs = await linkOf(join(folder, 'ns/net'));
    const isKnown = theirs !== undefined && network !== undefined;
    return { pid, name, argv, isInOurNetwork: isKnown ? theirs === network : undefined };
  } catch {
    return undefined;
  }
}

async function linkOf(path: string): Promise<string | undefined> {
  return readlink(path).catch(() => undefined);
}
