import type { Chain, ChainName, Rule } from './state.ts';

/**
 * The chains of one table as they are put together. A chain whose rules read the same keeps its
 * identity, and a table in which nothing changed keeps its map.
 */
export class TableBuilder {
  #chains: Map<ChainName, Chain>;
  #published: ReadonlyMap<ChainName, Chain> | undefined;
  /** Chains of the state before a rebuild: reused where they read the same. */
  #before: ReadonlyMap<ChainName, Chain>;

  constructor(before: ReadonlyMap<ChainName, Chain> = new Map()) {
    this.#chains = new Map();
    this.#before = before;
  }

  /** Writes a chain; undefined removes it. */
  put(
    name: ChainName,
    rules: readonly Rule[] | undefined,
    role: Chain['role'] = 'generated',
  ): void {
    const old = this.#chains.get(name);
    if (rules === undefined) {
      if (!old) return;
      this.#own().delete(name);
      return;
    }
    if (old && readsSame(old.rules, rules)) return;
    const reused = old ? undefined : this.#before.get(name);
    const isSame = reused?.role === role && readsSame(reused.rules, rules);
    this.#own().set(name, isSame ? reused : { name, role, rules });
  }

  publish(): ReadonlyMap<ChainName, Chain> {
    this.#published ??= this.#chains;
    this.#before = new Map();
    return this.#published;
  }

  /** What was handed out is never written again. */
  #own(): Map<ChainName, Chain> {
    if (this.#published) {
      this.#chains = new Map(this.#chains);
      this.#published = undefined;
    }
    return this.#chains;
  }
}

function readsSame(a: readonly Rule[], b: readonly Rule[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  return a.every(({ args, origin }, at) => {
    const other = b[at];
    return args === other?.args && origin?.servicePort === other.origin?.servicePort;
  });
}
