import { readFile, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import type { Clock } from '../clock.ts';
import { endProcess, processLives } from './process.ts';
import { toolOwnerVariable } from './run-tool.ts';

/** A tool at work whose agent is gone. */
export interface OrphanedTool {
  readonly pid: number;
  readonly name: string;
}

/** Names of the tools that change the kernel's rules; the kernel keeps 15 characters of a name. */
const toolNames = /^(?:ip6?tables|xtables|ipset$|conntrack$|nft$|ip$)/;
const graceMs = 5000;

/**
 * Ends the tools that an agent left at work when it was killed, and waits until they are gone. Such a restore
 * would otherwise write outdated rules after ours: when it gets the lock at last, or had long to go. Nothing is lost:
 * the tools write a table whole or not at all, and the first sync looks at what is there. Only tools of our pid
 * and network namespaces count, and none of an agent that lives.
 */
export async function endOrphanedTools(
  clock: Clock,
  proc = '/proc',
): Promise<readonly OrphanedTool[]> {
  const orphans = await findOrphanedTools(proc);
  for (const { pid } of orphans) endProcess(pid);
  const endMs = clock.monotonic() + graceMs;
  let left = orphans;
  while (left.length > 0 && clock.monotonic() < endMs) {
    left = await stillThere(left, proc);
    if (left.length > 0) await clock.sleep(10);
  }
  return orphans;
}

async function findOrphanedTools(proc: string): Promise<readonly OrphanedTool[]> {
  const spaces = await namespacesOf(proc, 'self');
  const orphans: OrphanedTool[] = [];
  for (const entry of await readdir(proc)) {
    if (!/^\d+$/.test(entry)) continue;
    const name = (await readOrNothing(join(proc, entry, 'comm'))).trimEnd();
    if (!toolNames.test(name)) continue;
    const owner = ownerIn(await readOrNothing(join(proc, entry, 'environ')));
    if (owner === undefined || (await isOwned(owner, join(proc, entry)))) continue;
    if ((await namespacesOf(proc, entry)) !== spaces) continue;
    orphans.push({ pid: Number(entry), name });
  }
  return orphans;
}

/**
 * Whether the agent that started it lives. One of our own number may have been another's before us, as it is in a container that was
 * started again: then it is not we who wait for the tool.
 */
async function isOwned(owner: number, tool: string): Promise<boolean> {
  if (owner !== process.pid) return processLives(owner);
  const stat = await readOrNothing(join(tool, 'stat'));
  const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(parent) === process.pid;
}

function ownerIn(environment: string): number | undefined {
  const prefix = `${toolOwnerVariable}=`;
  const found = environment.split('\0').find((each) => each.startsWith(prefix));
  return found === undefined ? undefined : Number(found.slice(prefix.length));
}

async function namespacesOf(proc: string, pid: string): Promise<string> {
  try {
    const links = ['net', 'pid'].map(async (kind) => readlink(join(proc, pid, 'ns', kind)));
    return (await Promise.all(links)).join(' ');
  } catch {
    return ''; // it has ended meanwhile
  }
}

async function stillThere(
  tools: readonly OrphanedTool[],
  proc: string,
): Promise<readonly OrphanedTool[]> {
  const left: OrphanedTool[] = [];
  for (const tool of tools) {
    // one that has ended and is not yet waited for has no command line any more
    if ((await readOrNothing(join(proc, String(tool.pid), 'cmdline'))) !== '') left.push(tool);
  }
  return left;
}

async function readOrNothing(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return '';
  }
}
