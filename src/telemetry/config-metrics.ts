import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';

/** The configuration that a process runs with. */
export interface RunningConfig {
  /** Of the file's bytes, in hexadecimal; '' where flags alone say it. */
  readonly sha256: string;
  readonly mode: string;
}

/**
 * What became of a configuration: `live`: followed as it is; `restart`: a new agent took over; `unchanged`: it says the
 * same; `refused`: it cannot be read or used, or asks for what takes a new process; `failed`: no agent could start with it.
 */
export type ReloadResult = 'live' | 'restart' | 'unchanged' | 'refused' | 'failed';

const results: readonly ReloadResult[] = ['live', 'restart', 'unchanged', 'refused', 'failed'];

/** The configuration in force. */
export interface ConfigState {
  /** Of its file; '': flags alone. */
  readonly sha256: string;
  /** Milliseconds since the epoch. */
  readonly sinceMs: number;
  /** False where a newer one was refused, or waits. */
  readonly isNewest: boolean;
}

/** Which configuration runs, and whether the newest one was taken. */
export class ConfigMetrics {
  readonly #info: Gauge<'sha256' | 'mode'>;
  readonly #successful: Gauge;
  readonly #successTime: Gauge;
  readonly #reloads: Counter<'result'>;
  #state: ConfigState | undefined;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#info = new Gauge({
      name: 'switchyard_config_info',
      help: 'The configuration in force: the SHA-256 of its file (empty: flags alone) and its mode',
      labelNames: ['sha256', 'mode'],
      registers,
    });
    this.#successful = new Gauge({
      name: 'switchyard_config_last_reload_successful',
      help: '1 where the newest configuration is in force, 0 where it was refused, or waits for a new agent, and an earlier one is',
      registers,
    });
    this.#successTime = new Gauge({
      name: 'switchyard_config_last_reload_success_timestamp_seconds',
      help: 'Unix time when a configuration was last taken, the one of the start included',
      registers,
    });
    this.#reloads = new Counter({
      name: 'switchyard_config_reloads_total',
      help: 'Configurations read after the start, by what became of them',
      labelNames: ['result'],
      registers,
    });
    for (const result of results) this.#reloads.inc({ result }, 0);
  }

  /** What they say; undefined: nothing yet. */
  get state(): ConfigState | undefined {
    return this.#state;
  }

  /** A configuration is in force since `nowMs` (Unix time). */
  inForce({ sha256, mode }: RunningConfig, nowMs: number): void {
    this.#state = { sha256, sinceMs: nowMs, isNewest: true };
    this.#info.reset();
    this.#info.set({ sha256, mode }, 1);
    this.#successful.set(1);
    this.#successTime.set(nowMs / 1000);
  }

  /** A configuration was read after the start. */
  reloaded(result: ReloadResult): void {
    this.#reloads.inc({ result });
    if (result === 'refused' || result === 'failed') this.outdated();
  }

  /** There is a newer one than that in force: a new agent may wait long before it takes over. */
  outdated(): void {
    this.#successful.set(0);
    if (this.#state !== undefined) this.#state = { ...this.#state, isNewest: false };
  }
}
