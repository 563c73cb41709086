import { Counter, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';

/**
 * How a run of a tool ended: `refused` is an exit code other than 0, which may be all right; `stopped` is ended by us, since
 * the result was of no use any more.
 */
export type ToolEnd = 'ok' | 'refused' | 'timeout' | 'missing' | 'killed' | 'stopped';

/** 1 ms to two minutes. */
const runBuckets = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];
const lockBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5];

/** Metrics of the programs that are run, and of what they wait for. */
export class ToolMetrics {
  readonly #runs: Counter<'tool' | 'result'>;
  readonly #durations: Histogram<'tool'>;
  readonly #lockWaits: Histogram;
  readonly #lockFailures: Counter;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#runs = new Counter({
      name: 'switchyard_tool_runs_total',
      help: 'Programs run, by how they ended',
      labelNames: ['tool', 'result'],
      registers,
    });
    this.#durations = new Histogram({
      name: 'switchyard_tool_duration_seconds',
      help: 'How long they ran, in seconds',
      labelNames: ['tool'],
      buckets: runBuckets,
      registers,
    });
    this.#lockWaits = new Histogram({
      name: 'switchyard_xtables_lock_wait_seconds',
      help: 'How long iptables tools waited for the xtables lock where they were seen waiting, in seconds',
      buckets: lockBuckets,
      registers,
    });
    this.#lockFailures = new Counter({
      name: 'switchyard_xtables_lock_failures_total',
      help: 'Runs of iptables tools that did not get the xtables lock',
      registers,
    });
  }

  ran(tool: string, end: ToolEnd, seconds: number): void {
    this.#runs.inc({ tool, result: end });
    this.#durations.observe({ tool }, seconds);
  }

  waitedForLock(seconds: number): void {
    this.#lockWaits.observe(seconds);
  }

  lockNotTaken(): void {
    this.#lockFailures.inc();
  }
}
