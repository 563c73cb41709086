import { isDeepStrictEqual } from 'node:util';
import type { Address } from '../../ip/address.ts';
import type { ListenFailure, Listener, ListenerKey, Relay } from '../../relay/relay.ts';
import { KeyedTable } from '../keyed-table.ts';
import type { WantedListener, WantedListeners } from './state.ts';

/** Where a listener stands, or why it does not. */
export type Standing =
  | { readonly address: Address; readonly port: number }
  | { readonly refused: string };

export type Standings = KeyedTable<ListenerKey, Standing>;

/** Says where listeners are to stand. */
export interface Places {
  /** A place for each, or why there is none. */
  choose(listeners: readonly WantedListener[]): ReadonlyMap<ListenerKey, Standing>;
  /** Nobody can listen there: why the listener has no place, or undefined where another one is to be tried. */
  failed(listener: WantedListener, failure: ListenFailure): string | undefined;
  /** The listener is gone, and its place free. */
  release(listener: WantedListener): void;
  /** What was in use may be free again. */
  forgive(): void;
}

/** What comes of it is put into `found`. `close`: what leaves goes with the same change. */
interface Opening {
  readonly found: Map<ListenerKey, Standing | undefined>;
  readonly close: boolean;
}

/** So many places of one listener are tried; the next sync tries again. */
const mostTries = 64;

/**
 * Keeps the relay's listeners equal to those that are wanted. What is new is opened at once and waits for its admission;
 * what is not wanted any more goes when its caller says so, since clients are still led there.
 */
export class Listening {
  readonly #relay: Pick<Relay, 'change' | 'admit'>;
  /** What was asked of the relay last. */
  #asked: WantedListeners = new KeyedTable();
  #standings: Standings = new KeyedTable();
  readonly #open = new Map<ListenerKey, WantedListener>();
  readonly #leaving = new Map<ListenerKey, WantedListener>();
  readonly #unadmitted = new Set<ListenerKey>();
  #refused: ReadonlySet<ListenerKey> = new Set();

  constructor(relay: Pick<Relay, 'change' | 'admit'>) {
    this.#relay = relay;
  }

  /** Where each stands; those that are to leave are not among them. */
  get standings(): Standings {
    return this.#standings;
  }

  get count(): number {
    return this.#open.size;
  }

  /**
   * Opens and changes what differs from the last time, and tries again what was refused then. `anew`: places are others
   * now, so that all have to be asked for again. `leave`: when what is not wanted any more goes; `now` where no rule leads
   * there, so that whoever wants the same place has it, and its connections, at once.
   */
  async open(
    wanted: WantedListeners,
    places: Places,
    {
      anew = false,
      leave = 'later',
    }: { readonly anew?: boolean; readonly leave?: 'later' | 'now' } = {},
  ): Promise<Standings> {
    const changed = new Map<ListenerKey, WantedListener | undefined>(
      wanted.changesFrom(this.#asked),
    );
    const again = anew ? wanted.keys() : this.#refused;
    for (const key of again) if (!changed.has(key)) changed.set(key, wanted.get(key));
    if (this.#refused.size > 0) places.forgive();
    const found = new Map<ListenerKey, Standing | undefined>();
    for (const [key, listener] of changed) if (listener === undefined) this.#leave(key, found);
    await this.#openAll(changed, places, { found, close: leave === 'now' });
    this.#standings = this.#standings.with(found);
    this.#asked = wanted;
    this.#refused = this.#refusedNow(found);
    return this.#standings;
  }

  /** Lets clients in that were not let in yet. */
  async admit(): Promise<void> {
    if (this.#unadmitted.size === 0) return;
    const keys = [...this.#unadmitted];
    await this.#relay.admit(keys);
    for (const key of keys) this.#unadmitted.delete(key);
  }

  /** Closes what is not wanted any more; says whether there was anything. */
  async closeGone(places: Places): Promise<boolean> {
    if (this.#leaving.size === 0) return false;
    await this.#change(this.#leaving, [], places);
    return true;
  }

  async #change(
    closing: ReadonlyMap<ListenerKey, WantedListener>,
    open: readonly Listener[],
    places: Places,
  ): Promise<readonly ListenFailure[]> {
    const gone = [...closing];
    if (gone.length + open.length === 0) return [];
    const failures = await this.#relay.change({ close: gone.map(([key]) => key), open });
    for (const [key, listener] of gone) {
      this.#leaving.delete(key);
      this.#open.delete(key);
      places.release(listener);
    }
    return failures;
  }

  async #openAll(
    changed: ReadonlyMap<ListenerKey, WantedListener | undefined>,
    places: Places,
    { found, close }: Opening,
  ): Promise<void> {
    let pending = [...changed.values()].filter((listener) => listener !== undefined);
    for (let tries = 1; tries === 1 || pending.length > 0; tries++) {
      const chosen = places.choose(pending);
      const opened = new Map<ListenerKey, WantedListener>();
      const orders: Listener[] = [];
      for (const listener of pending) {
        const standing = this.#kept(listener.key, chosen.get(listener.key));
        found.set(listener.key, standing);
        if ('refused' in standing) {
          if (this.#open.has(listener.key)) this.#leaving.set(listener.key, listener);
          continue;
        }
        const { key, protocol, routes, asked, origin } = listener;
        opened.set(key, listener);
        const group = `${origin.service} ${protocol}`;
        orders.push({ key, group, protocol, routes, ...standing, asked });
      }
      const failures = await this.#change(close ? this.#leaving : new Map(), orders, places);
      const hasTries = tries < mostTries;
      pending = failures.flatMap((failure) => {
        const listener = opened.get(failure.key);
        opened.delete(failure.key);
        return listener && this.#failed(listener, failure, places, found, hasTries) ? listener : [];
      });
      for (const listener of opened.values()) this.#opened(listener, found.get(listener.key));
    }
  }

  /** Whether another place is to be tried. */
  #failed(
    listener: WantedListener,
    failure: ListenFailure,
    places: Places,
    found: Opening['found'],
    hasTries: boolean,
  ): boolean {
    const { key } = failure;
    this.#isNot(key);
    const reason = places.failed(listener, failure);
    if (reason === undefined && hasTries) return true;
    const refused = reason ?? `${mostTries} places were tried, the last: ${failure.message}`;
    found.set(key, this.#kept(key, { refused }));
    return false;
  }

  /** What is as it was keeps its identity: rules are made anew of what does not. */
  #kept(key: ListenerKey, standing: Standing = { refused: 'it has no place' }): Standing {
    const before = this.#standings.get(key);
    return before !== undefined && isDeepStrictEqual(before, standing) ? before : standing;
  }

  #opened(listener: WantedListener, standing: Standing | undefined): void {
    const { key } = listener;
    const before = this.#standings.get(key);
    const isThere = this.#open.has(key) && !this.#leaving.has(key) && samePlace(before, standing);
    this.#leaving.delete(key);
    this.#open.set(key, listener);
    if (!isThere) this.#unadmitted.add(key);
  }

  /** Whatever of it was open is not any more. */
  #isNot(key: ListenerKey): void {
    this.#open.delete(key);
    this.#leaving.delete(key);
    this.#unadmitted.delete(key);
  }

  #leave(key: ListenerKey, found: Map<ListenerKey, Standing | undefined>): void {
    const listener = this.#open.get(key);
    if (listener !== undefined) this.#leaving.set(key, listener);
    this.#unadmitted.delete(key);
    found.set(key, undefined);
  }

  #refusedNow(found: ReadonlyMap<ListenerKey, Standing | undefined>): ReadonlySet<ListenerKey> {
    const refused = new Set([...this.#refused].filter((key) => !found.has(key)));
    for (const [key, standing] of found) {
      if (standing !== undefined && 'refused' in standing) refused.add(key);
    }
    return refused;
  }
}

function samePlace(a: Standing | undefined, b: Standing | undefined): boolean {
  if (a === undefined || b === undefined || 'refused' in a || 'refused' in b) return false;
  return a.address === b.address && a.port === b.port;
}
