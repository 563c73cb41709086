import { ChainTable } from './chain-table.ts';
import type { Chain, ChainName, Rule } from './state.ts';

/**
 * The chains of one table as they are put together. A chain whose rules read the same keeps its
 * identity, and a table in which nothing changed is published as it was.
 */
export class TableBuilder {
  #table = ChainTable.empty;
  /** What was put since the table was published. */
  #changes = new Map<ChainName, Chain | undefined>();
  /** Chains of the state before a rebuild: reused where they read the same. */
  #before: ReadonlyMap<ChainName, Chain>;

  constructor(before: ReadonlyMap<ChainName, Chain> = ChainTable.empty) {
    this.#before = before;
  }

  /** Writes a chain; undefined removes it. */
  put(
    name: ChainName,
    rules: readonly Rule[] | undefined,
    role: Chain['role'] = 'generated',
  ): void {
    const published = this.#table.get(name);
    if (rules === undefined) {
      if (published) this.#changes.set(name, undefined);
      else this.#changes.delete(name);
      return;
    }
    const known = published ?? this.#before.get(name);
    const isKnown = known?.role === role && readsSame(known.rules, rules);
    if (isKnown && known === published) this.#changes.delete(name);
    else this.#changes.set(name, isKnown ? known : { name, role, rules });
  }

  /** The table as it is now. */
  publish(): ChainTable {
    this.#table = this.#table.with(this.#changes);
    this.#changes = new Map();
    this.#before = ChainTable.empty;
    return this.#table;
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
