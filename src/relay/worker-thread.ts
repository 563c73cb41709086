import { Worker } from 'node:worker_threads';
import type { NewMemory, NumberedOrder, Order, Word, WorkerStart } from './messages.ts';
import type { ListenFailure } from './relay.ts';
import { workerSource } from './worker-source.ts';

export interface ThreadEvents {
  readonly word: (word: Exclude<Word, { say: 'done' }>) => void;
  /** It has ended though nobody told it to. Orders that were not answered count as done, with no failure. */
  readonly crashed: (error: unknown) => void;
}

/** Room for what connections need for a moment, at most; the agent keeps all heaps smaller still (cli/heap.ts). */
const youngMiB = 24;

type Done = (failures: readonly ListenFailure[]) => void;

/** A worker thread: gives orders and waits for the answers. */
export class WorkerThread {
  readonly #worker: Worker;
  readonly #events: ThreadEvents;
  readonly #open = new Map<number, Done>();
  #lastId = 0;
  #ends = false;
  #isOver = false;

  constructor(start: WorkerStart, events: ThreadEvents) {
    this.#events = events;
    this.#worker = new Worker(workerSource, {
      workerData: start,
      name: `relay ${start.number}`,
      resourceLimits: { maxYoungGenerationSizeMb: youngMiB },
    });
    this.#worker.on('message', (word: Word) => {
      if (word.say === 'done') this.#settle(word.id, word.failures);
      else this.#events.word(word);
    });
    let cause: unknown;
    this.#worker.on('error', (error) => {
      cause = error;
    });
    this.#worker.on('exit', (code) => {
      this.#over(cause ?? new Error(`exit code ${code}`));
    });
  }

  async order(order: Order, memory: NewMemory): Promise<readonly ListenFailure[]> {
    if (this.#isOver) return [];
    const id = ++this.#lastId;
    const message: NumberedOrder = { id, order, memory };
    return new Promise((resolve) => {
      this.#open.set(id, resolve);
      this.#worker.postMessage(message);
    });
  }

  /** Resolves when the thread is no more. */
  async end(): Promise<void> {
    this.#ends = true;
    await this.#worker.terminate();
  }

  #settle(id: number, failures: readonly ListenFailure[]): void {
    this.#open.get(id)?.(failures);
    this.#open.delete(id);
  }

  #over(cause: unknown): void {
    this.#isOver = true;
    for (const id of this.#open.keys()) this.#settle(id, []);
    if (!this.#ends) this.#events.crashed(cause);
  }
}
