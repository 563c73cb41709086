import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';

/** How full connection tracking is; undefined where it is not loaded. */
export type ReadConntrackUsage = () => Promise<
  { readonly entries: number; readonly limit: number } | undefined
>;

/** Entries and limit of connection tracking, read when they are asked for; no series where there is none. The last ones count. */
export function conntrackMetrics(registry: Registry, read: ReadConntrackUsage): void {
  const gauge = (name: string, help: string, of: 'entries' | 'limit'): void => {
    registry.removeSingleMetric(`switchyard_conntrack_${name}`);
    const made: Gauge = new Gauge({
      name: `switchyard_conntrack_${name}`,
      help,
      registers: [registry],
      async collect() {
        const usage = await read();
        made.remove();
        if (usage !== undefined) made.set(usage[of]);
      },
    });
  };
  gauge('entries', 'Connections that are tracked in this network namespace', 'entries');
  const limit = 'How many can be: beyond that, packets of new connections are dropped';
  gauge('entries_limit', limit, 'limit');
}

/** Objects of the kernel that rules count packets in, as kube-proxy names them. */
export type CountingObject = (typeof nfacctMetrics)[number]['object'];

/** Packets that one has seen; undefined where it cannot be read. */
export type ReadCountedPackets = (object: CountingObject) => Promise<number | undefined>;

/** kube-proxy's two metrics of nfacct objects; one that cannot be read has no series. */
export const nfacctMetrics = [
  {
    object: 'ct_state_invalid_dropped_pkts',
    name: 'kubeproxy_iptables_ct_state_invalid_dropped_packets_total',
    help: 'Packets dropped because connection tracking found them invalid',
  },
  {
    object: 'localhost_nps_accepted_pkts',
    name: 'kubeproxy_iptables_localhost_nodeports_accepted_packets_total',
    help: 'Connections to node ports taken at a loopback address',
  },
] as const;

/** Registers them, read when they are asked for; without somebody who reads, takes them out. */
export function countedPackets(registry: Registry, read: ReadCountedPackets | undefined): void {
  for (const { object, name, help } of nfacctMetrics) {
    registry.removeSingleMetric(name);
    if (read === undefined) continue;
    const counter: Counter = new Counter({
      name,
      help,
      registers: [registry],
      async collect() {
        const packets = await read(object);
        counter.remove();
        if (packets !== undefined) counter.inc(packets);
      },
    });
  }
}
