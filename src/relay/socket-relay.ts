import { availableParallelism } from 'node:os';
import type { Log } from '../telemetry/log.ts';
import { systemAfter } from './dialer.ts';
import type { After } from './dialer.ts';
import { orderOf } from './entry.ts';
import type { Entry } from './entry.ts';
import { ListenerBook } from './listener-book.ts';
import type { Step } from './listener-book.ts';
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
}

/** A relay on worker threads: the agent's own work never stops a byte. */
export class SocketRelay implements Relay {
  readonly #log: Log;
  readonly #crew: WorkerCrew;
  readonly #book: ListenerBook;
  readonly #after: After;
  #last: Promise<unknown> = Promise.resolve();
  /** Stops what waits to be tried again. */
  readonly #waits = new Set<() => void>();

  constructor(options: RelayOptions) {
    const { log, random, wires = 'handles', files, after = systemAfter } = options;
    const { now = () => performance.now() } = options;
    const workers = options.workers ?? Math.min(availableParallelism(), mostWorkers);
    const counters = new SharedSlots(counterBytes(workers));
    const turns = new SharedSlots(turnBytes);
    this.#log = log;
    this.#after = after;
    this.#book = new ListenerBook({ workers, counters, turns, random });
    this.#crew = new WorkerCrew({
      workers,
      wires,
      mostFiles: files === undefined ? undefined : files - Math.min(mostKept, Math.ceil(files / 4)),
      counters,
      turns,
      log,
      after,
      now,
      gone: (worker, key, epoch) => {
        this.#book.gone(worker, key, epoch);
      },
      lost: (worker) => {
        this.#book.lost(worker);
      },
      replaced: (worker) => {
        void this.#inTurn(async () => this.#reopen(worker, this.#book.all.map(keyOf)));
      },
    });
  }

  async change(change: RelayChange): Promise<readonly ListenFailure[]> {
    return this.#inTurn(async () => this.#change(change));
  }

  async admit(keys: Iterable<ListenerKey>): Promise<void> {
    const wanted = [...keys];
    await this.#inTurn(async () => {
      const entries = this.#book.admit(wanted);
      await this.#toKnowing(entries, (each) => ({ do: 'admit', slots: each.map(slotOf) }));
    });
  }

  stats(): ReadonlyMap<ListenerKey, ListenerStats> {
    return this.#book.stats();
  }

  async leave(): Promise<void> {
    await this.#inTurn(async () => {
      const { all } = this.#book;
      this.#book.leave(all);
      await this.#unbind(all);
    });
  }

  async drain(withinMs: number): Promise<void> {
    await this.leave();
    await this.#inTurn(async () => this.#toAll(() => ({ do: 'drain', withinMs })));
  }

  async close(): Promise<void> {
    for (const stop of this.#waits) stop();
    await this.#crew.end();
    this.#book.forgetAll();
  }

  async #change({ close, open }: RelayChange): Promise<readonly ListenFailure[]> {
    const book = this.#book;
    const closed = book.among(close);
    const moved = book.moved(open);
    await this.#narrow(open.filter((listener) => book.becomesAlone(listener)));
    book.group(open);
    const gone = closed.map(({ listener }) => listener);
    book.leave(closed);
    const leads = book.leads([...gone, ...open], open);
    await this.#keep(book.keep([...gone, ...open], leads, open));
    await this.#unbind(moved);
    await this.#close(closed);

    const steps = book.enter(open, leads);
    const failures: ListenFailure[] = [];
    // All at once, ten thousand would fill the workers' memory with what they read.
    for (let first = 0; first < steps.length; first += openedAtOnce) {
      failures.push(...(await this.#open(steps.slice(first, first + openedAtOnce))));
    }
    book.settle(steps);
    const failed = book.among(failures.map(({ key }) => key));
    book.leave(failed);
    const unopened = failed.map(({ listener }) => listener);
    await this.#keep(book.keep(unopened, book.leads(unopened)));
    await this.#close(failed);
    return failures;
  }

  async #unbind(entries: readonly Entry[]): Promise<void> {
    await this.#toKnowing(entries, (each) => ({ do: 'unbind', slots: each.map(slotOf) }));
  }

  async #close(entries: readonly Entry[]): Promise<void> {
    await this.#toKnowing(entries, (each) => ({ do: 'close', listeners: each.map(nameOf) }));
  }

  async #keep(entries: readonly Entry[]): Promise<void> {
    await this.#toKnowing(entries, (each) => ({ do: 'keep', kept: each.map(keptOrder) }));
  }

  /** The others stop listening, the one that stays never does: nobody is refused, but whoever waits at theirs right then is reset. */
  async #narrow(listeners: readonly Listener[]): Promise<void> {
    await this.#toAll((worker) => {
      const others = listeners.filter((listener) => this.#book.aloneAt(listener) !== worker);
      const slots = this.#book.among(others.map(({ key }) => key)).map(slotOf);
      return slots.length === 0 ? undefined : { do: 'unbind', slots };
    });
  }

  /** One worker opens a place first, the others follow. */
  async #open(steps: readonly Step[]): Promise<readonly ListenFailure[]> {
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

  /** A worker that was started anew opens what the one before it had. Clients are led there: what cannot be opened is tried again. */
  async #reopen(worker: number, keys: readonly ListenerKey[]): Promise<void> {
    const listeners = this.#book
      .among(keys)
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

/** Whether a worker opens a listener before the others: it finds out whether the place is free. */
function isFirst({ entry, isThere }: Step, worker: number): boolean {
  return isThere || entry.placement !== 'all' || worker === 0;
}

function keyOf({ listener }: Entry): ListenerKey {
  return listener.key;
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
