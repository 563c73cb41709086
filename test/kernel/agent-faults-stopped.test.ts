import process from 'node:process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { proxyCommand } from '../support/agent-process.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { FaultyTools } from '../support/faulty-tools.ts';
import { NodeLab, eventually } from '../support/node-lab.ts';
import { nodeRules } from '../support/node-rules.ts';
import { RequestStream } from '../support/request-stream.ts';
import { nodeObject, service, slices } from './contract-objects.ts';

/**
 * The one job: an agent that stands still (SIGSTOP) for longer than its health's time-out, or dies because it ran out
 * of memory, costs no request, and goes on where it was. What longer standstills do is tried with a clock that tests
 * drive: test/unit/proxy.
 */

const able = process.platform === 'linux' && process.getuid?.() === 0;
/** Unhealthy when a change waits for 8 s. */
const flags = [
  '--cluster-cidr=10.244.0.0/16',
  '--conntrack-max-per-core=0',
  '--iptables-sync-period=4s',
  '--iptables-min-sync-period=10ms',
];
const web = { to: '10.96.0.10', port: 80 };
const patienceMs = 40_000;

describe.skipIf(!able)('an agent', () => {
  let lab: NodeLab;
  let requests: RequestStream | undefined;

  beforeEach(async () => {
    lab = await NodeLab.create('nft');
    await lab.write('node', nodeObject());
    await lab.write('web', service('web', { host: 10 }), ...slices('web', ['pod-a']));
  });

  afterEach(async () => {
    await requests?.stop();
    requests = undefined;
    await lab.close();
  });

  const served = async (host: number): Promise<unknown> =>
    eventually(
      async () => lab.probe('client', { to: `10.96.0.${host}`, port: 80, timeoutMs: 300 }),
      (seen) => typeof seen !== 'string',
      patienceMs,
    );
  /** 0: no answer within a second. */
  const health = async (): Promise<number> =>
    (await lab.get('node', 'http://127.0.0.1:10256/healthz')).status;

  /** The frozen agent gives no answer for so many seconds in a row. */
  async function standsStill(seconds: number): Promise<void> {
    for (let i = 0; i < seconds; i++) expect(await health()).toBe(0);
  }

  test('that stands still in the middle of a sync stays healthy, and catches up without writing all anew', async () => {
    const tools = await FaultyTools.install(lab, { ipv4Only: true });
    const agent = lab.startAgent(flags, tools.folder);
    await served(10);
    await tools.meet(
      'iptables-nft-restore: write rules',
      { before: 'touch $state/entered; until [ -e $state/leave ]; do sleep 0.02; done' },
      { once: true },
    );
    requests = new RequestStream(lab, 'client', [web], 1);
    await lab.write('more', service('more', { host: 11 }), ...slices('more', ['pod-b']));
    await eventually(async () => tools.has('entered'), Boolean, patienceMs);
    agent.freeze();
    await lab.write('late', service('late', { host: 12 }), ...slices('late', ['pod-c']));
    await standsStill(10);
    await tools.taken();
    agent.thaw();
    // the change that the sync is for has waited for longer than the time-out, but not for this agent
    expect(await eventually(health, (status) => status !== 0)).toBe(200);
    await tools.put('leave');
    await served(11);
    await served(12);
    expect(Object.keys(await requests.stop())).toEqual(['pod-a']);
    expect(agent.log).toMatch(/this process stood still for \d+ s/);
    expect(agent.log).not.toMatch(/sync failed|rules were changed by others/);
    // one partial write for the change, and no list of sets, which every full write begins with
    const steps = await tools.taken();
    expect(steps.filter((step) => step.endsWith('write rules'))).toHaveLength(1);
    expect(steps.filter((step) => step.startsWith('ipset'))).toEqual([]);
  });

  test('that runs out of memory says so and leaves the rules; the next one goes on from them', async () => {
    const start = (): AgentProcess =>
      lab.startClusterAgent(
        [`--source=file:${lab.manifests}`, '--hostname-override=node-a', ...flags],
        ['env', 'NODE_OPTIONS=--max-old-space-size=32', ...proxyCommand()],
      );
    const agent = start();
    await served(10);
    const before = await nodeRules(lab);
    requests = new RequestStream(lab, 'client', [web], 1);
    const many = Array.from({ length: 60_000 }, (_, i) => {
      const name = `many-${i}`;
      const spec = { clusterIP: `10.97.${i >> 8}.${i % 256}`, ports: [{ port: 80 }] };
      return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'default' }, spec };
    });
    await lab.write('many', ...many);
    await agent.ended();
    expect(agent.log).toContain('JavaScript heap out of memory');
    expect(await nodeRules(lab)).toBe(before);
    await lab.remove('many');
    await lab.write('more', service('more', { host: 11 }), ...slices('more', ['pod-b']));
    const next = start();
    await served(11);
    await lab.remove('more');
    await eventually(
      async () => nodeRules(lab),
      (rules) => rules === before,
      patienceMs,
    );
    expect(Object.keys(await requests.stop())).toEqual(['pod-a']);
    expect(next.log).not.toContain('"level":"error"');
  }, 120_000);
});
