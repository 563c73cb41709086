// An agent follows its configuration file as a mounted ConfigMap swaps it, under traffic that does not notice.
import { rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AgentProcess } from '../support/agent-process.ts';
import { MountedConfig } from '../support/mounted-config.ts';
import { NodeLab, eventually, lab4 } from '../support/node-lab.ts';
import { RequestStream } from '../support/request-stream.ts';
import { SteadyTraffic } from '../support/steady-traffic.ts';
import type { Conversation } from '../support/steady-traffic.ts';
import { nodeObject, service, slices } from './contract-objects.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;

const head = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n';
const usual = `${head}
clusterCIDR: 10.244.0.0/16
oomScoreAdj: 0
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
iptables: {minSyncPeriod: 10ms, localhostNodePorts: false}
`;
const web = { to: '10.96.0.10', port: 80, timeoutMs: 1000 } as const;
const conversations: readonly Conversation[] = [
  { actor: 'client', question: web },
  { actor: 'pod-b', question: web },
  { actor: 'client', question: { ...web, to: 'fd00:10:96::10' } },
];

describe.skipIf(!able)('a configuration file that changes (needs root on Linux)', () => {
  let lab: NodeLab;
  let agent: AgentProcess;
  let file: MountedConfig;

  beforeAll(async () => {
    lab = await NodeLab.create('nft');
    file = new MountedConfig(join(lab.folder, 'config'));
    await file.make(usual);
    await lab.write('node', nodeObject());
    const options = { host: 10, type: 'LoadBalancer', nodePort: 30_080 } as const;
    const health = { healthCheckNodePort: 30_999, externalPolicy: 'Local' } as const;
    await lab.write(
      'web',
      service('web', { ...options, ...health }),
      ...slices('web', ['pod-a', 'pod-b']),
    );
    agent = lab.startAgent(
      [`--config=${file.path}`, `--userspace-state-file=${join(lab.folder, 'ports.json')}`],
      await lab.brokenTool('ipvsadm'),
    );
    await eventually(
      async () => lab.probe('client', { ...web, timeoutMs: 300 }),
      (seen) => typeof seen !== 'string',
    );
  });

  afterAll(async () => {
    await lab.close();
  });

  async function metric(name: string): Promise<string | undefined> {
    const { body } = await lab.get('node', 'http://127.0.0.1:10249/metrics');
    const line = body.split('\n').find((each) => each.startsWith(`${name} `));
    return line?.slice(name.length + 1);
  }

  /** All series of a metric together. */
  async function total(name: string): Promise<number> {
    const { body } = await lab.get('node', 'http://127.0.0.1:10249/metrics');
    const lines = body.split('\n').filter((each) => each.startsWith(`${name}{`));
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  }

  const reloads = async (result: string): Promise<number> =>
    Number(await metric(`switchyard_config_reloads_total{result="${result}"}`));

  /** Publishes a text and waits until it has come to this end. */
  async function publish(text: string, result: string): Promise<void> {
    const before = await reloads(result);
    await file.publish(text);
    await become(result, before + 1);
  }

  async function become(result: string, count: number): Promise<void> {
    await eventually(
      async () => reloads(result),
      (seen) => seen === count,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${agent.log}`);
    });
  }

  async function inForce(mode: string): Promise<boolean> {
    const info = `switchyard_config_info{sha256="${file.sha256}",mode="${mode}"}`;
    return (await metric(info)) === '1';
  }

  const isTaken = async (): Promise<string | undefined> =>
    metric('switchyard_config_last_reload_successful');

  /** 0: nobody listens. */
  const ask = async (port: number): Promise<number> =>
    (await lab.get('node', `http://127.0.0.1:${port}/healthz`)).status;

  /** Of both families, one after the other. */
  const rules = async (): Promise<string> =>
    (
      await Promise.all(['iptables-save', 'ip6tables-save'].map(async (tool) => lab.onNode(tool)))
    ).join('\n');

  async function untilRules(contain: string): Promise<void> {
    await eventually(rules, (text) => text.includes(contain));
  }

  /** What a load balancer and a kubelet see of the process and the Service, the whole time. */
  async function watchHealth(during: () => Promise<void>): Promise<readonly string[]> {
    const seen = new Set<string>();
    const over = new AbortController();
    const asking = [10_256, 30_999].map(async (port) => {
      while (!over.signal.aborted) {
        const { status } = await lab.get('client', `http://${lab4.node}:${port}/healthz`);
        seen.add(`${port} ${status}`);
      }
    });
    await during();
    over.abort();
    await Promise.all(asking);
    return [...seen].toSorted();
  }

  test('is followed live where it can be: no request fails, and nothing is listed anew', async () => {
    expect(await inForce('iptables')).toBe(true);
    const traffic = new SteadyTraffic(lab, conversations);
    await publish(
      `${usual.replace('10.244.0.0/16', '10.0.0.0/8')}nodePortAddresses: [192.0.2.0/24]\nlogging: {verbosity: 2}\n`,
      'live',
    );
    await untilRules('! -s 10.0.0.0/8 -d 10.96.0.10/32');
    await untilRules(`-d ${lab4.node}/32`);
    expect(await inForce('iptables')).toBe(true);
    await publish(usual, 'live');
    await untilRules('! -s 10.244.0.0/16 -d 10.96.0.10/32');
    expect(await traffic.stop()).toMatchObject({ failures: [], by: ['pod-a', 'pod-b'] });
    expect(agent.log).toContain('clusterCIDR: 10.244.0.0/16 → 10.0.0.0/8 (live)');
    expect(agent.log).toContain('"level":"debug"');
    expect(agent.log.split('"msg":"started"')).toHaveLength(2);
  });

  test('is followed by a new agent where it has to be: no request fails, no server lets go of its port', async () => {
    const changes = 'kubeproxy_sync_proxy_rules_endpoint_changes_total';
    const before = Number(await metric(changes));
    const traffic = new SteadyTraffic(lab, conversations);
    const seen = await watchHealth(async () => {
      await publish(usual.replace('10ms', '10ms, masqueradeBit: 15'), 'restart');
      await untilRules('0x8000/0x8000');
      expect(await inForce('iptables')).toBe(true);
    });
    expect(await traffic.stop()).toMatchObject({ failures: [], by: ['pod-a', 'pod-b'] });
    expect(seen).toEqual(['10256 200', '30999 200']);
    expect(Number(await metric(changes))).toBeGreaterThanOrEqual(before);
    expect(agent.log.split('metrics server listens')).toHaveLength(2);
    expect(await rules()).not.toContain('0x4000');
  });

  test('moves the servers it names, and no other', async () => {
    await file.publish(`${usual}healthzBindAddress: 0.0.0.0:10257\n`);
    await eventually(
      async () => ask(10_257),
      (status) => status === 200,
    );
    expect(await ask(10_256)).toBe(0);
    await publish(usual, 'live');
    expect(await ask(10_256)).toBe(200);
    expect(agent.log.split('metrics server listens')).toHaveLength(2);
  });

  test('that is bad is refused with each of its fields, and the last good one stays', async () => {
    const good = file.sha256;
    await publish(`${usual}oomScoreAdjust: 1\nmasquerade\n`, 'refused');
    await publish(`${usual}nodePortAddresses: [x]\nhealthzBindAddress: here\n`, 'refused');
    expect(await isTaken()).toBe('0');
    expect(await metric(`switchyard_config_info{sha256="${good}",mode="iptables"}`)).toBe('1');
    const said = agent.log.split('\n').filter((line) => line.includes('is refused'));
    expect(said.at(-1)).toContain(`${file.path}: nodePortAddresses: \\"x\\" is not a CIDR`);
    expect(said.at(-1)).toContain(`${file.path}: healthzBindAddress: \\"here\\" is not IP:PORT`);
    expect(await lab.tally('client', web, 20)).not.toHaveProperty('refused');
    await publish(usual, 'unchanged');
    expect(await isTaken()).toBe('1');
  });

  test('that is deleted is refused, and followed when it is back', async () => {
    await rm(file.path);
    await become('refused', 3);
    await symlink('..data/config.conf', file.path);
    await become('unchanged', 2);
    expect(await isTaken()).toBe('1');
  });

  test('with which no agent can start changes nothing; SIGHUP tries it again', async () => {
    const traffic = new SteadyTraffic(lab, conversations);
    await publish(`${usual}mode: ipvs\n`, 'failed');
    expect(await isTaken()).toBe('0');
    expect(agent.log).toContain(
      'no agent can start with the new configuration, the last good one stays in force',
    );
    process.kill(agent.pid, 'SIGHUP');
    await become('failed', 2);
    await lab.write('more', service('more', { host: 11 }), ...slices('more', ['pod-c']));
    await eventually(
      async () => lab.probe('client', { ...web, to: '10.96.0.11' }),
      (seen) => typeof seen !== 'string' && seen.answeredBy === 'pod-c',
    );
    expect(await traffic.stop()).toMatchObject({ failures: [], by: ['pod-a', 'pod-b'] });
    await publish(usual, 'unchanged');
  });

  test('changes the mode, and back: connections of the kernel go on, those of the relay drain', async () => {
    const held = await lab.open('client', web);
    await publish(`${usual}mode: userspace\n`, 'restart');
    await eventually(rules, (text) => text.split(':KUBE-USERSPACE ').length === 3);
    // Who connects before all listeners let clients in is reset.
    for (const to of [web.to, 'fd00:10:96::10']) {
      await eventually(
        async () => lab.tally('client', { ...web, to }, 4),
        (seen) => Object.keys(seen).every((answer) => answer.startsWith('pod-')),
      );
    }
    expect(await inForce('userspace')).toBe(true);
    expect(await held.again()).toEqual(held.first);
    const relayed = await lab.open('client', web);
    const told = await total('switchyard_object_events_total');
    const carried = await total('switchyard_relay_connections_total');
    expect(carried).toBeGreaterThan(0);
    const stream = new RequestStream(lab, 'client', [web], 2, 5);
    await publish(`${usual}mode: userspace\nudpIdleTimeout: 5s\n`, 'restart');
    // What was counted goes on, and the objects are the same.
    expect(await total('switchyard_relay_connections_total')).toBeGreaterThanOrEqual(carried);
    expect(await total('switchyard_object_events_total')).toBe(told);
    expect(await relayed.again()).toEqual(relayed.first);
    for (const to of [web.to, 'fd00:10:96::10']) {
      await eventually(
        async () => lab.tally('client', { ...web, to }, 4),
        (seen) => Object.keys(seen).every((answer) => answer.startsWith('pod-')),
      );
    }
    const meanwhile = Object.keys(await stream.stop());
    expect(meanwhile.filter((answer) => answer === 'timeout')).toEqual([]);
    const traffic = new SteadyTraffic(lab, conversations);
    await publish(usual, 'restart');
    await eventually(rules, (text) => !text.includes('KUBE-USERSPACE'));
    expect(await relayed.again()).toEqual(relayed.first);
    expect(await traffic.stop()).toMatchObject({ failures: [], by: ['pod-a', 'pod-b'] });
    expect(await held.again()).toEqual(held.first);
    await Promise.all([held.close(), relayed.close()]);
  });

  test('does not keep the agent from its end', async () => {
    expect(await agent.stop(), agent.log).toBe(0);
    expect(await lab.tally('client', web, 10)).not.toHaveProperty('refused');
  });
});
