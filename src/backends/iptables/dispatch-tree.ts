import type { DispatchKey } from './dispatch-keys.ts';
import type { ChainName, Rule } from './state.ts';

/** Entries a chain may hold before it is split by the next hexadecimal digit of their keys. */
export const maxEntries = 16;

/** How a tree names its chains and matches the packets that belong in them. */
export interface DispatchTreeOptions {
  chainName(prefix: string): ChainName;
  match(prefix: string): string;
}

interface Leaf {
  readonly kind: 'leaf';
  readonly prefix: string;
  keys: readonly DispatchKey[];
}

interface Inner {
  readonly kind: 'inner';
  /** The longest common prefix of all keys below. */
  readonly prefix: string;
  /** Keys below; always more than `maxEntries`. */
  count: number;
  readonly children: Map<string, Node>;
}

type Node = Leaf | Inner;

/**
 * Rules found by a key (destination, protocol, port) in a handful of steps. A chain owns a prefix of
 * the keys and holds at most `maxEntries` entries; where there are more, it is split at the next
 * digit after their longest common prefix. The shape depends on the set of keys alone, never on the
 * order they came in. The root enters its chains by `-j`, deeper levels by `-g`: a packet that finds
 * nothing is back in the root after one return, and goes on there.
 */
export class DispatchTree {
  readonly #options: DispatchTreeOptions;
  readonly #entries = new Map<DispatchKey, readonly Rule[]>();
  readonly #nodes = new Map<string, Node>();
  readonly #dirty = new Set<string>();
  #root: Node | undefined;

  constructor(options: DispatchTreeOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Puts, replaces or (undefined) removes the rules of a key. */
  set(key: DispatchKey, rules: readonly Rule[] | undefined): void {
    const before = this.#entries.get(key);
    if (before === rules) return;
    const oldRoot = this.#root;
    if (rules === undefined) {
      this.#entries.delete(key);
      if (oldRoot) this.#root = this.#remove(oldRoot, '', key);
    } else {
      this.#entries.set(key, rules);
      if (before === undefined) this.#root = this.#insert(oldRoot, '', key);
      else this.#touchPath(key);
    }
    if (oldRoot === this.#root) return;
    if (oldRoot) this.#dirty.add(oldRoot.prefix);
    if (this.#root) this.#dirty.add(this.#root.prefix);
  }

  /** Hands out every chain that may have changed since the last call; undefined: it is gone. */
  flush(emit: (name: ChainName, rules: readonly Rule[] | undefined) => void): void {
    for (const prefix of this.#dirty) {
      const node = this.#nodes.get(prefix);
      const isChain = node !== undefined && node !== this.#root;
      emit(this.#options.chainName(prefix), isChain ? this.#render(node, '-g') : undefined);
    }
    this.#dirty.clear();
  }

  /** What the root chain holds: the entries themselves, or the jumps to the first level. */
  rootRules(): readonly Rule[] {
    return this.#root ? this.#render(this.#root, '-j') : [];
  }

  #render(node: Node, jump: '-j' | '-g'): readonly Rule[] {
    if (node.kind === 'leaf') {
      return node.keys.toSorted().flatMap((key) => this.#entries.get(key) ?? []);
    }
    const options = this.#options;
    return [...node.children.keys()].toSorted().flatMap((digit): readonly Rule[] => {
      const child = node.children.get(digit);
      if (!child) return [];
      const args = `${options.match(child.prefix)} ${jump} ${options.chainName(child.prefix)}`;
      return [{ args, origin: undefined }];
    });
  }

  #insert(node: Node | undefined, slot: string, key: DispatchKey): Node {
    if (!node) return this.#leaf(slot, [key]);
    this.#dirty.add(node.prefix);
    if (node.kind === 'leaf') {
      node.keys = [...node.keys, key];
      if (node.keys.length <= maxEntries) return node;
      this.#drop(node);
      return this.#build(slot, node.keys);
    }
    if (!key.startsWith(node.prefix)) {
      const above = this.#inner(commonPrefix(node.prefix, key), node.count);
      above.children.set(digitAfter(node.prefix, above), node);
      return this.#insert(above, slot, key);
    }
    const digit = digitAfter(key, node);
    node.children.set(digit, this.#insert(node.children.get(digit), node.prefix + digit, key));
    node.count++;
    return node;
  }

  #remove(node: Node, slot: string, key: DispatchKey): Node | undefined {
    this.#dirty.add(node.prefix);
    if (node.kind === 'leaf') {
      node.keys = node.keys.filter((each) => each !== key);
      if (node.keys.length > 0) return node;
      this.#drop(node);
      return undefined;
    }
    const digit = digitAfter(key, node);
    const child = node.children.get(digit);
    if (!child) return node;
    const left = this.#remove(child, node.prefix + digit, key);
    if (left) node.children.set(digit, left);
    else node.children.delete(digit);
    node.count--;
    if (node.count <= maxEntries) return this.#leaf(slot, this.#dissolve(node));
    const [only, ...others] = node.children.values();
    if (!only || others.length > 0) return node;
    this.#drop(node);
    return only;
  }

  #touchPath(key: DispatchKey): void {
    let node = this.#root;
    while (node?.kind === 'inner') node = node.children.get(digitAfter(key, node));
    if (node) this.#dirty.add(node.prefix);
  }

  #build(slot: string, keys: readonly DispatchKey[]): Node {
    if (keys.length <= maxEntries) return this.#leaf(slot, keys);
    const prefix = keys.reduce<string>((common, key) => commonPrefix(common, key), keys[0] ?? '');
    const inner = this.#inner(prefix, keys.length);
    const groups = Map.groupBy(keys, (key) => digitAfter(key, inner));
    for (const [digit, group] of groups) {
      inner.children.set(digit, this.#build(prefix + digit, group));
    }
    return inner;
  }

  /** Takes a subtree apart; its keys. */
  #dissolve(node: Node): readonly DispatchKey[] {
    this.#drop(node);
    if (node.kind === 'leaf') return node.keys;
    return [...node.children.values()].flatMap((child) => this.#dissolve(child));
  }

  #leaf(prefix: string, keys: readonly DispatchKey[]): Leaf {
    return this.#add({ kind: 'leaf', prefix, keys });
  }

  #inner(prefix: string, count: number): Inner {
    return this.#add({ kind: 'inner', prefix, count, children: new Map<string, Node>() });
  }

  #add<N extends Node>(node: N): N {
    this.#nodes.set(node.prefix, node);
    this.#dirty.add(node.prefix);
    return node;
  }

  #drop(node: Node): void {
    this.#nodes.delete(node.prefix);
    this.#dirty.add(node.prefix);
  }
}

function digitAfter(key: string, { prefix }: Inner): string {
  return key.charAt(prefix.length);
}

function commonPrefix(a: string, b: string): string {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return a.slice(0, length);
}
