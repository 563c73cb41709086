import type { SyncReport } from '../../backends/backend.ts';
import type { Clock } from '../../clock.ts';
import { SwitchyardError, errorText } from '../../error.ts';
import type { RuleGraph } from '../../graph/rule-graph.ts';
import type { CatalogChanges } from '../../services/service-catalog.ts';

/** What a sync made of what it took. */
export interface WrittenSync {
  readonly graph: RuleGraph;
  readonly report: SyncReport;
  readonly changes: Pick<CatalogChanges, 'servicePorts' | 'skipped'>;
}

/** A service port that is left out, since when in milliseconds of the epoch. */
export interface LeftOutPort {
  readonly servicePort: string;
  readonly reason: string;
  readonly sinceMs: number;
}

/** Why the last sync failed. */
export interface SyncFailure {
  readonly reason: string;
  readonly hint: string | undefined;
  /** Of the first one in a row. */
  readonly sinceMs: number;
  readonly times: number;
}

/** What is known of one family's syncs, in the times of the epoch; for those who ask. */
export interface SyncFacts {
  /** What was asked for and no sync has done, or the one that runs. */
  readonly pendingSinceMs: number | undefined;
  readonly isRunning: boolean;
  readonly syncs: number;
  /** The last one that wrote. */
  readonly last:
    | { readonly atMs: number; readonly durationMs: number; readonly isFull: boolean }
    | undefined;
  readonly lastFullMs: number | undefined;
  readonly failure: SyncFailure | undefined;
  readonly notProgrammed: readonly LeftOutPort[];
  /** Views of the compiler and the catalog: to be read at once. */
  readonly written: WrittenSync | undefined;
}

/** Remembers of one family's syncs what somebody may ask. */
export class SyncRecord {
  readonly #clock: Clock;
  #pendingSinceMs: number | undefined;
  #runningSinceMs: number | undefined;
  #syncs = 0;
  #last: SyncFacts['last'];
  #lastFullMs: number | undefined;
  #failure: SyncFailure | undefined;
  #notProgrammed: readonly LeftOutPort[] = [];
  #written: WrittenSync | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get facts(): SyncFacts {
    return {
      pendingSinceMs: this.#runningSinceMs ?? this.#pendingSinceMs,
      isRunning: this.#runningSinceMs !== undefined,
      syncs: this.#syncs,
      last: this.#last,
      lastFullMs: this.#lastFullMs,
      failure: this.#failure,
      notProgrammed: this.#notProgrammed,
      written: this.#written,
    };
  }

  /** A sync was asked for. */
  requested(): void {
    this.#pendingSinceMs ??= this.#clock.now();
  }

  /** Watches over a sync; rejects as it does. */
  async during(sync: () => Promise<void>): Promise<void> {
    const sinceMs = this.#pendingSinceMs ?? this.#clock.now();
    this.#pendingSinceMs = undefined;
    this.#runningSinceMs = sinceMs;
    try {
      await sync();
      this.#failure = undefined;
    } catch (error) {
      this.#failed(error);
      this.#pendingSinceMs = sinceMs;
      throw error;
    } finally {
      this.#runningSinceMs = undefined;
      this.#syncs++;
    }
  }

  /** The running sync has written what it could. */
  wrote(written: WrittenSync, durationMs: number): void {
    const atMs = this.#clock.now();
    const { full, unprogrammed } = written.report;
    this.#written = written;
    this.#last = { atMs, durationMs, isFull: full };
    if (full) this.#lastFullMs = atMs;
    const before = new Map(this.#notProgrammed.map((each) => [each.servicePort, each.sinceMs]));
    this.#notProgrammed = unprogrammed.map(({ name, reason }) => ({
      servicePort: name,
      reason,
      sinceMs: before.get(name) ?? atMs,
    }));
  }

  #failed(error: unknown): void {
    const before = this.#failure;
    this.#failure = {
      reason: errorText(error),
      hint: error instanceof SwitchyardError ? error.hint : undefined,
      sinceMs: before?.sinceMs ?? this.#clock.now(),
      times: (before?.times ?? 0) + 1,
    };
  }
}
