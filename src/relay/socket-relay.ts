import { availableParallelism } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../telemetry/log.ts';
import { field, partOf, sumOf } from './counters.ts';
import { systemAfter } from './dialer.ts';
import type { After } from './dialer.ts';
import { orderOf, orderedRoutes, releaseTurns, samePlace, standsAlone } from './entry.ts';
import type { Entry, Placement } from './entry.ts';
import { Groups, keptOf, leadsOf } from './groups.ts';
import type { Leads } from './groups.ts';
import type { KeptOrder, ListenerName, Order, WorkerStart } from './messages.ts';
import type {
  ListenFailure,
  Listener,
  ListenerKey,
  ListenerStats,
  Relay,
  RelayChange,
} from './relay.ts';
import { counterBytes, turnBytes } from './relay-worker.ts';
import { SharedSlots } from './shared-slots.ts';
import { WorkerCrew } from './worker-crew.ts';

/** So many listeners have a socket in every worker. More would need many files; they are spread over the workers instead. */
const mostShared = 1024;
const openedAtOnce = 500;
/** Beyond, threads cost memory and bring little: the kernel's part of the work is done by whoever sends. */
const mostWorkers = 8;
/** File descriptors that are kept from connections, or a quarter where there are few. */
const mostKept = 1024;
/** A listener that a worker which was started anew could not open is tried again so often. */
const reopenMs = 10_000;

export interface RelayOptions {
  readonly log: Log;
  /** In [0, 1): the order of endpoints. */
  readonly random: () => number;
  /** Threads; default: one for each processor, 8 at most. */
  readonly workers?: number;
  /** `sockets`: by Node's public streams, slower. `handles` (default): by what lies under them, where this Node is one it was tested with. */
  readonly wires?: WorkerStart['wires'];
  /** File descriptors that this process may have; some are kept from connections, so that listeners and whatever else it does find one. */
  readonly files?: number | undefined;
  readonly after?: After;
  /** Milliseconds of a clock that is never set back. */
  readonly now?: () => number;
  /** Called once, when clients begin to come in numbers: what an idle relay saves is worth more then. */
  readonly onBusy?: (() => void) | undefined;
}

/** A listener on its way from how it was to how it is to be. */
interface Step {
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

/** A relay on worker threads: the agent's own work never stops a byte. */
export class SocketRelay implements Relay {
  readonly #random: () => number;
  readonly #log: Log;
  readonly #crew: WorkerCrew;
  readonly #after: After;
  #onBusy: (() => void) | undefined;
  readonly #counters: SharedSlots;
  readonly #turns = new SharedSlots(turnBytes);
  readonly #entries = new Map<ListenerKey, Entry>();
  readonly #leaving = new Map<ListenerKey, Leaving>();
  readonly #groups = new Groups();
  /** Listeners that have a socket in every worker. */
  #shared = 0;
  #last: Promise<unknown> = Promise.resolve();
  /** Stops what waits to be tried again. */
  readonly #waits = new Set<() => void>();

  constructor(options: RelayOptions) {
    const { log, random, workers, wires, files, after = systemAfter, now, onBusy } = options;
    const count = workers ?? Math.min(availableParallelism(), mostWorkers);
    this.#log = log;
    this.#random = random;
    this.#after = after;
    this.#onBusy = onBusy;
    this.#counters = new SharedSlots(counterBytes(count));
    this.#crew = new WorkerCrew({
      workers: count,
      wires: wires ?? 'handles',
      mostFiles: files === undefined ? undefined : files - Math.min(mostKept, Math.ceil(files / 4)),
      counters: this.#counters,
      turns: this.#turns,
      log,
      after,
      now: now ?? (() => performance.now()),
      word: (worker, word) => {
        if (word.say === 'gone') this.#gone(worker, word.key, word.epoch);
        else this.#busy();
      },
      lost: (worker) => {
        this.#lost(worker);
      },
      replaced: (worker) => {
        void this.#inTurn(async () => this.#reopen(worker, [...this.#entries.keys()]));
      },
    });
  }

  async change(change: RelayChange): Promise<readonly ListenFailure[]> {
    return this.#inTurn(async () => this.#change(change));
  }

  async admit(keys: Iterable<ListenerKey>): Promise<void> {
    const wanted = [...keys];
    await this.#inTurn(async () => {
      const entries = wanted.flatMap((key) => this.#entries.get(key) ?? []);
      for (const entry of entries) {
        this.#entries.set(entry.listener.key, { ...entry, isAdmitted: true });
      }
      await this.#toKnowing(entries, (each) => ({ do: 'admit', slots: each.map(slotOf) }));
    });
  }

  stats(): ReadonlyMap<ListenerKey, ListenerStats> {
    const entries = [
      ...[...this.#leaving.values()].map(({ entry }) => entry),
      ...this.#entries.values(),
    ];
    return new Map(
      entries.map(({ listener, slot }) => [listener.key, sumOf(this.#counters.floats(slot))]),
    );
  }

  async leave(): Promise<void> {
    await this.#inTurn(async () => {
      const all = [...this.#entries.values()];
      for (const entry of all) this.#leave(entry);
      await this.#toKnowing(all, (each) => ({ do: 'unbind', slots: each.map(slotOf) }));
    });
  }

  async drain(withinMs: number): Promise<void> {
    await this.leave();
    await this.#inTurn(async () => this.#toAll(() => ({ do: 'drain', withinMs })));
  }

  async close(): Promise<void> {
    for (const stop of this.#waits) stop();
    await this.#crew.end();
    this.#entries.clear();
    this.#leaving.clear();
  }

  async #change({ close, open }: RelayChange): Promise<readonly ListenFailure[]> {
    const closed = close.flatMap((key) => this.#entries.get(key) ?? []);
    const moved = open.flatMap((listener) => {
      const entry = this.#entries.get(listener.key);
      return entry !== undefined && !samePlace(entry.listener, listener) ? entry : [];
    });
    await this.#narrow(open.filter((listener) => this.#becomesAlone(listener)));
    for (const listener of open) this.#groups.add(listener);
    const gone = closed.map(({ listener }) => listener);
    for (const entry of closed) this.#leave(entry);
    const leads = this.#leads([...gone, ...open], open);
    await this.#keep([...gone, ...open], leads, open);
    await this.#toKnowing(moved, (each) => ({ do: 'unbind', slots: each.map(slotOf) }));
    await this.#toKnowing(closed, (each) => ({ do: 'close', listeners: each.map(nameOf) }));

    const all = [...this.#entries.values()];
    this.#shared = all.filter(({ placement }) => placement === 'all').length;
    const steps = open.map((listener) => this.#enter(listener, leads));
    const failures: ListenFailure[] = [];
    // All at once, ten thousand would fill the workers' memory with what they read.
    for (let first = 0; first < steps.length; first += openedAtOnce) {
      failures.push(...(await this.#open(steps.slice(first, first + openedAtOnce))));
    }
    for (const { before, entry } of steps) releaseTurns(before, this.#turns, entry.routes);
    const failed = failures.flatMap(({ key }) => this.#entries.get(key) ?? []);
    for (const entry of failed) this.#leave(entry);
    const unopened = failed.map(({ listener }) => listener);
    await this.#keep(unopened, this.#leads(unopened));
    await this.#toKnowing(failed, (each) => ({ do: 'close', listeners: each.map(nameOf) }));
    return failures;
  }

  /** What the groups of some listeners lead to, as soon as others are there. */
  #leads(listeners: readonly Listener[], coming: readonly Listener[] = []): Leads {
    const keys = new Set(this.#groups.around(listeners));
    for (const { key } of coming) keys.delete(key);
    const known = Array.from(keys).flatMap((key) => this.#entries.get(key)?.listener ?? []);
    return leadsOf([...known, ...coming.filter((each) => !this.#groups.isAlone(each))]);
  }

  /** Tells those of the groups of some listeners that are not opened anyway to which endpoints connections stay. */
  async #keep(
    listeners: readonly Listener[],
    leads: Leads,
    opened: readonly Listener[] = [],
  ): Promise<void> {
    const keys = new Set(this.#groups.around(listeners));
    for (const { key } of opened) keys.delete(key);
    const changed = Array.from(keys).flatMap((key) => {
      const [standing, leaving] = [this.#entries.get(key), this.#leaving.get(key)];
      const entry = standing ?? leaving?.entry;
      const kept = entry && keptOf(entry, standing?.listener, leads);
      if (entry === undefined || isDeepStrictEqual(kept, entry.kept)) return [];
      const now: Entry = { ...entry, kept: kept ?? [] };
      if (standing) this.#entries.set(key, now);
      else if (leaving) this.#leaving.set(key, { ...leaving, entry: now });
      return now;
    });
    await this.#toKnowing(changed, (each) => ({ do: 'keep', kept: each.map(keptOrder) }));
  }

  /** Notes a listener as it is to be. */
  #enter(listener: Listener, leads: Leads): Step {
    const known = this.#entries.get(listener.key);
    const isThere = known !== undefined && samePlace(known.listener, listener);
    const last = known ?? this.#comeBack(listener.key) ?? this.#blank(listener);
    const isKept = isThere && !this.#becomesAlone(listener);
    const placement = isKept ? known.placement : this.#place(listener);
    const entry: Entry = {
      listener,
      slot: last.slot,
      epoch: last.epoch,
      placement,
      isAdmitted: isThere && known.isAdmitted,
      routes: orderedRoutes(listener, last.routes, this.#turns, this.#random),
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
    const slot = this.#counters.take();
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
    if (this.#crew.size > 1 && this.#shared < mostShared && !standsAlone(listener)) {
      this.#shared++;
      return 'all';
    }
    return this.#alone(listener);
  }

  #alone({ key }: Listener): number {
    return hash(key) % this.#crew.size;
  }

  /** Whether sockets of several workers have to become that of one. */
  #becomesAlone(listener: Listener): boolean {
    const known = this.#entries.get(listener.key);
    const isShared = known?.placement === 'all' && samePlace(known.listener, listener);
    return isShared && standsAlone(listener);
  }

  /** The others stop listening, the one that stays never does: nobody is refused, but whoever waits at theirs right then is reset. */
  async #narrow(listeners: readonly Listener[]): Promise<void> {
    await this.#toAll((worker) => {
      const others = listeners.filter((listener) => this.#alone(listener) !== worker);
      const slots = others.flatMap(({ key }) => this.#entries.get(key)?.slot ?? []);
      return slots.length === 0 ? undefined : { do: 'unbind', slots };
    });
  }

  /** One worker opens a place first: it finds out whether it is free. The others follow. */
  async #open(steps: readonly Step[]): Promise<readonly ListenFailure[]> {
    const isFirst = ({ entry, isThere }: Step, worker: number): boolean =>
      isThere || entry.placement !== 'all' || worker === 0;
    const now = async (which: readonly Step[], first: boolean): Promise<readonly ListenFailure[]> =>
      this.#toAll((worker) => {
        const own = which.filter(
          (step) => step.entry.known.has(worker) && isFirst(step, worker) === first,
        );
        if (own.length === 0) return undefined;
        // Where the others have sockets, a worker that was started anew would find the place in use.
        const orders = own.map(({ entry, isThere }) => orderOf(entry, worker, first && !isThere));
        return { do: 'open', listeners: orders };
      });
    const failures = await now(steps, true);
    const failed = new Set(failures.map(({ key }) => key));
    const others = steps.filter(({ entry }) => !failed.has(entry.listener.key));
    return [...failures, ...(await now(others, false))];
  }

  /** A listener is no more; connections may be left. */
  #leave(entry: Entry): void {
    this.#entries.delete(entry.listener.key);
    this.#leaving.set(entry.listener.key, { entry, left: new Set(entry.known) });
  }

  #gone(worker: number, key: ListenerKey, epoch: number): void {
    const leaving = this.#leaving.get(key);
    if (leaving === undefined || leaving.entry.epoch !== epoch) return;
    leaving.left.delete(worker);
    if (leaving.left.size > 0) return;
    this.#leaving.delete(key);
    this.#groups.delete(leaving.entry.listener);
    this.#counters.giveBack(leaving.entry.slot);
    releaseTurns(leaving.entry.routes, this.#turns);
  }

  #busy(): void {
    this.#onBusy?.();
    this.#onBusy = undefined;
  }

  #lost(worker: number): void {
    const entries = [...this.#entries.values()];
    const leaving = [...this.#leaving.values()].map(({ entry }) => entry);
    for (const { slot } of [...entries, ...leaving]) {
      partOf(this.#counters.floats(slot), worker)[field.active] = 0;
    }
    for (const { listener, epoch } of leaving) this.#gone(worker, listener.key, epoch);
  }

  /** A worker that was started anew opens what the one before it had. Clients are led there: what cannot be opened is tried again. */
  async #reopen(worker: number, keys: readonly ListenerKey[]): Promise<void> {
    const entries = keys.flatMap((key) => this.#entries.get(key) ?? []);
    const listeners = entries
      .filter(({ known }) => known.has(worker))
      .map((entry) => orderOf(entry, worker, false));
    const failures = await this.#crew.order(worker, { do: 'open', listeners });
    if (failures.length === 0) return;
    for (const { key, code } of failures) {
      const retryInMs = reopenMs;
      this.#log.error({ listener: key, code, retryInMs }, 'a listener could not be opened again');
    }
    const stop = this.#after(reopenMs, () => {
      this.#waits.delete(stop);
      const left = failures.map(({ key }) => key);
      void this.#inTurn(async () => this.#reopen(worker, left));
    });
    this.#waits.add(stop);
  }

  /** To each worker an order about those listeners that it knows. */
  async #toKnowing(
    entries: readonly Entry[],
    order: (known: readonly Entry[]) => Order,
  ): Promise<void> {
    await this.#toAll((worker) => {
      const own = entries.filter(({ known }) => known.has(worker));
      return own.length === 0 ? undefined : order(own);
    });
  }

  /** Undefined: this worker has nothing to do. */
  async #toAll(order: (worker: number) => Order | undefined): Promise<readonly ListenFailure[]> {
    const answers = this.#workers().map(async (worker) => {
      const own = order(worker);
      return own === undefined ? [] : this.#crew.order(worker, own);
    });
    return (await Promise.all(answers)).flat();
  }

  #workers(): readonly number[] {
    return Array.from({ length: this.#crew.size }, (_, number) => number);
  }

  async #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const run = this.#last.then(action);
    this.#last = run.catch(() => undefined);
    return run;
  }
}

function slotOf({ slot }: Entry): number {
  return slot;
}

function keptOrder({ slot, kept }: Entry): KeptOrder {
  return { slot, endpoints: kept };
}

function nameOf({ listener, slot, epoch }: Entry): ListenerName {
  return { key: listener.key, slot, epoch };
}

/** FNV-1a: spreads keys over workers. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  }
  return value;
}
