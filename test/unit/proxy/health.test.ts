import { describe, expect, it } from 'vitest';
import type { Family } from '../../../src/ip/address.ts';
import { ProxyHealth, healthHandler } from '../../../src/proxy/health.ts';
import type { NodeObject } from '../../../src/services/objects.ts';
import { listen } from '../../../src/telemetry/http-server.ts';
import { watchStandstills } from '../../../src/proxy/standstill.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { ProxyMetrics } from '../../../src/telemetry/metrics.ts';
import { bareNode } from './bare-node.ts';
import { VirtualClock } from './virtual-clock.ts';

function rig(nodeExpected = true) {
  const clock = new VirtualClock();
  const health = new ProxyHealth({ clock, timeoutMs: 60_000, nodeExpected });
  const sync = (family: Family): void => {
    health.started(family);
    health.updated(family);
  };
  return { clock, health, sync };
}

async function ask(health: ProxyHealth, clock: VirtualClock, path: string) {
  const metrics = new ProxyMetrics({ version: 'test' });
  const server = await listen(
    { address: '127.0.0.1', port: 0 },
    healthHandler(health, clock, metrics),
  );
  try {
    const answer = await fetch(`http://127.0.0.1:${server.port}${path}`);
    const { status, headers } = answer;
    return {
      status,
      headers,
      text: await answer.text(),
      metrics: await metrics.registry.metrics(),
    };
  } finally {
    await server.close();
  }
}

describe('the health of the proxy', () => {
  it.each(['//', '//[/healthz'])('survives to be asked for %s', async (path) => {
    const { clock, health } = rig();
    expect((await ask(health, clock, path)).status).toBe(404);
  });

  it('is good before anything happened', () => {
    expect(rig().health.report().healthy).toBe(true);
  });

  it('turns bad when a change waits for longer than the time-out, and good with the next success', async () => {
    const { clock, health, sync } = rig();
    sync('ipv4');
    health.queued('ipv4');
    await clock.advance(59_999);
    expect(health.report().healthy).toBe(true);
    health.queued('ipv4');
    await clock.advance(1);
    expect(health.report().healthy).toBe(false);
    sync('ipv4');
    expect(health.report().healthy).toBe(true);
  });

  it('does not count a time in which this process stood still, nor one by which the date was set', async () => {
    const { clock, health } = rig();
    health.queued('ipv4');
    const stop = new AbortController();
    const said: string[] = [];
    const log = { ...silentLog, warn: (_: object, text: string) => void said.push(text) };
    const watching = watchStandstills({ clock, log }, (ms) => health.stoodStill(ms), stop.signal);
    health.updated('ipv4');
    await clock.standStill(3_600_000);
    clock.setDate(3_600_000);
    expect(health.report().healthy).toBe(true);
    expect(said).toEqual([expect.stringContaining('stood still for 3598 s')]);
    await clock.advance(60_000);
    expect(health.report().healthy).toBe(false);
    expect(said).toHaveLength(1);
    stop.abort();
    await watching;
  });

  it('stays good in a quiet cluster', async () => {
    const { clock, health, sync } = rig();
    sync('ipv4');
    await clock.advance(86_400_000);
    expect(health.report().healthy).toBe(true);
  });

  it('does not forget a change that arrived while a sync was running', async () => {
    const { clock, health, sync } = rig();
    sync('ipv4');
    health.queued('ipv4');
    health.started('ipv4');
    health.queued('ipv4');
    health.updated('ipv4');
    await clock.advance(60_000);
    expect(health.report().healthy).toBe(false);
  });

  it('counts a failed sync that nothing asked for as a waiting change', async () => {
    const { clock, health, sync } = rig();
    sync('ipv4');
    health.started('ipv4');
    health.failed('ipv4');
    await clock.advance(60_000);
    expect(health.report().healthy).toBe(false);
  });

  it('is bad when one family hangs, and says which', async () => {
    const { clock, health, sync } = rig();
    sync('ipv4');
    sync('ipv6');
    health.queued('ipv6');
    await clock.advance(60_001);
    sync('ipv4');
    health.setNode(bareNode);
    const { status, text } = await ask(health, clock, '/healthz');
    expect(status).toBe(503);
    expect((await ask(health, clock, '/livez')).status).toBe(503);
    // The process is as alive as before.
    expect(await ask(health, clock, '/livez/ping')).toMatchObject({ status: 200, text: 'ok\n' });
    expect(JSON.parse(text)).toMatchObject({
      healthy: false,
      nodeEligible: true,
      lastUpdated: '1970-01-01T00:00:00.000Z',
      currentTime: '1970-01-01T00:01:00.001Z',
      status: { IPv4: { healthy: true }, IPv6: { healthy: false } },
    });
  });

  it.each<[string, Partial<NodeObject>]>([
    ['is tainted by the autoscaler', { taintKeys: ['ToBeDeletedByClusterAutoscaler'] }],
    ['is being deleted', { deleting: true }],
  ])('answers 503 on /healthz but 200 on /livez when the node %s', async (_, change) => {
    const { clock, health, sync } = rig();
    sync('ipv4');
    health.setNode({ ...bareNode, ...change });
    const healthz = await ask(health, clock, '/healthz');
    const livez = await ask(health, clock, '/livez');
    expect([healthz.status, livez.status]).toEqual([503, 200]);
    expect(JSON.parse(healthz.text)).toMatchObject({ nodeEligible: false, healthy: true });
    expect(JSON.parse(livez.text)).not.toHaveProperty('nodeEligible');
  });

  it('does not mind other taints', async () => {
    const { clock, health } = rig();
    health.setNode({ ...bareNode, taintKeys: ['node.kubernetes.io/unschedulable'] });
    expect((await ask(health, clock, '/healthz')).status).toBe(200);
  });

  it('needs a known Node where there has to be one', async () => {
    const cluster = rig(true);
    const files = rig(false);
    expect((await ask(cluster.health, cluster.clock, '/healthz')).status).toBe(503);
    expect((await ask(files.health, files.clock, '/healthz')).status).toBe(200);
  });

  it('sends its headers, counts its answers and knows no other path', async () => {
    const { clock, health } = rig();
    health.setNode(bareNode);
    const { headers, metrics } = await ask(health, clock, '/healthz?verbose');
    expect(headers.get('content-type')).toBe('application/json');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(metrics).toContain('kubeproxy_proxy_healthz_total{code="200"} 1');
    expect((await ask(health, clock, '/metrics')).status).toBe(404);
  });
});
