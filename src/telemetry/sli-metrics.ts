import { Counter, Gauge, Registry } from 'prom-client';

/** One thing that /livez or /healthz looks at. */
export interface HealthCheck {
  readonly name: string;
  readonly type: 'livez' | 'healthz';
  readonly succeeds: boolean;
}

/** What /metrics/slis has, under the names that components of Kubernetes have there: a registry of its own. */
export class SliMetrics {
  readonly registry = new Registry();
  readonly #asked: Counter<'name' | 'type' | 'status'>;
  #read: () => readonly HealthCheck[] = () => [];

  constructor() {
    const registers = [this.registry];
    const checks = new Gauge({
      name: 'kubernetes_healthcheck',
      help: 'Whether a health check of this component succeeds: 1, else 0',
      labelNames: ['name', 'type'],
      registers,
      collect: () => {
        for (const { name, type, succeeds } of this.#read())
          checks.set({ name, type }, Number(succeeds));
      },
    });
    const start = new Gauge({
      name: 'process_start_time_seconds',
      help: 'Start time of the process since unix epoch in seconds.',
      registers,
    });
    start.set(performance.timeOrigin / 1000);
    this.#asked = new Counter({
      name: 'kubernetes_healthchecks_total',
      help: 'Health checks that were asked for, by their result',
      labelNames: ['name', 'type', 'status'],
      registers,
    });
  }

  /** `read` gives the checks as they are now. */
  collect(read: () => readonly HealthCheck[]): void {
    this.#read = read;
  }

  /** Somebody asked for all checks of a type. */
  asked(asked: HealthCheck['type']): void {
    for (const { name, type, succeeds } of this.#read()) {
      if (type === asked) this.#asked.inc({ name, type, status: succeeds ? 'success' : 'error' });
    }
  }
}
