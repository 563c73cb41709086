import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';

/** Why clients are sent away before it is known who they are. */
export const refusalReasons = [
  'too_many',
  'too_slow',
  'at_once',
  'too_many_reviews',
  'unreviewed',
] as const;

export type RefusalReason = (typeof refusalReasons)[number];

/** Connections to the kubelet's ports. */
export interface ConnectionReadings {
  /** Of those who were let in, or whose certificate was. */
  readonly known: number;
  readonly strangers: number;
}

/** Who is connected to the ports of the kubelet, and who was sent away. */
export class ConnectionMetrics {
  readonly #refused: Counter<'reason'>;
  #read: () => ConnectionReadings = () => ({ known: 0, strangers: 0 });

  constructor(registry: Registry) {
    const registers = [registry];
    const read = (): ConnectionReadings => this.#read();
    const gauge = new Gauge({
      name: 'switchyard_kubelet_connections',
      help: 'Connections to the ports of the kubelet, by whether it is known who is there',
      labelNames: ['client'],
      registers,
      collect: () => {
        const { known, strangers } = read();
        gauge.set({ client: 'known' }, known);
        gauge.set({ client: 'unknown' }, strangers);
      },
    });
    this.#refused = new Counter({
      name: 'switchyard_kubelet_clients_refused_total',
      help: 'Clients that were sent away before it was known who they are, by the reason',
      labelNames: ['reason'],
      registers,
    });
    for (const reason of refusalReasons) this.#refused.inc({ reason }, 0);
  }

  /** Says where the readings come from. */
  collect(read: () => ConnectionReadings): void {
    this.#read = read;
  }

  refused(reason: RefusalReason): void {
    this.#refused.inc({ reason });
  }
}
