import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';

/** What this machine tells of its kernel's parts. A source that cannot be read is left out: `sources` has those that could. */
export interface KernelParts {
  /** As `uname -r`. */
  readonly release: string;
  /** Modules in memory, or built in with parameters: `xt_mark`. */
  readonly loaded: ReadonlySet<string>;
  readonly builtIn: ReadonlySet<string>;
  /** Modules that can be loaded from the disk. */
  readonly available: ReadonlySet<string>;
  /** Build options by name without `CONFIG_`: `y`, `m` or a value; one that is off is not there. undefined: not known. */
  readonly options: ReadonlyMap<string, string> | undefined;
  /** Files that were read. */
  readonly sources: readonly string[];
}

/** Where the kernel says what it has; tests point it at folders of their own. */
export interface KernelPaths {
  readonly proc: string;
  readonly boot: string;
  readonly modules: string;
}

export const systemKernelPaths: KernelPaths = {
  proc: '/proc',
  boot: '/boot',
  modules: '/lib/modules',
};

/** Reads what is there; nothing is loaded, nothing is asked of the kernel but files. */
export async function readKernelParts(
  paths: KernelPaths = systemKernelPaths,
): Promise<KernelParts> {
  const release = (await readText(join(paths.proc, 'sys/kernel/osrelease')))?.trim() ?? '';
  const folder = join(paths.modules, release);
  const sources: string[] = [];
  const lines = async (path: string): Promise<readonly string[]> => {
    const text = await readText(path);
    if (text === undefined) return [];
    sources.push(path);
    return text.split('\n').filter((line) => line !== '');
  };
  const loaded = await lines(join(paths.proc, 'modules'));
  const builtIn = await lines(join(folder, 'modules.builtin'));
  const available = await lines(join(folder, 'modules.dep'));
  const config = await readConfig(paths, release, sources);
  return {
    release,
    loaded: new Set(loaded.map((line) => line.split(' ', 1)[0] ?? '')),
    builtIn: new Set(builtIn.map(moduleOf)),
    available: new Set(available.map((line) => moduleOf(line.split(':', 1)[0] ?? ''))),
    options: config === undefined ? undefined : parseKernelConfig(config),
    sources,
  };
}

/** The options of a kernel's `.config`. */
export function parseKernelConfig(text: string): ReadonlyMap<string, string> {
  return new Map(
    [...text.matchAll(/^CONFIG_(\w+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]),
  );
}

async function readConfig(
  { proc, boot, modules }: KernelPaths,
  release: string,
  sources: string[],
): Promise<string | undefined> {
  const packed = join(proc, 'config.gz');
  try {
    const text = (await promisify(gunzip)(await readFile(packed))).toString('utf8');
    sources.push(packed);
    return text;
  } catch {
    // most distributions have it as a file beside the kernel
  }
  for (const path of [join(boot, `config-${release}`), join(modules, release, 'config')]) {
    const text = await readText(path);
    if (text === undefined) continue;
    sources.push(path);
    return text;
  }
  return undefined;
}

/** `kernel/net/netfilter/xt_mark.ko.xz` is the module xt_mark; files say `-` where the kernel says `_`. */
function moduleOf(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1).replace(/\.ko(\.\w+)?$/, '');
  return name.replaceAll('-', '_');
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
}
