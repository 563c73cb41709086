import { expect, it } from 'vitest';
import { SyncMeter } from '../../../src/proxy/sync-meter.ts';
import { ProxyMetrics } from '../../../src/telemetry/metrics.ts';
import { VirtualClock } from './virtual-clock.ts';

it('counts rules in the tables kube-proxy counts them in', async () => {
  const metrics = new ProxyMetrics({ version: 'test' });
  new SyncMeter(metrics, new VirtualClock(), 'ipv4').gauges(new Map(), {
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
