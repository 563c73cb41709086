import type { SyncReport } from '../../backends/sync-report.ts';
import type { Clock } from '../../clock.ts';
import type { RuleGraph } from '../../graph/rule-graph.ts';
import type { CatalogChanges } from '../../services/service-catalog.ts';

/** What a sync made of what it took. */
export interface WrittenSync {
  readonly graph: RuleGraph;
  readonly report: SyncReport;
  readonly changes: Pick<CatalogChanges, 'servicePorts' | 'skipped'>;
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
  /** Views of the compiler and the catalog: to be read at once. */
  readonly written: WrittenSync | undefined;
}

/** Remembers of one family's syncs what somebody may ask, beside what is programmed. */
export class SyncRecord {
  readonly #clock: Clock;
  #pendingSinceMs: number | undefined;
  #runningSinceMs: number | undefined;
  #syncs = 0;
  #last: SyncFacts['last'];
  #lastFullMs: number | undefined;
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
    } catch (error) {
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
    const isFull = written.report.full;
    this.#written = written;
    this.#last = { atMs, durationMs, isFull };
    if (isFull) this.#lastFullMs = atMs;
  }
}
