/** A member of the root file system; owned by root, its time is that of its layer. */
export type Entry = {
  /** Without a slash in front or behind. */
  readonly path: string;
  /** The part of the image that it counts for: a Debian package, `node`, `switchyard`. */
  readonly part: string;
} & (
  | { readonly kind: 'file'; readonly mode: number; readonly data: Buffer }
  | { readonly kind: 'folder'; readonly mode: number }
  | { readonly kind: 'link'; readonly target: string }
);

/** What one layer adds, sorted, each folder before what it holds. */
export interface Layer {
  readonly name: string;
  readonly entries: readonly Entry[];
  /** Modification time of all it has, in seconds since 1970. */
  readonly time: number;
}

/** Folders that are links since Debian merged /usr; packages still name them. */
const merged = new Set(['bin', 'sbin', 'lib', 'lib64']);

/** Where a path of a package lies in the image: `lib/x` in `usr/lib/x`. */
export function mergedPath(path: string): string {
  return merged.has(path.split('/')[0] ?? '') ? `usr/${path}` : path;
}

/**
 * A layer of entries in any order. Folders that hold something are added with mode 755. Two different entries of one path are
 * refused.
 */
export function layer(name: string, entries: readonly Entry[], time: number): Layer {
  const byPath = new Map<string, Entry>();
  for (const entry of entries) {
    const there = byPath.get(entry.path);
    if (there !== undefined) {
      throw new Error(`${entry.path} is in the image twice: by ${there.part} and ${entry.part}`);
    }
    byPath.set(entry.path, entry);
  }
  for (const { path } of entries) {
    for (const folder of foldersAbove(path)) {
      if (byPath.has(folder)) continue;
      byPath.set(folder, { path: folder, part: name, kind: 'folder', mode: 0o755 });
    }
  }
  const sorted = [...byPath.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
  return { name, entries: sorted, time };
}

/** `a/b/c`: `a`, `a/b`. */
function foldersAbove(path: string): readonly string[] {
  const names = path.split('/');
  return names.slice(0, -1).map((_, index) => names.slice(0, index + 1).join('/'));
}

/** All layers as one tree: what a container sees. */
export class Tree {
  readonly #entries = new Map<string, Entry>();

  constructor(layers: readonly Layer[]) {
    for (const entry of layers.flatMap((each) => each.entries)) {
      this.#entries.set(entry.path, entry);
    }
  }

  get entries(): readonly Entry[] {
    return [...this.#entries.values()];
  }

  /** What an absolute path leads to, through links; undefined: nothing. */
  find(path: string, depth = 0): Entry | undefined {
    if (depth > 20) return undefined;
    const names = path.split('/').filter((name) => name !== '' && name !== '.');
    for (let index = 0; index < names.length; index++) {
      const entry = this.#entries.get(names.slice(0, index + 1).join('/'));
      if (entry?.kind !== 'link') continue;
      const rest = names.slice(index + 1).join('/');
      const above = names.slice(0, index).join('/');
      return this.find(join(entry.target, above, rest), depth + 1);
    }
    return this.#entries.get(names.join('/'));
  }

  /** Links that lead nowhere. */
  deadLinks(): readonly string[] {
    return this.entries
      .filter((entry) => entry.kind === 'link' && this.find(`/${entry.path}`) === undefined)
      .map((entry) => entry.path);
  }
}

/** The path that a link of the folder `above` leads to, and `rest` behind it. */
function join(target: string, above: string, rest: string): string {
  const names = target.startsWith('/') ? [] : above.split('/');
  for (const name of [...target.split('/'), ...rest.split('/')]) {
    if (name === '..') names.pop();
    else names.push(name);
  }
  return names.filter((name) => name !== '' && name !== '.').join('/');
}
