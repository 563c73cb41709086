import type { Clock } from '../../clock.ts';

/** What became of one try to write. */
export type Outcome =
  /** So long after the first change that it has. */
  | { readonly kind: 'written'; readonly afterMs: number }
  /** So many tries have failed one after the other. */
  | { readonly kind: 'failed'; readonly error: unknown; readonly failures: number };

export interface WriteTurnOptions {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly firstRetryMs: number;
  readonly lastRetryMs: number;
}

/** How far the versions of one thing are written: a try confirms the version that there was when it began, and one that fails is put off. */
export class WriteTurn {
  readonly #options: WriteTurnOptions;
  /** Counts changes. */
  #version = 0;
  #written = 0;
  /** The version that is being written, or was last tried. */
  #tried = 0;
  #changedAtMs = 0;
  #isBusy = false;
  #failures = 0;
  #notBeforeMs = 0;

  constructor(options: WriteTurnOptions) {
    this.#options = options;
  }

  /** Whether there is a version that is not written. */
  get isDue(): boolean {
    return this.#version > this.#written;
  }

  /** When the first change came that is not written. */
  get changedAtMs(): number {
    return this.#changedAtMs;
  }

  /** When it may be tried; undefined: nothing is to be written, or it is tried now. */
  get notBeforeMs(): number | undefined {
    return this.isDue && !this.#isBusy ? this.#notBeforeMs : undefined;
  }

  /** There is another version. */
  changed(): void {
    const isFirst = !this.isDue || (this.#isBusy && this.#version === this.#tried);
    if (isFirst) this.#changedAtMs = this.#options.clock.monotonic();
    this.#version += 1;
  }

  /** Rejects never. */
  async attempt(write: () => Promise<void>): Promise<Outcome> {
    const { clock } = this.#options;
    const version = this.#version;
    const changedAtMs = this.#changedAtMs;
    this.#isBusy = true;
    this.#tried = version;
    try {
      await write();
      this.#written = version;
      this.#failures = 0;
      return { kind: 'written', afterMs: clock.monotonic() - changedAtMs };
    } catch (error) {
      this.#changedAtMs = changedAtMs;
      this.#putOff();
      return { kind: 'failed', error, failures: this.#failures };
    } finally {
      this.#isBusy = false;
    }
  }

  #putOff(): void {
    const { clock, random, firstRetryMs, lastRetryMs } = this.#options;
    const delayMs = Math.min(lastRetryMs, firstRetryMs * 2 ** Math.min(this.#failures, 10));
    this.#failures += 1;
    this.#notBeforeMs = clock.monotonic() + Math.round(delayMs * (0.75 + random() / 4));
  }
}
