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
}

/** client-go's edges. */
const buckets = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60];

/** The metrics of requests to the API server, under client-go's names. */
export class RestClientMetrics {
  readonly #requests: Counter<'code' | 'host' | 'method'>;
  readonly #durations: Histogram<'host' | 'verb'>;

  constructor(registry: Registry) {
    this.#requests = new Counter({
      name: 'rest_client_requests_total',
      help: 'Requests to the API server, by the status of the answer',
      labelNames: ['code', 'host', 'method'],
      registers: [registry],
    });
    this.#durations = new Histogram({
      name: 'rest_client_request_duration_seconds',
      help: 'Time until the API server answered, in seconds',
      labelNames: ['host', 'verb'],
      buckets,
      registers: [registry],
    });
  }

  asked({ method, host, status, seconds }: RestRequest): void {
    this.#requests.inc({ code: status === undefined ? '<error>' : String(status), host, method });
    this.#durations.observe({ host, verb: method }, seconds);
  }
}
