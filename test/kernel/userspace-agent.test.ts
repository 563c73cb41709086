// What only a proxy of sockets has to do: restart, hand over, drain, keep strangers out, and find its way past dead endpoints.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Answer, HeldConnection } from '../../src/cli/demo/actor.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { NodeLab, eventually, lab4, lab6 } from '../support/node-lab.ts';
import { nodeRules } from '../support/node-rules.ts';
import { RequestStream } from '../support/request-stream.ts';
import { nodeObject, service, slices } from './contract-objects.ts';
import type { PodName, ServiceOptions } from './contract-objects.ts';
import { listenerOf, undrained, userspaceFlags } from './userspace-listeners.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;
const isAnswered = (seen: Answer): boolean => typeof seen !== 'string';
const web = { to: '10.96.0.10', port: 80 } as const;

describe.skipIf(!able)('an agent in userspace mode (needs root on Linux)', () => {
  let lab: NodeLab;

  beforeEach(async () => {
    lab = await NodeLab.create('nft');
    await lab.write('node', nodeObject());
  });

  afterEach(async () => {
    await lab.close();
  });

  const start = (...flags: readonly string[]): AgentProcess =>
    lab.startAgent([...userspaceFlags(lab), ...flags]);

  async function publish(name: string, options: ServiceOptions, ...pods: readonly PodName[]) {
    await lab.write(name, service(name, options), ...slices(name, pods));
  }

  async function answers(question: { to: string; port: number; proto?: 'tcp' | 'udp' }) {
    const look = async (): Promise<Answer> => lab.probe('client', { timeoutMs: 200, ...question });
    return eventually(look, isAnswered);
  }

  test('restarts with the ports it had; what is open drains, and requests fail in the gap alone', async () => {
    await publish('web', { host: 10 }, 'pod-a', 'pod-b');
    const agent = start('--userspace-shutdown-timeout=30s');
    await answers(web);
    await answers({ to: 'fd00:10:96::10', port: 80 });
    const rules = await nodeRules(lab);
    const port = await listenerOf(lab, 'default/web:tcp/TCP cluster ipv4');

    const held = await lab.open('client', web);
    const stopped = agent.stop();
    await eventually(
      async () => lab.probe('client', web),
      (seen) => seen === 'refused',
    );
    expect(await held.again()).toEqual(held.first);
    await held.close();
    expect(await stopped, agent.log).toBe(0);
    expect(await nodeRules(lab)).toBe(rules);

    const next = start();
    const stream = new RequestStream(lab, 'client', [web], 2);
    await written(next);
    expect(await listenerOf(lab, 'default/web:tcp/TCP cluster ipv4')).toBe(port);
    await answers(web);
    // Nobody waits in vain: the kernel refuses while nobody listens, and the relay resets until the guard is seen to stand.
    const meanwhile = Object.keys(await stream.stop());
    const known = new Set(['closed', 'pod-a', 'pod-b', 'refused']);
    expect(meanwhile.filter((answer) => !known.has(answer))).toEqual([]);
    const after = await lab.tally('client', web, 40);
    expect(Object.keys(after)).toEqual(['pod-a', 'pod-b']);
    expect(await nodeRules(lab)).toBe(rules);
    await next.stop();
  });

  test('resets what is left when the time for draining is over, or at once when it is told again', async () => {
    await publish('web', { host: 10 }, 'pod-a');
    const agent = start('--userspace-shutdown-timeout=300ms');
    await answers(web);
    const held = await lab.open('client', web);
    expect(await agent.stop(), agent.log).toBe(0);
    expect(isAnswered(await held.again())).toBe(false);

    const patient = start('--userspace-shutdown-timeout=1h');
    await answers(web);
    const other = await lab.open('client', web);
    let status: number | undefined;
    const again = async (): Promise<number | undefined> => {
      void patient.stop().then((code) => (status = code));
      return status;
    };
    expect(await eventually(again, (code) => code !== undefined)).toBe(128 + 15);
    await other.close();
  });

  test('waits for another agent of its kind, by name, and takes over when that one drains', async () => {
    await publish('web', { host: 10 }, 'pod-a');
    const first = start('--userspace-shutdown-timeout=1h');
    await answers(web);
    const held = await lab.open('client', web);
    const port = await listenerOf(lab, 'default/web:tcp/TCP cluster ipv4');
    const second = start('--healthz-bind-address=', '--metrics-bind-address=');
    await eventually(
      async () => second.log,
      (said) => said.includes('another Switchyard in userspace mode (process '),
    );
    expect(second.log).not.toContain('first rules written');
    void first.stop();
    await written(second);
    expect((await lab.tally('client', web, 20))['pod-a']).toBe(20);
    expect(await listenerOf(lab, 'default/web:tcp/TCP cluster ipv4')).toBe(port);
    // The one before still carries what it has.
    expect(await held.again()).toEqual(held.first);
    await held.close();
    expect(await first.ended(), first.log).toBe(0);
    await second.stop();
  });

  test.each([
    ['by the set of their ports', []],
    ['by their range', ['--proxy-port-range=20000-20099']],
  ] as const)('an open port leads nobody past the rules: %s', async (how, flags) => {
    const noSets = how === 'by their range' ? await lab.brokenTool('ipset') : undefined;
    const fenced: ServiceOptions = {
      host: 10,
      type: 'LoadBalancer',
      nodePort: 30010,
      ingress: ['203.0.113.10'],
      sourceRanges: ['198.18.7.0/24'],
    };
    await publish('web', fenced, 'pod-a');
    const agent = lab.startAgent([...userspaceFlags(lab), ...flags], noSets);
    await answers(web);
    for (const family of ['ipv4', 'ipv6'] as const) {
      const to = family === 'ipv4' ? lab4.node : lab6.node;
      for (const [name, proto] of [
        ['tcp', 'TCP'],
        ['udp', 'UDP'],
      ] as const) {
        const key = `default/web:${name}/${proto} cluster ${family}`;
        const question = { to, port: await listenerOf(lab, key), proto: name, timeoutMs: 300 };
        for (const actor of ['client', 'pod-a', 'node', 'remote'] as const)
          expect(await lab.ask(actor, question), `${actor} ${key}`).toBe('timeout');
      }
    }
    // By the portals they are let in who may.
    const balanced = { to: '203.0.113.10', port: 80 };
    expect(isAnswered(await lab.ask('client', { ...balanced, from: '198.18.7.9' }))).toBe(true);
    expect(await lab.ask('client', { ...balanced, timeoutMs: 300 })).toBe('timeout');
    await agent.stop();
  });

  test('a dead endpoint costs a retry and no request; metrics tell of it', async () => {
    const dead = slices('web', ['pod-a'], [9]);
    await lab.write('web', service('web', { host: 10 }), ...dead, ...slices('web', ['pod-b']));
    const agent = start();
    await answers(web);
    expect(await lab.tally('client', web, 40)).toEqual({ 'pod-b': 40 });
    const { body } = await lab.get('node', 'http://127.0.0.1:10249/metrics');
    const labels = 'namespace="default",service="web",port="tcp",protocol="TCP"';
    expect(
      valueOf(body, `switchyard_relay_dial_failures_total{${labels},reason="refused"}`),
    ).toBeGreaterThan(0);
    expect(valueOf(body, `switchyard_relay_retries_total{${labels}}`)).toBeGreaterThan(0);
    expect(valueOf(body, `switchyard_relay_connections_total{${labels}}`)).toBeGreaterThan(40);
    expect(valueOf(body, `switchyard_relay_received_bytes_total{${labels}}`)).toBeGreaterThan(0);

    await lab.write('web', service('web', { host: 10 }), ...dead);
    await eventually(
      async () => lab.ask('client', web),
      (seen) => !isAnswered(seen),
    );
    expect(await lab.ask('client', web)).toBe('closed');
    await agent.stop();
  });

  test('connections survive what leaves their endpoint in place, though they are not drained at all', async () => {
    await lab.write('web', ...undrained('web', { host: 10 }));
    const agent = start();
    await answers(web);
    const held = await Promise.all(Array.from({ length: 4 }, async () => lab.open('client', web)));
    const first = await listenerOf(lab, 'default/web:tcp/TCP cluster ipv4');
    const steps = [
      [{ internalPolicy: 'Local' }, 'tcp', 'default/web:tcp/TCP local ipv4'],
      [{ internalPolicy: 'Local' }, 'main', 'default/web:main/TCP local ipv4'],
      [{ nodePort: 30_010, type: 'NodePort' }, 'main', 'default/web:main/TCP cluster ipv4'],
    ] as const;
    for (const [options, name, key] of steps) {
      await lab.write('web', ...undrained('web', { host: 10, ...options }, name));
      expect(await listenerOf(lab, key)).not.toBe(first);
      await answers(web);
    }
    // the listeners before are gone by now
    await eventually(
      async () => lab.onNode('ipset', 'list', 'KUBE-USERSPACE-PORTS'),
      (members) => [...members.matchAll(/^192\.0\.2\.1,tcp/gm)].length <= 1,
    );
    for (const connection of held) expect(await connection.again()).toEqual(connection.first);
    await lab.write('web', undrained('web', { host: 10 }, 'main')[0]);
    for (const connection of held) {
      await eventually(
        async () => connection.again(),
        (seen) => !isAnswered(seen),
      );
      await connection.close();
    }
    await agent.stop();
  });

  test('ports that run out are named, the rest works, and what becomes free is used', async () => {
    await lab.serve('node', { proto: 'tcp', address: lab4.node, port: 20_001, name: 'somebody' });
    await publish('a', { host: 11, protocols: ['TCP'] }, 'pod-a');
    const agent = start('--proxy-port-range=20000-20002');
    await answers({ to: '10.96.0.11', port: 80 });
    await publish('b', { host: 12, protocols: ['TCP'] }, 'pod-b');
    await answers({ to: '10.96.0.12', port: 80 });
    await publish('c', { host: 13, protocols: ['TCP'] }, 'pod-c');
    const third = { to: '10.96.0.13', port: 80 };
    await eventually(
      async () => lab.probe('client', third),
      (seen) => seen === 'refused',
    );
    expect(agent.log).toContain('all 3 of --proxy-port-range=20000-20002 are in use');
    for (const host of [11, 12]) await answers({ to: `10.96.0.${host}`, port: 80 });
    await lab.remove('a');
    await answers(third);
    await agent.stop();
  });

  test('tells an endpoint who its client is, where the Service asks for it', async () => {
    const shown = service('web', { host: 10, protocols: ['TCP'] }) as { metadata: object };
    const metadata = {
      ...shown.metadata,
      annotations: { 'switchyard.io/proxy-protocol': 'v2' },
    };
    const header = lab.firstBytes('pod-a', lab4['pod-a'], 7070);
    await lab.write('web', { ...shown, metadata }, ...slices('web', ['pod-a'], [7070], ['TCP']));
    const agent = start();
    await written(agent);
    await lab.ask('client', { ...web, from: '198.18.7.9', timeoutMs: 1000 });
    const bytes = await header;
    expect(bytes.subarray(0, 12).toString('hex')).toBe('0d0a0d0a000d0a515549540a');
    expect([...bytes.subarray(16, 20)].join('.')).toBe('198.18.7.9');
    expect([...bytes.subarray(20, 24)].join('.')).toBe(web.to);
    expect(bytes.readUInt16BE(26)).toBe(web.port);
    await agent.stop();
  });

  test('changes of endpoints run no tool, and the same objects neither', async () => {
    await publish('web', { host: 10 }, 'pod-a');
    const agent = start();
    await answers(web);
    const tools = await lab.countedTools();
    await agent.stop();
    const counted = lab.startAgent(
      [...userspaceFlags(lab), '--iptables-sync-period=1h'],
      tools.folder,
    );
    await written(counted);
    await publish('marker', { host: 11 }, 'pod-b');
    await answers({ to: '10.96.0.11', port: 80 });
    await answers({ to: 'fd00:10:96::11', port: 80 });
    const before = await settled(tools.runs);
    await publish('web', { host: 10 }, 'pod-b');
    await eventually(
      async () => lab.ask('client', web),
      (seen) => typeof seen !== 'string' && seen.answeredBy === 'pod-b',
    );
    await publish('web', { host: 10 }, 'pod-b', 'pod-c');
    await eventually(
      async () => Object.keys(await lab.tally('client', web, 20)).join(),
      (names) => names === 'pod-b,pod-c',
    );
    expect(await settled(tools.runs)).toEqual(before);
    await counted.stop();
  });

  test('iptables mode takes over and gives back: connections through the kernel live on', async () => {
    await publish('web', { host: 10, type: 'NodePort', nodePort: 30_010 }, 'pod-a');
    const common = ['--cluster-cidr=10.244.0.0/16,fd00:10:244::/48', '--conntrack-max-per-core=0'];
    const first = start();
    await answers(web);
    const port = await listenerOf(lab, 'default/web:tcp/TCP cluster ipv4');
    await first.stop();
    const kernel = lab.startAgent(['--proxy-mode=iptables', ...common]);
    await answers(web);
    await written(kernel);
    // The port is anybody's again: nothing of the guard is left.
    await lab.serve('node', { proto: 'tcp', address: lab4.node, port, name: 'somebody' });
    expect(await lab.ask('client', { to: lab4.node, port })).toMatchObject({
      answeredBy: 'somebody',
    });
    await eventually(
      async () => lab.onNode('ipset', 'list', '-n'),
      (names) => !names.includes('USERSPACE'),
    );
    const held: readonly HeldConnection[] = await Promise.all(
      [web, { to: lab4.node, port: 30_010 }].map(async (target) => lab.open('client', target)),
    );
    await kernel.stop();
    const back = start();
    await written(back);
    expect(isAnswered(await lab.ask('client', web))).toBe(true);
    for (const connection of held) {
      expect(await connection.again()).toEqual(connection.first);
      await connection.close();
    }
    await back.stop();
  });

  test('the clean-up takes all of it away', async () => {
    const dump = async (): Promise<string> =>
      lab.onNode('sh', '-c', 'iptables-save; ip6tables-save');
    await publish('web', { host: 10 }, 'pod-a');
    const agent = lab.startAgent([...userspaceFlags(lab), `--state-file=${lab.stateFile}`]);
    await answers(web);
    await answers({ to: 'fd00:10:96::10', port: 80 });
    await agent.stop();
    const [, , ports = ''] = userspaceFlags(lab);
    const files = [`--state-file=${lab.stateFile}`, ports];
    const { stdout, status, stderr } = await lab.command('cleanup', ...files);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('the ports of userspace mode');
    expect(await dump()).not.toContain('KUBE-');
    expect(await lab.onNode('ipset', 'list', '-n')).not.toContain('KUBE-');
    expect(await lab.setting('net/ipv4/tcp_migrate_req')).toBe('0');
    await expect(readFile(join(lab.folder, 'run', 'userspace.json'))).rejects.toThrow('ENOENT');
  });
});

/** Waits until an agent has written the rules of both families. */
async function written(agent: AgentProcess): Promise<void> {
  await eventually(
    async () => agent.log,
    (said) => ['ipv4', 'ipv6'].every((family) => said.includes(`"family":"${family}","full":true`)),
  );
}

/** The value of a series, in the text that metrics are. */
function valueOf(body: string, series: string): number {
  const line = body.split('\n').find((each) => each.startsWith(`${series} `));
  if (line === undefined) throw new Error(`no ${series} in ${body}`);
  return Number(line.split(' ').at(-1));
}

/** What is looked at, once it has been the same for a while. */
async function settled<T>(look: () => Promise<T>): Promise<T> {
  let last = await look();
  let timesSame = 0;
  await eventually(
    async () => {
      const now = await look();
      timesSame = JSON.stringify(now) === JSON.stringify(last) ? timesSame + 1 : 0;
      last = now;
      return timesSame;
    },
    (times) => times >= 5,
  );
  return last;
}
