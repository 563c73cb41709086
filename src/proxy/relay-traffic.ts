import type { RelayRow } from '../telemetry/relay-metrics.ts';
import type { Traffic, TrafficSink } from '../telemetry/traffic-tally.ts';
import type { TrafficSource } from './service-traffic.ts';

/** Adds up what listeners have carried, as their own metrics tell it. */
export function relayTraffic(rows: () => readonly RelayRow[], sink: TrafficSink): TrafficSource {
  let seen = new Map<string, Traffic>();
  const read = async (): Promise<void> => {
    const before = seen;
    seen = new Map();
    for (const { namespace, service, port, protocol, ...row } of rows()) {
      const key = `${namespace}/${service}${port === '' ? '' : `:${port}`}/${protocol}`;
      const now = { connections: row.connections, received: row.bytesIn, sent: row.bytesOut };
      const last = before.get(key);
      // A service port that went and came again counts from nothing.
      const since =
        last !== undefined && last.connections <= now.connections
          ? last
          : { connections: 0, received: 0, sent: 0 };
      seen.set(key, now);
      sink.add(key, {
        connections: now.connections - since.connections,
        received: Math.max(0, now.received - since.received),
        sent: Math.max(0, now.sent - since.sent),
      });
    }
  };
  return { name: 'listeners', read };
}
