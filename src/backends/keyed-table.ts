/** Items by key; undefined: the item is to go. */
export type ItemChanges<K extends string, T> = ReadonlyMap<K, T | undefined>;

type Entry<K, T> = readonly [K, T];
/** Sorted by key. */
type Bucket<K, T> = readonly Entry<K, T>[];

/** So many that a changed item costs little to copy the neighbours of, and few tables are all buckets. */
const bucketCount = 256;

/**
 * A map that is never changed: a new version shares with the old one all that stayed, so that both making it and
 * comparing the two cost what differs, not what is there. The order depends on the keys alone, not on how
 * they came to be there; it is not that of the keys.
 */
export class KeyedTable<K extends string, T> implements ReadonlyMap<K, T> {
  readonly size: number;
  readonly #buckets: readonly Bucket<K, T>[];

  /** An empty table; more is made of it by {@link KeyedTable.with}. */
  constructor(buckets?: readonly Bucket<K, T>[], size = 0) {
    this.#buckets = buckets ?? Array.from({ length: bucketCount }, () => []);
    this.size = size;
  }

  /** This table with some items put, replaced or taken out; itself where nothing is different then. */
  with(changes: ItemChanges<K, T>): KeyedTable<K, T> {
    let buckets: Bucket<K, T>[] | undefined;
    let { size } = this;
    for (const [at, changed] of Map.groupBy(changes, ([key]) => bucketOf(key))) {
      const before = this.#buckets[at] ?? [];
      const after = replaced(before, changed);
      if (after === before) continue;
      buckets ??= [...this.#buckets];
      buckets[at] = after;
      size += after.length - before.length;
    }
    return buckets === undefined ? this : new KeyedTable(buckets, size);
  }

  get(key: K): T | undefined {
    const bucket = this.#buckets[bucketOf(key)] ?? [];
    const [found, item] = bucket[place(bucket, key)] ?? [];
    return found === key ? item : undefined;
  }

  has(key: K): boolean {
    const bucket = this.#buckets[bucketOf(key)] ?? [];
    return bucket[place(bucket, key)]?.[0] === key;
  }

  /** What has to be put into the other table, or taken out of it, to make it equal to this one. */
  *changesFrom(other: KeyedTable<K, T>): Generator<readonly [K, T | undefined]> {
    for (const [at, bucket] of this.#buckets.entries()) {
      const before = other.#buckets[at] ?? [];
      if (bucket === before) continue;
      const there = new Map(before);
      for (const [key, item] of bucket) {
        if (!there.has(key) || there.get(key) !== item) yield [key, item];
        there.delete(key);
      }
      for (const key of there.keys()) yield [key, undefined];
    }
  }

  *entries(): MapIterator<[K, T]> {
    for (const bucket of this.#buckets) for (const [key, item] of bucket) yield [key, item];
  }

  *keys(): MapIterator<K> {
    for (const bucket of this.#buckets) for (const [key] of bucket) yield key;
  }

  *values(): MapIterator<T> {
    for (const bucket of this.#buckets) for (const [, item] of bucket) yield item;
  }

  [Symbol.iterator](): MapIterator<[K, T]> {
    return this.entries();
  }

  forEach(call: (item: T, key: K, table: KeyedTable<K, T>) => void): void {
    for (const [key, item] of this.entries()) call(item, key, this);
  }
}

/** Keys are addresses and ports, many of them alike at both ends: all characters count (FNV-1a). */
function bucketOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  return (hash >>> 24) % bucketCount;
}

/** Where in the bucket the key is, or would be. */
function place<K extends string, T>(bucket: Bucket<K, T>, key: K): number {
  let [from, to] = [0, bucket.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((bucket[middle]?.[0] ?? '') < key) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** The bucket itself where the changes make no difference. */
function replaced<K extends string, T>(
  bucket: Bucket<K, T>,
  changes: readonly (readonly [K, T | undefined])[],
): Bucket<K, T> {
  const items = new Map(bucket);
  let differs = false;
  for (const [key, item] of changes) {
    if (items.get(key) === item) continue;
    differs = true;
    if (item === undefined) items.delete(key);
    else items.set(key, item);
  }
  return differs ? [...items].toSorted(([a], [b]) => (a < b ? -1 : 1)) : bucket;
}
