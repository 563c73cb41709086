type Pairs = Iterable<readonly [string, string]>;

/**
 * Headers for the CRI client, which asks for those of the web's fetch: as far as it uses them, and without all that Node loads with its own
 * (3 MiB, that nothing else of an agent needs). The bundle has them in their place (scripts/bundle.ts); the name is what makes it so.
 */
export class Headers implements Pairs {
  readonly #values = new Map<string, string>();

  constructor(init: Pairs | Readonly<Record<string, string>> = {}) {
    const pairs = Symbol.iterator in init ? init : Object.entries(init);
    for (const [name, value] of pairs) this.append(name, value);
  }

  append(name: string, value: string): void {
    const before = this.get(name);
    const more = trimmed(value);
    this.#values.set(name.toLowerCase(), before === null ? more : `${before}, ${more}`);
  }

  set(name: string, value: string): void {
    this.#values.set(name.toLowerCase(), trimmed(value));
  }

  get(name: string): string | null {
    return this.#values.get(name.toLowerCase()) ?? null;
  }

  has(name: string): boolean {
    return this.#values.has(name.toLowerCase());
  }

  delete(name: string): void {
    this.#values.delete(name.toLowerCase());
  }

  forEach(told: (value: string, name: string, of: Headers) => void): void {
    for (const [name, value] of this) told(value, name, this);
  }

  entries(): ArrayIterator<[string, string]> {
    return [...this.#values].toSorted(([a], [b]) => (a < b ? -1 : 1)).values();
  }

  keys(): IteratorObject<string> {
    return this.entries().map(([name]) => name);
  }

  values(): IteratorObject<string> {
    return this.entries().map(([, value]) => value);
  }

  [Symbol.iterator](): ArrayIterator<[string, string]> {
    return this.entries();
  }
}

function trimmed(value: string): string {
  return value.replaceAll(/^[\t\n\r ]+|[\t\n\r ]+$/g, '');
}
