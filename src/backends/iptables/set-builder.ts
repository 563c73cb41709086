import type { IpsetSpec, SetName } from './state.ts';

/** The ipsets of a state. Where none came, went or changed, the map that was handed out stays. */
export class SetBuilder {
  readonly #sets = new Map<SetName, IpsetSpec>();
  readonly #pending = new Map<SetName, IpsetSpec | undefined>();
  #hairpin: IpsetSpec | undefined;
  #published: ReadonlyMap<SetName, IpsetSpec> | undefined;

  /** Writes a set that the kernel fills; undefined removes it. */
  put(name: SetName, set: IpsetSpec | undefined): void {
    this.#pending.set(name, set);
  }

  /** All sets by name, and the one of hairpins. */
  publish(hairpin: IpsetSpec | undefined): ReadonlyMap<SetName, IpsetSpec> {
    if (this.#settle() || hairpin !== this.#hairpin) this.#published = undefined;
    this.#hairpin = hairpin;
    this.#published ??= new Map(
      [...this.#sets.values(), ...(hairpin ? [hairpin] : [])]
        .toSorted((a, b) => (a.name < b.name ? -1 : 1))
        .map((set) => [set.name, set]),
    );
    return this.#published;
  }

  /** Whether anything is different now. */
  #settle(): boolean {
    let changed = false;
    for (const [name, set] of this.#pending) {
      if (this.#sets.get(name)?.create === set?.create) continue;
      changed = true;
      if (set) this.#sets.set(name, set);
      else this.#sets.delete(name);
    }
    this.#pending.clear();
    return changed;
  }
}
