import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';

const day = 86_400;
/** Upstream's edges: a minute to four years. */
const ages = [60, 3600, 4 * 3600, day, 7 * day, 30 * day, 90 * day, 180 * day, 365 * day].concat(
  4 * 365 * day,
);

/** What becomes of one certificate. */
export interface CertificateMeter {
  /** When the one that counts ends; undefined: there is none. */
  holds(notAfterMs: number | undefined): void;
  /** How old the former one was when another took its place; undefined: there was none. */
  renewed(formerAgeSeconds: number | undefined): void;
  failed(): void;
}

/** The kubelet's certificates under upstream's names: that of a client, and that which it serves with. */
export class CertificateMetrics {
  readonly client: CertificateMeter;
  readonly server: CertificateMeter;

  /** `nowMs`: dates count, whatever an operator does to the clock. */
  constructor(registry: Registry, nowMs: () => number = Date.now) {
    const client = new TimeToLive(registry, nowMs, 'client');
    const server = new TimeToLive(registry, nowMs, 'server');
    const rotations = new Histogram({
      name: 'kubelet_certificate_manager_server_rotation_seconds',
      help: 'How old the certificate that is served with was when another took its place, in seconds',
      buckets: ages,
      registers: [registry],
    });
    const clientErrors = errors(
      registry,
      'kubelet_certificate_manager_client_expiration_renew_errors',
      'Requests for a client certificate that came to nothing',
    );
    const serverErrors = errors(
      registry,
      'kubelet_server_expiration_renew_errors',
      'Requests for a certificate to serve with that came to nothing',
    );
    this.client = {
      holds: (notAfterMs) => client.holds(notAfterMs),
      renewed: () => {},
      failed: () => clientErrors.inc(),
    };
    this.server = {
      holds: (notAfterMs) => server.holds(notAfterMs),
      renewed: (seconds) => {
        if (seconds !== undefined) rotations.observe(seconds);
      },
      failed: () => serverErrors.inc(),
    };
  }
}

/** Seconds until a certificate ends, negative afterwards; +Inf where there is none, or nobody looks after it. */
class TimeToLive {
  #notAfterMs: number | undefined;

  constructor(registry: Registry, nowMs: () => number, whose: 'client' | 'server') {
    const read = (): number =>
      this.#notAfterMs === undefined ? Infinity : Math.round((this.#notAfterMs - nowMs()) / 1000);
    const gauge: Gauge = new Gauge({
      name: `kubelet_certificate_manager_${whose}_ttl_seconds`,
      help: `Seconds until the certificate of the kubelet as a ${whose} ends; negative: it has ended, +Inf: none is looked after`,
      registers: [registry],
      collect: () => gauge.set(read()),
    });
  }

  holds(notAfterMs: number | undefined): void {
    this.#notAfterMs = notAfterMs;
  }
}

function errors(registry: Registry, name: string, help: string): Counter {
  return new Counter({ name, help, registers: [registry] });
}
