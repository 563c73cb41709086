import { describe, expect, it } from 'vitest';
import { metricsPage } from '../../../scripts/metrics-page.ts';
import { refusalReasons } from '../../../src/telemetry/connection-metrics.ts';
import { ProxyMetrics, networkBuckets } from '../../../src/telemetry/metrics.ts';

describe("the proxy's metrics", () => {
  it('have the 81 bucket edges of the network programming latency', () => {
    expect(networkBuckets).toHaveLength(81);
    expect(networkBuckets.slice(0, 5)).toEqual([0, 0.25, 0.5, 1, 2]);
    expect(networkBuckets.slice(60, 65)).toEqual([58, 59, 60, 65, 70]);
    expect(networkBuckets.slice(-8)).toEqual(
      [110, 115, 120, 150, 180, 210, 240, 270, 300].slice(1),
    );
  });

  it.each([
    ['sync_proxy_rules_duration_seconds', 'histogram'],
    ['sync_full_proxy_rules_duration_seconds', 'histogram'],
    ['sync_partial_proxy_rules_duration_seconds', 'histogram'],
    ['network_programming_duration_seconds', 'histogram'],
    ['sync_proxy_rules_last_timestamp_seconds', 'gauge'],
    ['sync_proxy_rules_last_queued_timestamp_seconds', 'gauge'],
    ['sync_proxy_rules_endpoint_changes_pending', 'gauge'],
    ['sync_proxy_rules_endpoint_changes_total', 'counter'],
    ['sync_proxy_rules_service_changes_pending', 'gauge'],
    ['sync_proxy_rules_service_changes_total', 'counter'],
    ['sync_proxy_rules_iptables_total', 'gauge'],
    ['sync_proxy_rules_iptables_last', 'gauge'],
    ['sync_proxy_rules_iptables_restore_failures_total', 'counter'],
    ['sync_proxy_rules_iptables_partial_restore_failures_total', 'counter'],
    ['sync_proxy_rules_no_local_endpoints_total', 'gauge'],
    ['proxy_healthz_total', 'counter'],
    ['proxy_livez_total', 'counter'],
    ['conntrack_reconciler_sync_duration_seconds', 'histogram'],
    ['conntrack_reconciler_deleted_entries_total', 'counter'],
  ])('include kubeproxy_%s, a %s', async (name, type) => {
    const text = await new ProxyMetrics({ version: 'test' }).registry.metrics();
    expect(text).toContain(`# TYPE kubeproxy_${name} ${type}\n`);
  });

  it('are, with those of the kubelet, the tables of docs/metrics.md (npm run metrics writes them)', async () => {
    const { committed, made } = await metricsPage();
    expect(committed).toBe(made);
    expect(made).toContain('| `kubeproxy_proxy_healthz_total` | counter | code |');
    expect(made).toContain('| `kubelet_running_pods` | gauge | – |');
  });

  it.each(refusalReasons)(
    'the reason %s for which a client is sent away is told of on their page',
    async (reason) => {
      expect((await metricsPage()).committed).toMatch(
        new RegExp(`^\\| \`${reason}\` \\| .+ \\|$`, 'm'),
      );
    },
  );

  it('are kept apart in each instance', async () => {
    const [one, other] = [new ProxyMetrics({ version: '1' }), new ProxyMetrics({ version: '2' })];
    one.serviceChanges.inc(3);
    expect(await other.registry.metrics()).toContain('service_changes_total 0');
  });

  it('say how many real servers drain, and since when', async () => {
    const metrics = new ProxyMetrics({ version: 'test' });
    const drained = async () =>
      (await metrics.registry.metrics())
        .split('\n')
        .filter((line) => line.startsWith('switchyard_drain'));
    metrics.openFamily('IPv4');
    const none = await drained();
    metrics.draining('IPv4', { count: 3, oldestMs: 2500 });
    expect([none, await drained()]).toEqual([
      [
        'switchyard_draining_real_servers{ip_family="IPv4"} 0',
        'switchyard_draining_oldest_seconds{ip_family="IPv4"} 0',
      ],
      [
        'switchyard_draining_real_servers{ip_family="IPv4"} 3',
        'switchyard_draining_oldest_seconds{ip_family="IPv4"} 2.5',
      ],
    ]);
  });

  it('outlast the agent that counts: a family opened again keeps what is there, another mode starts anew', async () => {
    const metrics = new ProxyMetrics({ version: 'test' });
    const unprogrammed = async () =>
      (await metrics.registry.metrics())
        .split('\n')
        .find((line) => line.startsWith('switchyard_services_not_programmed{'));
    metrics.openFamily('IPv4');
    metrics.agent.unprogrammed.set({ ip_family: 'IPv4' }, 2);
    metrics.openFamily('IPv4');
    expect(await unprogrammed()).toBe('switchyard_services_not_programmed{ip_family="IPv4"} 2');
    metrics.collectRelay(() => []);
    metrics.collectRelay(() => []);
    metrics.forgetMode();
    expect(await unprogrammed()).toBeUndefined();
  });

  it('of a family stand at 0 before anything failed', async () => {
    const metrics = new ProxyMetrics({ version: 'test' });
    metrics.openFamily('IPv6');
    expect(await metrics.registry.metrics()).toContain(
      'kubeproxy_sync_proxy_rules_iptables_restore_failures_total{ip_family="IPv6"} 0',
    );
  });
});
