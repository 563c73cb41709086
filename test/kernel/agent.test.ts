import process from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AgentProcess } from '../support/agent-process.ts';
import { NodeLab, eventually } from '../support/node-lab.ts';
import { nodeObject, service, slices } from './contract-objects.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;

describe.skipIf(!able)('the agent as a process (needs root: it makes network namespaces)', () => {
  let lab: NodeLab;
  let agent: AgentProcess;

  beforeAll(async () => {
    lab = await NodeLab.create('nft');
    await lab.write('node', nodeObject());
    await lab.write('web', service('web', { host: 10 }), ...slices('web', ['pod-a']));
    agent = lab.startAgent(['--cluster-cidr=10.244.0.0/16', '--conntrack-max-per-core=0']);
    await eventually(
      async () => lab.probe('client', { to: '10.96.0.10', port: 80, timeoutMs: 300 }),
      (seen) => typeof seen !== 'string',
    );
  });

  afterAll(async () => {
    await lab.close();
  });

  test('health and metrics answer', async () => {
    expect((await lab.get('node', 'http://127.0.0.1:10256/healthz')).status).toBe(200);
    expect((await lab.get('node', 'http://127.0.0.1:10256/livez')).status).toBe(200);
    const { body } = await lab.get('node', 'http://127.0.0.1:10249/metrics');
    expect(body).toContain('kubeproxy_sync_proxy_rules_last_timestamp_seconds');
  });

  test('a broken manifest is reported with its file, and the rest works', async () => {
    await lab.write('broken', {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'broken' },
      spec: 'nonsense',
    });
    await lab.write('more', service('more', { host: 11 }), ...slices('more', ['pod-b']));
    const answer = await eventually(
      async () => lab.probe('client', { to: '10.96.0.11', port: 80, timeoutMs: 300 }),
      (seen) => typeof seen !== 'string',
    );
    expect(answer).toMatchObject({ answeredBy: 'pod-b' });
    expect(agent.log).toContain('broken.yaml');
  });

  test('SIGTERM ends it with status 0 and leaves the rules', async () => {
    expect(await agent.stop()).toBe(0);
    expect(await lab.ask('client', { to: '10.96.0.10', port: 80 })).toMatchObject({
      answeredBy: 'pod-a',
    });
  });
});
