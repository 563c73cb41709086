import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import type { TrafficRow } from './traffic-tally.ts';

/** What the metrics of traffic are read from. */
export interface TrafficReadings {
  readonly hasBytes: boolean;
  rows(): readonly TrafficRow[];
  /** Service ports with a series of their own, and how many there may be. */
  readonly named: number;
  readonly limit: number;
  /** When counters were last read, in milliseconds since the epoch; 0: not yet. */
  readonly lastReadMs: number;
  readonly failures: number;
}

type RowLabel = 'namespace' | 'service' | 'port' | 'protocol';
const rowLabels = ['namespace', 'service', 'port', 'protocol'] as const;

/** Metrics of the traffic of service ports, for an agent that was asked to count it. */
export class TrafficMetrics {
  readonly #registry: Registry;
  readonly #readings: TrafficReadings;
  readonly #names: string[] = [];

  constructor(registry: Registry, readings: TrafficReadings) {
    this.#registry = registry;
    this.#readings = readings;
    const connections =
      'Connections and UDP flows led to endpoints; all service ports without a series of their own are under _other';
    this.#rows('connections', connections, (row) => row.connections);
    if (readings.hasBytes) {
      this.#rows('received_bytes', 'Bytes from clients to endpoints', (row) => row.received);
      this.#rows('sent_bytes', 'Bytes from endpoints to clients', (row) => row.sent);
    }
    this.#gauge('series', 'Service ports with a series of their own', () => readings.named);
    this.#gauge('series_limit', 'How many may have one', () => readings.limit);
    this.#gauge(
      'last_read_timestamp_seconds',
      'Unix time when counters were last read; 0: not yet',
      () => readings.lastReadMs / 1000,
    );
    this.#failures();
  }

  /** Takes them out of the registry. */
  remove(): void {
    for (const name of this.#names) this.#registry.removeSingleMetric(name);
  }

  #named(name: string): string {
    this.#names.push(name);
    return name;
  }

  #rows(what: string, help: string, value: (row: TrafficRow) => number): void {
    const readings = this.#readings;
    const counter: Counter<RowLabel> = new Counter({
      name: this.#named(`switchyard_service_${what}_total`),
      help,
      labelNames: rowLabels,
      registers: [this.#registry],
      collect() {
        counter.reset();
        for (const row of readings.rows()) {
          const { namespace, service, port, protocol } = row;
          counter.inc({ namespace, service, port, protocol }, value(row));
        }
      },
    });
  }

  #gauge(what: string, help: string, value: () => number): void {
    const gauge: Gauge = new Gauge({
      name: this.#named(`switchyard_service_traffic_${what}`),
      help,
      registers: [this.#registry],
      collect() {
        gauge.set(value());
      },
    });
  }

  #failures(): void {
    const readings = this.#readings;
    const counter: Counter = new Counter({
      name: this.#named('switchyard_service_traffic_read_failures_total'),
      help: 'Counters that could not be read: what they had counted may be missing',
      registers: [this.#registry],
      collect() {
        counter.reset();
        counter.inc(readings.failures);
      },
    });
  }
}
