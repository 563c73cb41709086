/** Its one job: traffic is added up by service port, and the series it is told in are bounded. */
import { describe, expect, it } from 'vitest';
import { ProxyMetrics } from '../../../src/telemetry/metrics.ts';
import { TrafficTally, others } from '../../../src/telemetry/traffic-tally.ts';
import type { TrafficLimits } from '../../../src/telemetry/traffic-tally.ts';

function tally(limits: Partial<TrafficLimits> = {}): TrafficTally {
  const made = new TrafficTally({ series: 10, namespaces: [], ...limits });
  for (const name of ['a', 'b', 'c']) made.exists(`default/${name}`, [`default/${name}:http/TCP`]);
  made.exists('kube-system/dns', ['kube-system/dns:dns/UDP', 'kube-system/dns/TCP']);
  return made;
}

/** `default/a:http/TCP=3`, connections by series. */
function connections(made: TrafficTally): readonly string[] {
  return made
    .rows()
    .map(({ namespace, service, port, protocol, connections: count }) =>
      namespace === others
        ? `others=${count}`
        : `${namespace}/${service}:${port}/${protocol}=${count}`,
    );
}

describe('the tally of traffic', () => {
  it('adds up by service port, and has no series for one that nobody used', () => {
    const made = tally();
    made.add('default/a:http/TCP', { connections: 2, received: 10, sent: 20 });
    made.add('default/a:http/TCP', { connections: 1, sent: 5 });
    made.add('default/b:http/TCP', { connections: 0, received: 0 });
    made.add('kube-system/dns/TCP', { connections: 4 });
    expect(made.rows()).toEqual([
      {
        namespace: 'default',
        service: 'a',
        port: 'http',
        protocol: 'TCP',
        connections: 3,
        received: 10,
        sent: 25,
      },
      {
        namespace: 'kube-system',
        service: 'dns',
        port: '',
        protocol: 'TCP',
        connections: 4,
        received: 0,
        sent: 0,
      },
      {
        namespace: others,
        service: others,
        port: others,
        protocol: others,
        connections: 0,
        received: 0,
        sent: 0,
      },
    ]);
  });

  it('has series for so many service ports and no more: all others are in one', () => {
    const made = tally({ series: 2 });
    for (const name of ['a', 'b', 'c', 'a', 'c']) {
      made.add(`default/${name}:http/TCP`, { connections: 1 });
    }
    expect(connections(made)).toEqual(['default/a:http/TCP=2', 'default/b:http/TCP=1', 'others=2']);
    expect(made).toMatchObject({ named: 2, limit: 2 });
  });

  it('gives the place of a service port that is gone to the next that is used', () => {
    const made = tally({ series: 1 });
    made.add('default/a:http/TCP', { connections: 1 });
    made.add('default/b:http/TCP', { connections: 1 });
    made.exists('default/a', []);
    made.add('default/b:http/TCP', { connections: 5 });
    expect(connections(made)).toEqual(['default/b:http/TCP=5', 'others=1']);
  });

  it('does not let what is told late bring a service port back', () => {
    const made = tally();
    made.add('default/a:http/TCP', { connections: 1 });
    made.exists('default/a', ['default/a:web/TCP']); // its port has another name now
    made.add('default/a:http/TCP', { connections: 7 });
    made.add('default/never:http/TCP', { connections: 1 });
    expect(connections(made)).toEqual(['others=8']);
  });

  it('names those of chosen namespaces alone', () => {
    const made = tally({ namespaces: ['kube-system'] });
    made.add('default/a:http/TCP', { connections: 1 });
    made.add('kube-system/dns:dns/UDP', { connections: 2 });
    expect(connections(made)).toEqual(['kube-system/dns:dns/UDP=2', 'others=1']);
  });

  it('with no series at all has the sum of everything', () => {
    const made = tally({ series: 0 });
    for (const name of ['a', 'b']) made.add(`default/${name}:http/TCP`, { connections: 1 });
    expect(connections(made)).toEqual(['others=2']);
  });
});

const readings = (made: TrafficTally, hasBytes: boolean) => ({
  hasBytes,
  rows: () => made.rows(),
  named: made.named,
  limit: made.limit,
  lastReadMs: 1500,
  failures: 2,
});
const trafficLines = async (hasBytes: boolean): Promise<readonly string[]> => {
  const made = tally();
  made.add('default/a:http/TCP', { connections: 2, received: 10, sent: 20 });
  const metrics = new ProxyMetrics({ version: 'test' });
  metrics.collectTraffic(readings(made, hasBytes));
  await metrics.registry.metrics(); // asked for twice, nothing is counted twice
  const text = await metrics.registry.metrics();
  return text.split('\n').filter((line) => line.startsWith('switchyard_service_'));
};

describe('the metrics of traffic', () => {
  it('are there for an agent that counts bytes', async () => {
    const a = '{namespace="default",service="a",port="http",protocol="TCP"}';
    const rest = '{namespace="_other",service="_other",port="_other",protocol="_other"}';
    expect(await trafficLines(true)).toEqual([
      `switchyard_service_connections_total${a} 2`,
      `switchyard_service_connections_total${rest} 0`,
      `switchyard_service_received_bytes_total${a} 10`,
      `switchyard_service_received_bytes_total${rest} 0`,
      `switchyard_service_sent_bytes_total${a} 20`,
      `switchyard_service_sent_bytes_total${rest} 0`,
      'switchyard_service_traffic_series 1',
      'switchyard_service_traffic_series_limit 10',
      'switchyard_service_traffic_last_read_timestamp_seconds 1.5',
      'switchyard_service_traffic_read_failures_total 2',
    ]);
  });

  it('have no bytes where these are not asked for, and are not there at all for an agent that does not count', async () => {
    expect((await trafficLines(false)).join('\n')).not.toContain('bytes');
    const text = await new ProxyMetrics({ version: 'test' }).registry.metrics();
    expect(text).not.toContain('switchyard_service_connections');
  });
});

describe('the metrics of an agent that takes over', () => {
  it('are in the place of those of the one before', async () => {
    const metrics = new ProxyMetrics({ version: 'test' });
    const nothing = { rows: () => [], named: 1, limit: 0, lastReadMs: 0, failures: 0 };
    const exposed = async (): Promise<string> => metrics.registry.metrics();
    metrics.collectTraffic({ hasBytes: true, ...nothing });
    metrics.collectConntrack(async () => ({ entries: 1, limit: 2 }));
    metrics.collectCountedPackets(async () => 3);
    metrics.collectTraffic({ hasBytes: false, ...nothing, named: 9 });
    metrics.collectConntrack(async () => ({ entries: 8, limit: 2 }));
    metrics.collectCountedPackets(undefined);
    expect(await exposed()).toContain('switchyard_service_traffic_series 9');
    expect(await exposed()).toContain('switchyard_conntrack_entries 8');
    expect(await exposed()).not.toMatch(/kubeproxy_iptables_|received_bytes/);
    metrics.collectTraffic(undefined);
    expect(await exposed()).not.toContain('switchyard_service_');
  });
});

describe('the metrics of the kernel', () => {
  it('are those of nfacct objects and of connection tracking, without a value where there is none', async () => {
    const metrics = new ProxyMetrics({ version: 'test' });
    let usage: { readonly entries: number; readonly limit: number } | undefined = {
      entries: 12,
      limit: 100,
    };
    metrics.collectConntrack(async () => usage);
    metrics.collectCountedPackets(async (object) =>
      object === 'ct_state_invalid_dropped_pkts' ? 7 : undefined,
    );
    const values = async (): Promise<readonly string[]> =>
      (await metrics.registry.metrics())
        .split('\n')
        .filter((line) => /^(switchyard_conntrack|kubeproxy_iptables)/.test(line));
    expect(await values()).toEqual([
      'switchyard_conntrack_entries 12',
      'switchyard_conntrack_entries_limit 100',
      'kubeproxy_iptables_ct_state_invalid_dropped_packets_total 7',
    ]);
    usage = undefined;
    expect(await values()).toEqual(['kubeproxy_iptables_ct_state_invalid_dropped_packets_total 7']);
  });
});
