import { Counter, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';

/** One request to the API server, as far as its status line. */
export interface RestRequest {
  readonly method: string;
  /** `10.0.0.1:6443` */
  readonly host: string;
  /** Undefined: nobody answered. */
  readonly status: number | undefined;
  readonly seconds: number;
  /** Of the body that was sent. */
  readonly sentBytes: number;
  /** Of the body that follows, where the server says it beforehand: of lists and watches it does not. */
  readonly receivedBytes: number | undefined;
}

/** client-go's edges. */
const durationBuckets = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60];
const sizeBuckets = [6, 8, 9, 10, 12, 14, 16, 18, 20, 22, 24].map((power) => 2 ** power);

/** The metrics of requests to the API server, under client-go's names. */
export class RestClientMetrics {
  readonly #requests: Counter<'code' | 'host' | 'method'>;
  readonly #durations: Histogram<'host' | 'verb'>;
  readonly #sent: Histogram<'host' | 'verb'>;
  readonly #received: Histogram<'host' | 'verb'>;

  constructor(registry: Registry) {
    this.#requests = new Counter({
      name: 'rest_client_requests_total',
      help: 'Requests to the API server, by the status of the answer',
      labelNames: ['code', 'host', 'method'],
      registers: [registry],
    });
    const histogram = (name: string, help: string, buckets: number[]): Histogram<'host' | 'verb'> =>
      new Histogram({
        name: `rest_client_${name}`,
        help,
        labelNames: ['host', 'verb'],
        buckets,
        registers: [registry],
      });
    this.#durations = histogram(
      'request_duration_seconds',
      'Time until the API server answered, in seconds',
      durationBuckets,
    );
    this.#sent = histogram(
      'request_size_bytes',
      'Size of what was sent to the API server, in bytes',
      sizeBuckets,
    );
    this.#received = histogram(
      'response_size_bytes',
      'Size of the answers of the API server that say it beforehand (lists and watches do not), in bytes',
      sizeBuckets,
    );
  }

  /** Always the same function, by which who is given it twice can tell. */
  readonly asked = (request: RestRequest): void => {
    const { method, host, status, seconds, sentBytes, receivedBytes } = request;
    this.#requests.inc({ code: status === undefined ? '<error>' : String(status), host, method });
    const labels = { host, verb: method };
    this.#durations.observe(labels, seconds);
    if (sentBytes > 0) this.#sent.observe(labels, sentBytes);
    if (receivedBytes !== undefined) this.#received.observe(labels, receivedBytes);
  };
}
