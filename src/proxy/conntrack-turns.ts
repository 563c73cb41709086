import type { Clock } from '../clock.ts';

export interface ConntrackTurnsOptions {
  readonly clock: Clock;
  readonly onDone: () => void;
  readonly onFailed: (error: unknown) => void;
}

/** How long what is under way may go on after stop: a restarted agent does it anew. */
const stopGraceMs = 2000;

/**
 * Reconciling of connection tracking, beside the syncs: a table that takes long to read, or a tool that hangs, must
 * not keep rules from being written. One at a time; of those that wait the latest alone is done.
 */
export class ConntrackTurns {
  readonly #options: ConntrackTurnsOptions;
  readonly #stop = new AbortController();
  #next: ((signal: AbortSignal) => Promise<void>) | undefined;
  #running: Promise<void> | undefined;

  constructor(options: ConntrackTurnsOptions) {
    this.#options = options;
  }

  /** Returns at once. */
  request(reconcile: (signal: AbortSignal) => Promise<void>): void {
    this.#next = reconcile;
    this.#running ??= this.#run();
  }

  /** Begins nothing more, and resolves when what is under way has ended: soon, or because it is told to. */
  async stop(): Promise<void> {
    this.#next = undefined;
    if (this.#running === undefined) return;
    const done = new AbortController();
    const ended = this.#running.then(() => done.abort());
    await this.#options.clock.sleep(stopGraceMs, done.signal);
    this.#stop.abort();
    await ended;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    for (let work = this.#take(); work !== undefined; work = this.#take()) {
      try {
        await work(signal);
        this.#options.onDone();
      } catch (error) {
        if (!signal.aborted) this.#options.onFailed(error);
      }
    }
    this.#running = undefined;
  }

  #take(): ((signal: AbortSignal) => Promise<void>) | undefined {
    const work = this.#next;
    this.#next = undefined;
    return work;
  }
}
