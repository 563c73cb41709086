import { readFile, readdir, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import process from 'node:process';

/** A service proxy that runs on this node. */
export interface ProxyProcess {
  readonly pid: number;
  readonly kind: 'Switchyard' | 'kube-proxy';
}

/**
 * The service proxies that run in this process's network namespace, as far as they can be seen: not those
 * of another pid namespace, nor those inside a program of another name (k3s). Sorted by process id.
 */
export async function findProxyProcesses(
  proc = '/proc',
  own = process.pid,
): Promise<readonly ProxyProcess[]> {
  const network = await readlink(join(proc, String(own), 'ns/net')).catch(() => '');
  const found: ProxyProcess[] = [];
  for (const entry of await readdir(proc)) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === own) continue;
    const kind = await kindOf(join(proc, entry), network);
    if (kind !== undefined) found.push({ pid, kind });
  }
  return found.toSorted((a, b) => a.pid - b.pid);
}

/** Undefined for any other process, and for one that is gone meanwhile. */
async function kindOf(folder: string, network: string): Promise<ProxyProcess['kind'] | undefined> {
  try {
    const kind = proxyKind((await readFile(join(folder, 'cmdline'), 'utf8')).split('\0'));
    if (kind === undefined) return undefined;
    return (await readlink(join(folder, 'ns/net'))) === network ? kind : undefined;
  } catch {
    return undefined;
  }
}

/** Which proxy a command line starts. One that cleans up, or only prints, is none. */
export function proxyKind(argv: readonly string[]): ProxyProcess['kind'] | undefined {
  if (argv.some((word) => endsSoon.test(word))) return undefined;
  const [program = '', ...rest] = argv;
  if (/^(node|nodejs)$/.test(basename(program))) return kindOfScript(rest);
  const [command] = rest;
  if (basename(program) === 'switchyard') return command === 'proxy' ? 'Switchyard' : undefined;
  const called = basename(program) === 'hyperkube' ? command : basename(program);
  // Node may have been given the name (argv[0]); then a script of ours comes next.
  if (basename(program) === 'kube-proxy' && scripts.test(basename(command ?? ''))) {
    return 'Switchyard';
  }
  return called === 'kube-proxy' ? 'kube-proxy' : undefined;
}

const endsSoon =
  /^--(?:(?:cleanup|help|version|init-only)(?:=true)?|version=raw|write-config-to(?:=.*)?)$/;

/**
 * The arguments of node: options of its own, then the script with its arguments. Which of the options take the next
 * word for their value differs between versions of node: after an option, a word that is none of our scripts may be one.
 */
function kindOfScript(args: readonly string[]): ProxyProcess['kind'] | undefined {
  const at = args.findIndex(
    (word, i) => !isOption(word) && (scripts.test(basename(word)) || !mayTakeNext(args[i - 1])),
  );
  const options = args.slice(0, Math.max(at, 0));
  if (options.some((word) => /^(-e|-p|-pe|--eval|--print)(=|$)/.test(word))) return undefined;
  const script = basename(args[at] ?? '');
  if (!scripts.test(script)) return undefined;
  return script.startsWith('kube-proxy') || args[at + 1] === 'proxy' ? 'Switchyard' : undefined;
}

const scripts = /^((switchyard|kube-proxy)(\.[cm]?[jt]s)?|main\.ts)$/;

function isOption(word: string): boolean {
  return word.startsWith('-');
}

function mayTakeNext(word = ''): boolean {
  return isOption(word) && word !== '--' && !word.includes('=');
}
