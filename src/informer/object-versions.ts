/** Deleted objects whose last version is remembered. */
const MAX_TOMBSTONES = 1_000;

/**
 * The newest version known of each object, to recognise events that come twice or late.
 *
 * An older version is never news: resourceVersions of one resource type are integers that only grow,
 * and comparing them is allowed (KEP-5504). They are compared per object, not per stream: an event of
 * another object that comes late still counts. A version that is no integer is never called old.
 */
export class ObjectVersions {
  #live = new Map<string, number>();
  readonly #tombstones = new Map<string, number>();

  /** After a list: its versions are all there is. */
  replace(versions: ReadonlyMap<string, number>): void {
    this.#live = new Map(versions);
    this.#tombstones.clear();
  }

  /** Whether an added or modified object is older than, or the same as, what is known. */
  isOldUpdate(key: string, version: number | undefined): boolean {
    const known = this.#live.get(key) ?? this.#tombstones.get(key);
    return known !== undefined && version !== undefined && version <= known;
  }

  /** The last version of an object may come again with its deletion: only an older one is late. */
  isOldDeletion(key: string, version: number | undefined): boolean {
    const known = this.#live.get(key);
    return known !== undefined && version !== undefined && version < known;
  }

  updated(key: string, version: number | undefined): void {
    this.#tombstones.delete(key);
    if (version === undefined) this.#live.delete(key);
    else this.#live.set(key, version);
  }

  deleted(key: string, version: number | undefined): void {
    this.#live.delete(key);
    if (version === undefined) return;
    this.#tombstones.set(key, version);
    if (this.#tombstones.size <= MAX_TOMBSTONES) return;
    const [oldest] = this.#tombstones.keys();
    if (oldest !== undefined) this.#tombstones.delete(oldest);
  }
}

/** A resourceVersion as a number; undefined where it is not one that can be compared. */
export function versionNumber(resourceVersion: string): number | undefined {
  if (!/^\d+$/.test(resourceVersion)) return undefined;
  const version = Number(resourceVersion);
  return Number.isSafeInteger(version) ? version : undefined;
}
