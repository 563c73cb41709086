import type { Origin } from '../../graph/rule-graph.ts';
import type { Family } from '../../ip/address.ts';
import { dispatchChain } from './chain-names.ts';
import { dispatchKey, prefixMatch } from './dispatch-keys.ts';
import type { DispatchKey } from './dispatch-keys.ts';
import { DispatchTree } from './dispatch-tree.ts';
import type { TreeName } from './entry.ts';
import { comment } from './static-rules.ts';
import type { ChainName, Rule, TableName } from './state.ts';
import type { TableBuilder } from './table-builder.ts';

type AnyTree = TreeName | 'healthChecks' | 'hairpinMarks' | 'hairpinAccepts';

/** A tree's table, and what its keys begin with. */
const places = {
  services: ['nat', '-d'],
  nodePorts: ['nat', undefined],
  hairpinMarks: ['nat', '-s'],
  clusterVerdicts: ['filter', '-d'],
  externalVerdicts: ['filter', '-d'],
  nodePortVerdicts: ['filter', undefined],
  firewall: ['filter', '-d'],
  healthChecks: ['filter', undefined],
  hairpinAccepts: ['filter', '-s'],
} as const satisfies Readonly<Record<AnyTree, readonly [TableName, '-d' | '-s' | undefined]>>;

const names = Object.keys(places) as readonly AnyTree[];

/** All dispatch trees of a family. */
export class Forest {
  /** The chain of the filter table that holds the verdicts of node ports. */
  readonly nodePortVerdicts: ChainName = dispatchChain('filter', 'nodePortVerdicts', 'root');
  readonly #trees: Readonly<Record<AnyTree, DispatchTree>>;
  #healthChecks: ReadonlyMap<number, Origin> = new Map();

  constructor(family: Family) {
    const trees = names.map((name) => {
      const [table, address] = places[name];
      const tree = new DispatchTree({
        chainName: (prefix) => dispatchChain(table, name, prefix),
        match: (prefix) => prefixMatch(prefix, { family, address }),
      });
      return [name, tree] as const;
    });
    this.#trees = Object.fromEntries(trees) as Record<AnyTree, DispatchTree>;
  }

  /** A change of many entries and chains at once. */
  change(): Change {
    return new Change(this.#trees);
  }

  /** What the root chain of a tree holds of it. */
  rules(name: AnyTree): readonly Rule[] {
    return this.#trees[name].rootRules();
  }

  set(name: AnyTree, key: DispatchKey, rules: readonly Rule[] | undefined): void {
    this.#trees[name].set(key, rules);
  }

  /** Health check node ports are open, whatever the host's INPUT policy. */
  setHealthChecks(ports: ReadonlyMap<number, Origin>): void {
    const tree = this.#trees.healthChecks;
    for (const port of this.#healthChecks.keys()) {
      if (!ports.has(port)) tree.set(dispatchKey(undefined, 'TCP', port), undefined);
    }
    for (const [port, origin] of ports) {
      if (this.#healthChecks.get(port) === origin) continue;
      const why = comment(`${origin.name} health check node port`);
      const args = `-p tcp ${why} -m tcp --dport ${port} -j ACCEPT`;
      tree.set(dispatchKey(undefined, 'TCP', port), [{ args, origin }]);
    }
    this.#healthChecks = new Map(ports);
  }

  /** Writes the chains of all trees that changed. */
  flush(tables: Readonly<Record<TableName, TableBuilder>>): void {
    for (const name of names) {
      const table = tables[places[name][0]];
      this.#trees[name].flush((chain, rules) => table.put(chain, rules));
    }
  }
}

/** Collected first, so that what is taken out and put back again is no change at all. */
export class Change {
  readonly #trees: Readonly<Record<AnyTree, DispatchTree>>;
  readonly #entries = new Map<AnyTree, Map<DispatchKey, readonly Rule[] | undefined>>();
  readonly #chains = new Map<ChainName, readonly Rule[] | undefined>();

  constructor(trees: Readonly<Record<AnyTree, DispatchTree>>) {
    this.#trees = trees;
  }

  entry(tree: AnyTree, key: DispatchKey, rules: readonly Rule[] | undefined): void {
    let entries = this.#entries.get(tree);
    if (!entries) {
      entries = new Map();
      this.#entries.set(tree, entries);
    }
    entries.set(key, rules);
  }

  chain(name: ChainName, rules: readonly Rule[] | undefined): void {
    this.#chains.set(name, rules);
  }

  apply(nat: TableBuilder): void {
    for (const [tree, entries] of this.#entries) {
      for (const [key, rules] of entries) this.#trees[tree].set(key, rules);
    }
    for (const [name, rules] of this.#chains) nat.put(name, rules);
  }
}
