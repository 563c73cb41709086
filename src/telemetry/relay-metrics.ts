import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';

/** What the relay has carried for one service port, since it was first opened. */
export interface RelayRow {
  readonly namespace: string;
  readonly service: string;
  /** The port's name; '' where it has none. */
  readonly port: string;
  readonly protocol: string;
  readonly connections: number;
  readonly active: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** By reason. */
  readonly dialFailures: Readonly<Record<string, number>>;
  readonly retries: number;
  readonly refused: number;
  readonly evicted: number;
}

type Value = (row: RelayRow) => number;
type RowLabel = 'namespace' | 'service' | 'port' | 'protocol';
const rowLabels = ['namespace', 'service', 'port', 'protocol'] as const;

/** Metrics of the userspace mode: read when they are asked for, one series a service port that was used. */
export class RelayMetrics {
  readonly #registry: Registry;
  readonly #rows: () => readonly RelayRow[];

  constructor(registry: Registry, rows: () => readonly RelayRow[]) {
    this.#registry = registry;
    this.#rows = rows;
    this.#counter('connections', 'TCP connections and UDP flows taken', (row) => row.connections);
    this.#gauge('active', 'Open TCP connections, or UDP flows', (row) => row.active);
    this.#counter('received_bytes', 'Bytes from clients to endpoints', (row) => row.bytesIn);
    this.#counter('sent_bytes', 'Bytes from endpoints to clients', (row) => row.bytesOut);
    this.#dialFailures();
    this.#counter('retries', 'Dials after the first of a connection', (row) => row.retries);
    const refused = 'Clients turned away: no endpoint answered, or none may serve them';
    this.#counter('refused', refused, (row) => row.refused);
    const evicted = 'UDP flows that had to give way to newer ones';
    this.#counter('udp_evicted', evicted, (row) => row.evicted);
  }

  #counter(what: string, help: string, value: Value): void {
    const rows = this.#rows;
    const counter: Counter<RowLabel> = new Counter({
      name: `switchyard_relay_${what}_total`,
      help,
      labelNames: rowLabels,
      registers: [this.#registry],
      collect() {
        counter.reset();
        for (const row of rows()) counter.inc(labelsOf(row), value(row));
      },
    });
  }

  #gauge(what: string, help: string, value: Value): void {
    const rows = this.#rows;
    const gauge: Gauge<RowLabel> = new Gauge({
      name: `switchyard_relay_${what}`,
      help,
      labelNames: rowLabels,
      registers: [this.#registry],
      collect() {
        gauge.reset();
        for (const row of rows()) gauge.set(labelsOf(row), value(row));
      },
    });
  }

  /** A reason that never was one has no series. */
  #dialFailures(): void {
    const rows = this.#rows;
    const counter: Counter<RowLabel | 'reason'> = new Counter({
      name: 'switchyard_relay_dial_failures_total',
      help: 'Endpoints that could not be reached, by reason',
      labelNames: [...rowLabels, 'reason'],
      registers: [this.#registry],
      collect() {
        counter.reset();
        for (const row of rows()) {
          for (const [reason, count] of Object.entries(row.dialFailures)) {
            if (count > 0) counter.inc({ ...labelsOf(row), reason }, count);
          }
        }
      },
    });
  }
}

function labelsOf({ namespace, service, port, protocol }: RelayRow): Record<RowLabel, string> {
  return { namespace, service, port, protocol };
}
