import type { Architecture } from './architecture.ts';
import { isElf, readElf } from './elf.ts';
import type { Tree } from './tree.ts';

/** Where a library is found: glibc's own folders, as there is no /etc/ld.so.cache. */
const folders = (triplet: string) => [`/lib/${triplet}`, `/usr/lib/${triplet}`, '/lib', '/usr/lib'];

/**
 * What is wrong with a tree, a line each: a program without its dynamic linker or one of its libraries, of another
 * architecture, a library that nothing needs, a script without its interpreter, a link to nowhere.
 */
export function faultsOf(tree: Tree, { triplet, elfMachine }: Architecture): readonly string[] {
  const faults: string[] = tree.deadLinks().map((path) => `${path} leads nowhere`);
  const used = new Set<string>();
  const libraries: string[] = [];
  const find = (path: string): string | undefined => tree.find(path)?.path;
  const use = (by: string, what: string, found: string | undefined): void => {
    if (found === undefined) faults.push(`${by} needs ${what}, which is not there`);
    else if (found !== by) used.add(found);
  };
  for (const entry of tree.entries) {
    if (entry.kind !== 'file') continue;
    const script = /^#!(?<interpreter>\S+)/.exec(entry.data.toString('latin1', 0, 200));
    const interpreter = script?.groups?.['interpreter'];
    if (interpreter !== undefined) use(entry.path, interpreter, find(interpreter));
    if (!isElf(entry.data)) continue;
    const elf = readElf(entry.data);
    if (elf.machine !== elfMachine) faults.push(`${entry.path} is of another architecture`);
    if (elf.interpreter !== undefined) use(entry.path, elf.interpreter, find(elf.interpreter));
    for (const name of elf.needed) {
      const paths = folders(triplet).map((folder) => find(`${folder}/${name}`));
      use(
        entry.path,
        name,
        paths.find((path) => path !== undefined),
      );
    }
    if (isLibrary(entry.path)) libraries.push(entry.path);
  }
  const idle = libraries.filter((path) => !used.has(path));
  return [...faults, ...idle.map((path) => `nothing needs ${path}`)].toSorted();
}

/** Modules of iptables are loaded by name, so that nothing names them. */
function isLibrary(path: string): boolean {
  return /\.so(\.|$)/.test(path) && !path.includes('/xtables/');
}
