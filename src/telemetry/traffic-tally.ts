/** What passed for a service port. */
export interface Traffic {
  /** TCP and SCTP connections, and UDP flows, that were led to an endpoint. */
  readonly connections: number;
  /** Bytes from clients to endpoints. */
  readonly received: number;
  /** Bytes from endpoints to clients. */
  readonly sent: number;
}

/** The labels and the values of a series. */
export interface TrafficRow extends Traffic {
  readonly namespace: string;
  readonly service: string;
  /** The port's name; '' where it has none. */
  readonly port: string;
  readonly protocol: string;
}

/** Takes what has passed since the last time. `servicePort`: `ns/name:port/TCP`. */
export interface TrafficSink {
  add(servicePort: string, more: Partial<Traffic>): void;
  /** Counters ended, and could not be read before that. */
  missed?(): void;
}

/** Whose traffic is told of by name. */
export interface TrafficLimits {
  /** So many service ports at most. */
  readonly series: number;
  /** Those of these namespaces; empty: of all. */
  readonly namespaces: readonly string[];
}

/** No namespace, Service or port can have this name. */
export const others = '_other';

type Sums = { -readonly [K in keyof Traffic]: number };

/**
 * Adds up the traffic of service ports. The first ones that are used have series of their own, up to a limit; all else is
 * in one sum, so that nothing is missing from the total. A series only grows as long as its service port exists,
 * then it goes, and makes room for another.
 */
export class TrafficTally implements TrafficSink {
  readonly #limits: TrafficLimits;
  /** By service, the service ports that exist. */
  readonly #existing = new Map<string, ReadonlySet<string>>();
  readonly #named = new Map<string, Sums>();
  readonly #others: Sums = { connections: 0, received: 0, sent: 0 };

  constructor(limits: TrafficLimits) {
    this.#limits = limits;
  }

  /** A Service (`ns/name`) has these service ports now; none: it is gone. */
  exists(service: string, servicePorts: readonly string[]): void {
    const now = new Set(servicePorts);
    for (const each of this.#existing.get(service) ?? []) {
      if (!now.has(each)) this.#named.delete(each);
    }
    if (now.size === 0) this.#existing.delete(service);
    else this.#existing.set(service, now);
  }

  add(servicePort: string, { connections = 0, received = 0, sent = 0 }: Partial<Traffic>): void {
    if (connections + received + sent === 0) return;
    const sums = this.#sumsOf(servicePort);
    sums.connections += connections;
    sums.received += received;
    sums.sent += sent;
  }

  /** Adds what another tally had. A service port that is no more has had its time. */
  goOnFrom(rows: readonly TrafficRow[]): void {
    for (const row of rows) {
      const { namespace, service, port, protocol } = row;
      const key = `${namespace}/${service}${port === '' ? '' : `:${port}`}/${protocol}`;
      const isRest = namespace === others;
      if (isRest || this.#existing.get(`${namespace}/${service}`)?.has(key) === true) {
        this.add(key, row);
      }
    }
  }

  /** Series of their own; the sum of the rest is always there, and the last. */
  rows(): readonly TrafficRow[] {
    const named = Array.from(this.#named, ([key, sums]) => ({ ...namesOf(key), ...sums }));
    const rest = { namespace: others, service: others, port: others, protocol: others };
    return [...named, { ...rest, ...this.#others }];
  }

  /** Service ports with a series of their own. */
  get named(): number {
    return this.#named.size;
  }

  /** How many there may be. */
  get limit(): number {
    return this.#limits.series;
  }

  #sumsOf(servicePort: string): Sums {
    const known = this.#named.get(servicePort);
    if (known !== undefined) return known;
    if (this.#named.size >= this.#limits.series || !this.#mayBeNamed(servicePort)) {
      return this.#others;
    }
    const sums = { connections: 0, received: 0, sent: 0 };
    this.#named.set(servicePort, sums);
    return sums;
  }

  /** What is told of a service port that is gone must not bring its series back. */
  #mayBeNamed(servicePort: string): boolean {
    const { namespace, service } = namesOf(servicePort);
    const { namespaces } = this.#limits;
    if (namespaces.length > 0 && !namespaces.includes(namespace)) return false;
    return this.#existing.get(`${namespace}/${service}`)?.has(servicePort) === true;
  }
}

function namesOf(servicePort: string): Omit<TrafficRow, keyof Traffic> {
  const [namespace = '', rest = '', protocol = ''] = servicePort.split('/');
  const [service = '', port = ''] = rest.split(':');
  return { namespace, service, port, protocol };
}
