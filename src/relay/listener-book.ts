import { isDeepStrictEqual } from 'node:util';
import { field, partOf, sumOf } from './counters.ts';
import { orderedRoutes, releaseTurns, samePlace, standsAlone } from './entry.ts';
import type { Entry, Placement } from './entry.ts';
import { Groups, keptOf, leadsOf } from './groups.ts';
import type { Leads } from './groups.ts';
import type { Listener, ListenerKey, ListenerStats } from './relay.ts';
import type { SharedSlots } from './shared-slots.ts';

/** So many listeners have a socket in every worker. More would need many files; they are spread over the workers instead. */
const mostShared = 1024;

/** A listener on its way from how it was to how it is to be. */
export interface Step {
  readonly entry: Entry;
  readonly before: Entry['routes'];
  /** Its socket stays as it is. */
  readonly isThere: boolean;
}

interface Leaving {
  readonly entry: Entry;
  /** Workers that may still have connections of it. */
  readonly left: Set<number>;
}

export interface ListenerBookOptions {
  readonly workers: number;
  readonly counters: SharedSlots;
  readonly turns: SharedSlots;
  /** In [0, 1): the order of endpoints. */
  readonly random: () => number;
}

/** Which listeners there are, which worker has which, and which have only connections left; tells nobody anything. */
export class ListenerBook {
  readonly #options: ListenerBookOptions;
  readonly #entries = new Map<ListenerKey, Entry>();
  readonly #leaving = new Map<ListenerKey, Leaving>();
  readonly #groups = new Groups();
  /** Listeners that have a socket in every worker. */
  #shared = 0;

  constructor(options: ListenerBookOptions) {
    this.#options = options;
  }

  /** Those that listen. */
  get all(): readonly Entry[] {
    return [...this.#entries.values()];
  }

  /** Those of them that listen. */
  among(keys: Iterable<ListenerKey>): readonly Entry[] {
    return Array.from(keys).flatMap((key) => this.#entries.get(key) ?? []);
  }

  stats(): ReadonlyMap<ListenerKey, ListenerStats> {
    const { counters } = this.#options;
    return new Map(
      [...this.#left(), ...this.all].map(({ listener, slot }) => [
        listener.key,
        sumOf(counters.floats(slot)),
      ]),
    );
  }

  /** Notes that clients are let in, and answers whom that is to be told of. */
  admit(keys: Iterable<ListenerKey>): readonly Entry[] {
    const entries = this.among(keys);
    for (const entry of entries) {
      this.#entries.set(entry.listener.key, { ...entry, isAdmitted: true });
    }
    return entries;
  }

  /** Those whose socket another place takes. */
  moved(listeners: readonly Listener[]): readonly Entry[] {
    return listeners.flatMap((listener) => {
      const entry = this.#entries.get(listener.key);
      return entry !== undefined && !samePlace(entry.listener, listener) ? entry : [];
    });
  }

  /** They are part of their groups before they are entered. */
  group(listeners: readonly Listener[]): void {
    for (const listener of listeners) this.#groups.add(listener);
  }

  /** What the groups of some listeners lead to, as soon as others are there. */
  leads(listeners: readonly Listener[], coming: readonly Listener[] = []): Leads {
    const keys = new Set(this.#groups.around(listeners));
    for (const { key } of coming) keys.delete(key);
    const known = this.among(keys).map(({ listener }) => listener);
    return leadsOf([...known, ...coming.filter((each) => !this.#groups.isAlone(each))]);
  }

  /** Notes to which endpoints connections stay, of those of the groups of some listeners that are not opened anyway; answers whose have changed. */
  keep(
    listeners: readonly Listener[],
    leads: Leads,
    opened: readonly Listener[] = [],
  ): readonly Entry[] {
    const keys = new Set(this.#groups.around(listeners));
    for (const { key } of opened) keys.delete(key);
    return Array.from(keys).flatMap((key) => {
      const [standing, leaving] = [this.#entries.get(key), this.#leaving.get(key)];
      const entry = standing ?? leaving?.entry;
      const kept = entry && keptOf(entry, standing?.listener, leads);
      if (entry === undefined || isDeepStrictEqual(kept, entry.kept)) return [];
      const now: Entry = { ...entry, kept: kept ?? [] };
      if (standing) this.#entries.set(key, now);
      else if (leaving) this.#leaving.set(key, { ...leaving, entry: now });
      return now;
    });
  }

  /** Notes listeners as they are to be. */
  enter(listeners: readonly Listener[], leads: Leads): readonly Step[] {
    this.#shared = this.all.filter(({ placement }) => placement === 'all').length;
    return listeners.map((listener) => this.#enter(listener, leads));
  }

  #enter(listener: Listener, leads: Leads): Step {
    const { turns, random } = this.#options;
    const known = this.#entries.get(listener.key);
    const isThere = known !== undefined && samePlace(known.listener, listener);
    const last = known ?? this.#comeBack(listener.key) ?? this.#blank(listener);
    const isKept = isThere && !this.becomesAlone(listener);
    const placement = isKept ? known.placement : this.#place(listener);
    const entry: Entry = {
      listener,
      slot: last.slot,
      epoch: last.epoch,
      placement,
      isAdmitted: isThere && known.isAdmitted,
      routes: orderedRoutes(listener, last.routes, turns, random),
      kept: keptOf(last, listener, leads),
      known: new Set([...last.known, ...(placement === 'all' ? this.#workers() : [placement])]),
    };
    this.#entries.set(listener.key, entry);
    return { entry, before: last.routes, isThere };
  }

  /** A listener that was closed, and has connections left. */
  #comeBack(key: ListenerKey): Entry | undefined {
    const leaving = this.#leaving.get(key);
    if (leaving === undefined) return undefined;
    this.#leaving.delete(key);
    return { ...leaving.entry, known: leaving.left, epoch: leaving.entry.epoch + 1 };
  }

  /** What was there before a listener that is new. */
  #blank(listener: Listener): Entry {
    const slot = this.#options.counters.take();
    const known = new Set<number>();
    return {
      listener,
      slot,
      epoch: 1,
      placement: 0,
      isAdmitted: false,
      routes: [],
      kept: [],
      known,
    };
  }

  #place(listener: Listener): Placement {
    if (this.#options.workers > 1 && this.#shared < mostShared && !standsAlone(listener)) {
      this.#shared++;
      return 'all';
    }
    return this.aloneAt(listener);
  }

  /** The worker of a listener that only one has. */
  aloneAt({ key }: Listener): number {
    return hash(key) % this.#options.workers;
  }

  /** Whether sockets of several workers have to become that of one. */
  becomesAlone(listener: Listener): boolean {
    const known = this.#entries.get(listener.key);
    const isShared = known?.placement === 'all' && samePlace(known.listener, listener);
    return isShared && standsAlone(listener);
  }

  /** Gives back what the routes before had of the shared memory, once no worker looks into it. */
  settle(steps: readonly Step[]): void {
    for (const { before, entry } of steps) releaseTurns(before, this.#options.turns, entry.routes);
  }

  /** A listener is no more; connections may be left. */
  leave(entries: readonly Entry[]): void {
    for (const entry of entries) {
      this.#entries.delete(entry.listener.key);
      this.#leaving.set(entry.listener.key, { entry, left: new Set(entry.known) });
    }
  }

  /** A worker has no connections of a listener that has left. */
  gone(worker: number, key: ListenerKey, epoch: number): void {
    const leaving = this.#leaving.get(key);
    if (leaving === undefined || leaving.entry.epoch !== epoch) return;
    leaving.left.delete(worker);
    if (leaving.left.size > 0) return;
    this.#leaving.delete(key);
    this.#groups.delete(leaving.entry.listener);
    this.#options.counters.giveBack(leaving.entry.slot);
    releaseTurns(leaving.entry.routes, this.#options.turns);
  }

  /** A worker is no more, and its connections with it. */
  lost(worker: number): void {
    const leaving = this.#left();
    for (const { slot } of [...this.all, ...leaving]) {
      partOf(this.#options.counters.floats(slot), worker)[field.active] = 0;
    }
    for (const { listener, epoch } of leaving) this.gone(worker, listener.key, epoch);
  }

  forgetAll(): void {
    this.#entries.clear();
    this.#leaving.clear();
  }

  #left(): readonly Entry[] {
    return Array.from(this.#leaving.values(), ({ entry }) => entry);
  }

  #workers(): readonly number[] {
    return Array.from({ length: this.#options.workers }, (_, number) => number);
  }
}

/** FNV-1a: spreads keys over workers. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  }
  return value;
}
