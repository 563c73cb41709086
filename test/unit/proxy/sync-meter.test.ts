import { expect, it } from 'vitest';
import { SyncMeter } from '../../../src/proxy/sync-meter.ts';
import { ProxyMetrics } from '../../../src/telemetry/metrics.ts';
import { VirtualClock } from './virtual-clock.ts';

it('counts rules in the tables kube-proxy counts them in', async () => {
  const metrics = new ProxyMetrics({ version: 'test' });
  new SyncMeter({ metrics, clock: new VirtualClock(), family: 'ipv4' }).gauges(new Map(), {
    full: true,
    rulesTotal: { filter: 3, nat: 7, mangle: 0 },
    rulesWritten: { nat: 2 },
    unprogrammed: [],
    refusedWrites: { full: 0, partial: 0 },
    failure: undefined,
  });
  const text = await metrics.registry.metrics();
  const series = text
    .split('\n')
    .filter((line) => /^kubeproxy_.*_iptables_(total|last)\{/.test(line));
  expect(series).toEqual([
    'kubeproxy_sync_proxy_rules_iptables_total{table="filter",ip_family="IPv4"} 3',
    'kubeproxy_sync_proxy_rules_iptables_total{table="nat",ip_family="IPv4"} 7',
    'kubeproxy_sync_proxy_rules_iptables_last{table="filter",ip_family="IPv4"} 0',
    'kubeproxy_sync_proxy_rules_iptables_last{table="nat",ip_family="IPv4"} 2',
  ]);
});

it('says nothing of what waits before it begins: an agent that works may be speaking there', async () => {
  const metrics = new ProxyMetrics({ version: 'test' });
  const clock = new VirtualClock();
  const waiting = async (): Promise<readonly string[]> => {
    const lines = (await metrics.registry.metrics()).split('\n');
    return lines.filter((line) => /^kubeproxy_.*(_queued_.*|_pending) [1-9]/.test(line)).toSorted();
  };
  const meter = new SyncMeter({ metrics, clock, family: 'ipv4' });
  await clock.advance(2000);
  meter.serviceTold({ services: 2, endpoints: 0 }, true);
  meter.sliceTold({ services: 2, endpoints: 3 }, true);
  meter.queued();
  expect(await waiting()).toEqual([]);
  await clock.advance(2000);
  meter.begin();
  const said = await waiting();
  expect(said).toEqual([
    'kubeproxy_sync_proxy_rules_endpoint_changes_pending 3',
    expect.stringMatching(/_last_queued_timestamp_seconds\{ip_family="IPv4"\} \d/),
    'kubeproxy_sync_proxy_rules_service_changes_pending 2',
  ]);
  await clock.advance(2000);
  meter.queued();
  meter.taken({ services: 0, endpoints: 0 });
  expect(await waiting()).toEqual([expect.not.stringContaining(said[1] ?? '')]);
});

/** Of a Service and a slice that change something. */
function tell(meter: SyncMeter): void {
  meter.serviceTold({ services: 1, endpoints: 0 }, true);
  meter.sliceTold({ services: 1, endpoints: 1 }, true);
}

it('counts objects once, where an agent that takes over is told of those that the one before was told of', async () => {
  const metrics = new ProxyMetrics({ version: 'test' });
  const own = { metrics, clock: new VirtualClock(), family: 'ipv4' } as const;
  const counted = async (): Promise<readonly string[]> => {
    const lines = (await metrics.registry.metrics()).split('\n');
    return lines.filter((line) =>
      /^[a-z_]*(changes|objects|events)[a-z_]*_total.* [1-9]/.test(line),
    );
  };
  const first = new SyncMeter(own);
  tell(first);
  first.begin();
  const once = await counted();
  expect(once).toHaveLength(4);
  const second = new SyncMeter({ ...own, takesOver: true });
  tell(second);
  expect(await counted()).toEqual(once);
  second.begin();
  tell(second);
  expect(await counted()).not.toEqual(once);
});
