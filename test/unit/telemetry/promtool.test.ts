// What Prometheus' own tool says of our metrics.
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { everyKubeletMetric, everyMetric } from '../../../scripts/metrics-page.ts';
import { cadvisorMetrics } from '../../../src/kubelet/server/figures/cadvisor-metrics.ts';
import { resourceMetrics } from '../../../src/kubelet/server/figures/resource-metrics.ts';
import { outsideTool } from '../../support/outside-tools.ts';
import { cadvisorExtras, figures } from '../kubelet/stats/figures.ts';

const promtool = await outsideTool('promtool');
const blocked = 'missing' in promtool ? ` (${promtool.missing})` : '';
const path = 'path' in promtool ? promtool.path : '';

/** Metrics under names that others have given them, and that dashboards know. */
const otherPeoples = [
  'kubeproxy_sync_proxy_rules_iptables_total non-counter metrics should not have "_total" suffix',
  'kubeproxy_sync_proxy_rules_no_local_endpoints_total non-counter metrics should not have "_total" suffix',
];

const upstreams = [
  'kubelet_certificate_manager_client_expiration_renew_errors counter metrics should have "_total" suffix',
  'kubelet_server_expiration_renew_errors counter metrics should have "_total" suffix',
];

const cadvisors = [
  'container_fs_inodes_total non-counter metrics should not have "_total" suffix',
  'container_memory_failcnt counter metrics should have "_total" suffix',
];

async function complaints(text: string): Promise<readonly string[]> {
  const { all, failed, exitCode } = await execa(path, ['check', 'metrics'], {
    input: text,
    all: true,
    reject: false,
  });
  expect([0, 3], `${String(failed)}: ${all}`).toContain(exitCode); // 1: it cannot be read
  return all.split('\n').filter((line) => line !== '');
}

/** With values, for it says nothing of metrics without any. */
async function exposition(): Promise<string> {
  const metrics = everyMetric();
  const ip_family = 'IPv4';
  metrics.openFamily(ip_family);
  metrics.rulesTotal.set({ table: 'nat', ip_family }, 1);
  metrics.syncDuration.observe({ ip_family }, 1);
  metrics.networkProgramming.observe({ ip_family }, 1);
  metrics.tools.ran('ipset', 'ok', 1);
  metrics.tools.waitedForLock(1);
  metrics.healthz.inc({ code: '200' });
  const request = { method: 'GET', host: '10.0.0.1', status: 200 };
  metrics.restClient.asked({ ...request, seconds: 1, sentBytes: 1, receivedBytes: 1 });
  metrics.agent.eventEnded('written');
  metrics.agent.mode('ipvs');
  return metrics.registry.metrics();
}

describe.skipIf(blocked !== '')(`promtool${blocked}`, () => {
  it('finds fault with the names alone that kube-proxy has given', async () => {
    expect((await complaints(await exposition())).toSorted()).toEqual(otherPeoples);
  });

  it('finds nothing wrong with /metrics/slis', async () => {
    const { slis } = everyMetric();
    slis.collect(() => [{ name: 'IPv4', type: 'livez', succeeds: true }]);
    slis.asked('livez');
    expect(await complaints(await slis.registry.metrics())).toEqual([]);
  });

  it('finds fault with the names alone that upstream’s kubelet has given', async () => {
    const { storage, pods, connections, runtimeEvents, registry } = everyKubeletMetric();
    connections.refused('too_many');
    runtimeEvents.begun('containerd');
    storage.volumeSetUp('kubernetes.io/empty-dir', 1, false);
    pods.cgroupChanged('create', 1);
    const space = { bytes: 9, availableBytes: 1, usedBytes: 8, inodes: 9, freeInodes: 1 };
    storage.collect({
      volumes: () => [{ plugin: 'kubernetes.io/empty-dir', desired: 1, actual: 1 }],
      claims: async () => Promise.resolve([{ namespace: 'shop', claim: 'data', space }]),
    });
    expect((await complaints(await registry.metrics())).toSorted()).toEqual(upstreams);
  });

  it('finds fault with the names alone that cAdvisor has given', async () => {
    const text = cadvisorMetrics(figures, cadvisorExtras);
    expect((await complaints(text)).toSorted()).toEqual(cadvisors);
    expect(await complaints(resourceMetrics(figures))).toEqual([]);
  });

  it('would say so if there were', async () => {
    const wrong = '# TYPE switchyard_took_milliseconds gauge\nswitchyard_took_milliseconds 1\n';
    expect(await complaints(wrong)).not.toEqual([]);
  });
});
