import { withChains } from '../iptables/chain-table.ts';
import { chains } from '../iptables/static-rules.ts';
import type { Chain, ChainName, IpsetSpec, IptablesState, TableName } from '../iptables/state.ts';
import { userspaceGuard } from '../iptables/userspace-names.ts';
import { guardJump } from './guard.ts';

/**
 * Chains of iptables mode for which portals have no use: all they lead to is on this node. They are there and empty, since a
 * proxy of that mode may have left them full: a hairpin is the node itself here, and its address must not be replaced.
 */
const unused: Readonly<Record<TableName, readonly ChainName[]>> = {
  mangle: [],
  nat: [chains.postrouting, chains.markMasq],
  filter: [chains.forward],
};

interface Framed {
  readonly inner: IptablesState;
  readonly outer: IptablesState;
}

/** Puts the guard beside the portals' rules, and takes away what they do not need. */
export class Framing {
  #before: Framed | undefined;
  #guard: Chain | undefined;
  readonly #empty = { nat: emptyChains(unused.nat), filter: emptyChains(unused.filter) };

  /** The state before where nothing differs. */
  of(inner: IptablesState, guard: Chain, set: IpsetSpec | undefined): IptablesState {
    const { family, jumps } = inner;
    const isGuarded = this.#guard !== undefined && readsSame(this.#guard, guard);
    if (!isGuarded) this.#guard = guard;
    const before = isGuarded ? this.#before : undefined;
    const sets = new Map(inner.sets);
    if (set) sets.set(set.name, set);
    const tables = {
      mangle: inner.tables.mangle,
      nat: this.#table('nat', inner, before),
      filter: this.#table('filter', inner, before),
    };
    const needed = jumps.filter(({ table, to }) => !unused[table].includes(to));
    const outer = {
      family,
      tables,
      jumps: before?.outer.jumps ?? [...needed, guardJump],
      sets: before !== undefined && isSameMap(before.outer.sets, sets) ? before.outer.sets : sets,
    };
    const isSame =
      before !== undefined &&
      outer.sets === before.outer.sets &&
      (['mangle', 'nat', 'filter'] as const).every(
        (table) => tables[table] === before.outer.tables[table],
      );
    this.#before = { inner, outer: isSame ? before.outer : outer };
    return this.#before.outer;
  }

  #table(
    name: 'nat' | 'filter',
    { tables }: IptablesState,
    before: Framed | undefined,
  ): ReadonlyMap<ChainName, Chain> {
    if (before && tables[name] === before.inner.tables[name]) return before.outer.tables[name];
    const changes = new Map(this.#empty[name]);
    if (name === 'filter' && this.#guard) changes.set(userspaceGuard, this.#guard);
    return withChains(tables[name], changes);
  }
}

function emptyChains(names: readonly ChainName[]): ReadonlyMap<ChainName, Chain> {
  return new Map(names.map((name) => [name, { name, role: 'root', rules: [] }]));
}

function readsSame(a: Chain, b: Chain): boolean {
  return (
    a.rules.length === b.rules.length && a.rules.every(({ args }, i) => args === b.rules[i]?.args)
  );
}

function isSameMap<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}
