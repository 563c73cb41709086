import type { ListenerKey, ListenerStats, Relay } from '../relay/relay.ts';
import type { RelayRow } from '../telemetry/relay-metrics.ts';

/** Counters of a listener that only grow. */
type Counted = Omit<ListenerStats, 'active'>;

interface ServicePortCounts {
  /** Of listeners that are gone. */
  retired: Counted;
  readonly listeners: Map<NumberedKey, ListenerStats>;
}

const nothing: Counted = {
  connections: 0,
  bytesIn: 0,
  bytesOut: 0,
  dialFailures: { refused: 0, timeout: 0, unreachable: 0, reset: 0, files: 0, other: 0 },
  retries: 0,
  refused: 0,
  evicted: 0,
};

/** A listener of one of several relays: `default/web:http/TCP cluster ipv4 #2`. */
type NumberedKey = `${ListenerKey} #${number}`;

/**
 * Sums the counters of listeners by service port, for metrics: a service port may have several, of both families and of relays that
 * take over from each other, that come and go. Its sums never fall as long as any is there; then it is forgotten. One that nobody has
 * used is left out.
 */
export class RelayRows {
  readonly #counts = new Map<string, ServicePortCounts>();
  /** By number. Those before the last one have connections that drain. */
  readonly #relays = new Map<number, Pick<Relay, 'stats'>>();
  #last = 0;
  /** Service ports for which the last relay has no listener yet, and may get one. */
  readonly #awaited = new Set<string>();
  #read: readonly RelayRow[] | undefined;

  /** This relay has the listeners from now on. */
  follow(relay: Pick<Relay, 'stats'>): void {
    if (this.#relays.get(this.#last) === relay) return;
    this.awaitNext();
    this.#relays.set(++this.#last, relay);
  }

  /** The last relay is about to leave, and another one will follow: no service port is forgotten meanwhile. */
  awaitNext(): void {
    this.#sum();
    for (const name of this.#counts.keys()) this.#awaited.add(name);
  }

  /** The last relay has all its listeners. */
  settled(): void {
    this.#awaited.clear();
  }

  /** Read at most once for all metrics of one answer. */
  readonly rows = (): readonly RelayRow[] => {
    if (this.#read === undefined) {
      this.#read = this.#sum();
      setImmediate(() => {
        this.#read = undefined;
      });
    }
    return this.#read;
  };

  #sum(): readonly RelayRow[] {
    const stats = this.#stats();
    for (const [key, now] of stats) {
      const counts = this.#countsOf(servicePortOf(key));
      const before = counts.listeners.get(key);
      if (before !== undefined && now.connections < before.connections) {
        counts.retired = plus(counts.retired, before); // it went, and came again
      }
      counts.listeners.set(key, now);
    }
    const rows: RelayRow[] = [];
    for (const [name, counts] of this.#counts) {
      for (const [key, last] of counts.listeners) {
        if (stats.has(key)) continue;
        counts.retired = plus(counts.retired, last);
        counts.listeners.delete(key);
      }
      if (counts.listeners.size === 0 && !this.#awaited.has(name)) this.#counts.delete(name);
      else rows.push(...rowOf(name, counts));
    }
    return rows;
  }

  /** Of all relays; one whose last connection has ended is known no more. */
  #stats(): ReadonlyMap<NumberedKey, ListenerStats> {
    const all = new Map<NumberedKey, ListenerStats>();
    for (const [number, relay] of this.#relays) {
      const stats = relay.stats();
      for (const [key, each] of stats) all.set(`${key} #${number}`, each);
      if (stats.size === 0 && number < this.#last) this.#relays.delete(number);
    }
    return all;
  }

  #countsOf(name: string): ServicePortCounts {
    const found = this.#counts.get(name) ?? { retired: nothing, listeners: new Map() };
    this.#counts.set(name, found);
    return found;
  }
}

/** Rows of one relay. */
export function relayRows(relay: Pick<Relay, 'stats'>): () => readonly RelayRow[] {
  const all = new RelayRows();
  all.follow(relay);
  return all.rows;
}

/** `default/web:http/TCP` of `default/web:http/TCP cluster ipv4 #1`. */
function servicePortOf(key: NumberedKey): string {
  return key.split(' ', 1)[0] ?? key;
}

function rowOf(name: string, { retired, listeners }: ServicePortCounts): readonly RelayRow[] {
  const sum = [...listeners.values()].reduce<Counted>(plus, retired);
  const active = [...listeners.values()].reduce((total, each) => total + each.active, 0);
  if (sum.connections === 0 && sum.refused === 0 && active === 0) return [];
  const [namespace = '', rest = '', protocol = ''] = name.split('/');
  const [service = '', port = ''] = rest.split(':');
  return [{ namespace, service, port, protocol, active, ...sum }];
}

function plus(a: Counted, b: Counted): Counted {
  const reasons = Object.keys(a.dialFailures) as (keyof Counted['dialFailures'])[];
  const dialFailures = Object.fromEntries(
    reasons.map((reason) => [reason, a.dialFailures[reason] + b.dialFailures[reason]]),
  ) as Counted['dialFailures'];
  return {
    connections: a.connections + b.connections,
    bytesIn: a.bytesIn + b.bytesIn,
    bytesOut: a.bytesOut + b.bytesOut,
    dialFailures,
    retries: a.retries + b.retries,
    refused: a.refused + b.refused,
    evicted: a.evicted + b.evicted,
  };
}
