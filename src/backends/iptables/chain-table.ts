import { compact } from '../../compact.ts';
import type { Chain, ChainName } from './state.ts';

/** Chains by name; undefined: the chain is to go. */
export type ChainChanges = ReadonlyMap<ChainName, Chain | undefined>;

type Change = readonly [ChainName, Chain | undefined];
type Bucket = readonly Chain[];

/** So many that a changed chain costs little to copy the neighbours of, and few tables are all buckets. */
const bucketCount = 256;
const noChains: Bucket = [];

/**
 * The chains of a table, never changed: a new version shares with the old one all that stayed, so that both
 * making it and comparing the two cost what differs, not what is there. Root chains come first; the
 * order depends on the chains alone, not on how they came to be there.
 */
export class ChainTable implements ReadonlyMap<ChainName, Chain> {
  static readonly empty = new ChainTable(
    noChains,
    Array.from({ length: bucketCount }, () => noChains),
    0,
    0,
  );

  readonly size: number;
  /** Rules of all chains. */
  readonly ruleCount: number;
  /** Sorted by name, as each bucket is. */
  readonly #roots: Bucket;
  /** Generated chains, by the end of their names. */
  readonly #buckets: readonly Bucket[];

  private constructor(roots: Bucket, buckets: readonly Bucket[], size: number, ruleCount: number) {
    this.#roots = roots;
    this.#buckets = buckets;
    this.size = size;
    this.ruleCount = ruleCount;
  }

  /** This table with some chains put, replaced or taken out. */
  with(changes: ChainChanges): ChainTable {
    if (changes.size === 0) return this;
    const buckets = [...this.#buckets];
    let roots = this.#roots;
    let { size, ruleCount } = this;
    const replace = (before: Bucket, changed: readonly Change[], role: Chain['role']): Bucket => {
      const after = replaced(before, changed, role);
      if (after === before) return before;
      size += after.length - before.length;
      ruleCount += rulesIn(after) - rulesIn(before);
      return after;
    };
    for (const [at, changed] of Map.groupBy(changes, ([name]) => bucketOf(name))) {
      buckets[at] = replace(buckets[at] ?? noChains, changed, 'generated');
      roots = replace(roots, changed, 'root');
    }
    return new ChainTable(roots, buckets, size, ruleCount);
  }

  get(name: ChainName): Chain | undefined {
    return found(this.#buckets[bucketOf(name)] ?? noChains, name) ?? found(this.#roots, name);
  }

  has(name: ChainName): boolean {
    return this.get(name) !== undefined;
  }

  /** The chains that may read otherwise in the other table, or not be there; among them all roots. */
  *unlike(other: ChainTable): Generator<Chain> {
    yield* this.#roots;
    for (const [at, bucket] of this.#buckets.entries()) {
      if (bucket !== other.#buckets[at]) yield* bucket;
    }
  }

  *values(): MapIterator<Chain> {
    yield* this.#roots;
    for (const bucket of this.#buckets) yield* bucket;
  }

  *keys(): MapIterator<ChainName> {
    for (const { name } of this.values()) yield name;
  }

  *entries(): MapIterator<[ChainName, Chain]> {
    for (const chain of this.values()) yield [chain.name, chain];
  }

  [Symbol.iterator](): MapIterator<[ChainName, Chain]> {
    return this.entries();
  }

  forEach(call: (chain: Chain, name: ChainName, table: ChainTable) => void): void {
    for (const chain of this.values()) call(chain, chain.name, this);
  }
}

/** The chains with some put, replaced or taken out. */
export function withChains(
  table: ReadonlyMap<ChainName, Chain>,
  changes: ReadonlyMap<ChainName, Chain>,
): ReadonlyMap<ChainName, Chain> {
  if (changes.size === 0) return table;
  return table instanceof ChainTable ? table.with(changes) : new Map([...table, ...changes]);
}

/** Names of generated chains end with a hash. */
function bucketOf(name: ChainName): number {
  const { length } = name;
  return (37 * name.charCodeAt(length - 1) + name.charCodeAt(length - 2)) % bucketCount;
}

/** The bucket itself where none of the changes is for it. */
function replaced(bucket: Bucket, changes: readonly Change[], role: Chain['role']): Bucket {
  const put = changes.flatMap(([, chain]) => (chain?.role === role ? chain : []));
  if (put.length === 0 && !changes.some(([name]) => found(bucket, name))) return bucket;
  const names = new Set(changes.map(([name]) => name));
  const kept = bucket.filter(({ name }) => !names.has(name));
  return compact([...kept, ...put].toSorted((a, b) => (a.name < b.name ? -1 : 1)));
}

function found(bucket: Bucket, name: ChainName): Chain | undefined {
  let [from, to] = [0, bucket.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    const chain = bucket[middle];
    if (chain === undefined || chain.name === name) return chain;
    if (chain.name < name) from = middle + 1;
    else to = middle;
  }
  return undefined;
}

/** Rules of all chains of a table. */
export function countRules(table: ReadonlyMap<ChainName, Chain>): number {
  return table instanceof ChainTable ? table.ruleCount : rulesIn(table.values());
}

function rulesIn(bucket: Iterable<Chain>): number {
  let rules = 0;
  for (const chain of bucket) rules += chain.rules.length;
  return rules;
}
