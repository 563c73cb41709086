import type { Shortfall, VirtualServerKey } from './state.ts';

/** What virtual servers lack of what their Services asked for, as it goes from one state to the next. */
export class Shortfalls {
  readonly #byServer = new Map<VirtualServerKey, Shortfall>();
  #published: readonly Shortfall[] | undefined;

  put(key: VirtualServerKey, shortfall: Shortfall): void {
    this.#byServer.set(key, shortfall);
    this.#published = undefined;
  }

  remove(key: VirtualServerKey): void {
    if (this.#byServer.delete(key)) this.#published = undefined;
  }

  /** One for each service port and reason; the list given before where nothing has changed. */
  publish(): readonly Shortfall[] {
    this.#published ??= sorted(this.#byServer.values());
    return this.#published;
  }
}

function sorted(all: Iterable<Shortfall>): readonly Shortfall[] {
  const told = new Map<string, Shortfall>();
  for (const each of all) told.set(`${each.origin.servicePort} ${each.reason}`, each);
  return [...told].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
}
