import type { Log } from '../telemetry/log.ts';
import type { After } from './dialer.ts';
import type { NewMemory, Order, WorkerStart } from './messages.ts';
import type { ListenFailure, ListenerKey } from './relay.ts';
import type { SharedSlots } from './shared-slots.ts';
import { WorkerThread } from './worker-thread.ts';

/** A worker that crashes again within so long is started later and later. */
const soonMs = 10_000;
const longestPauseMs = 30_000;
/** A worker that does not answer is ended without its consent. */
const endWithinMs = 2000;

export interface CrewOptions {
  readonly workers: number;
  readonly wires: WorkerStart['wires'];
  readonly mostFiles: WorkerStart['mostFiles'];
  readonly counters: SharedSlots;
  readonly turns: SharedSlots;
  readonly log: Log;
  readonly after: After;
  /** Milliseconds of a clock that is never set back. */
  readonly now: () => number;
  /** A listener of a worker is closed, and its last connection has ended. */
  readonly gone: (worker: number, key: ListenerKey, epoch: number) => void;
  /** A worker is no more, and its connections with it. Another is started in its place, which knows nothing yet. */
  readonly lost: (worker: number) => void;
  readonly replaced: (worker: number) => void;
}

interface Member {
  readonly thread: WorkerThread;
  readonly startedAt: number;
  readonly pauseMs: number;
  counterBlocks: number;
  turnBlocks: number;
}

/**
 * The worker threads. One that crashes is replaced: it takes its own connections with it, but an end of the whole relay would
 * take everybody's.
 */
export class WorkerCrew {
  readonly #options: CrewOptions;
  readonly #members: Member[] = [];
  readonly #pauses = new Set<() => void>();
  #ends = false;

  constructor(options: CrewOptions) {
    this.#options = options;
    for (let number = 0; number < options.workers; number++) this.#start(number, 0);
  }

  get size(): number {
    return this.#options.workers;
  }

  async order(worker: number, order: Order): Promise<readonly ListenFailure[]> {
    const member = this.#members[worker];
    if (member === undefined) throw new RangeError(`no worker ${worker}`);
    return member.thread.order(order, this.#newMemory(member));
  }

  async end(): Promise<void> {
    this.#ends = true;
    for (const stop of this.#pauses) stop();
    await Promise.all(
      this.#members.map(async ({ thread }, number) => {
        const patience = Promise.withResolvers<void>();
        const stop = this.#options.after(endWithinMs, patience.resolve);
        await Promise.race([this.order(number, { do: 'end' }), patience.promise]);
        stop();
        await thread.end();
      }),
    );
  }

  #start(number: number, pauseMs: number): void {
    const { wires, mostFiles, workers, log, gone, now } = this.#options;
    const thread = new WorkerThread(
      { number, workers, wires, mostFiles },
      {
        word: (said) => {
          if (said.say === 'log') log[said.level](said.fields, said.message);
          else gone(number, said.key, said.epoch);
        },
        crashed: (error) => {
          this.#crashed(number, error);
        },
      },
    );
    this.#members[number] = { thread, startedAt: now(), pauseMs, counterBlocks: 0, turnBlocks: 0 };
  }

  #crashed(number: number, error: unknown): void {
    const { log, now, after, lost, replaced } = this.#options;
    const { startedAt = 0, pauseMs = 0 } = this.#members[number] ?? {};
    const isSoon = now() - startedAt < soonMs + pauseMs;
    const nextPauseMs = isSoon ? Math.min(longestPauseMs, Math.max(1000, 2 * pauseMs)) : 0;
    log.error(
      { err: error, worker: number, restartInMs: nextPauseMs },
      'a worker of the relay has crashed; its connections are lost',
    );
    lost(number);
    if (this.#ends) return;
    const stop = after(nextPauseMs, () => {
      this.#pauses.delete(stop);
      this.#start(number, nextPauseMs);
      replaced(number);
    });
    this.#pauses.add(stop);
  }

  #newMemory(member: Member): NewMemory {
    const counters = this.#options.counters.blocks.slice(member.counterBlocks);
    const turns = this.#options.turns.blocks.slice(member.turnBlocks);
    member.counterBlocks += counters.length;
    member.turnBlocks += turns.length;
    return { counters, turns };
  }
}
