/* oxlint-disable vitest/no-standalone-expect -- declared once for each backend, by the suite */
import { expect } from 'vitest';
import type { Question } from '../../src/cli/demo/actor.ts';
import { eventually, lab4, lab6 } from '../support/node-lab.ts';
import type { Actor } from '../support/node-lab.ts';
import type { PodName, ServiceOptions } from './contract-objects.ts';
import type { Suite } from './contract-suite.ts';

const proto = 'sctp';
const everyone: readonly Actor[] = ['client', 'node', 'pod-a'];

/** Every kind of address of a load balancer service of this host number; its node port is 30000 + host. */
function addresses(host: number): readonly Question[] {
  return [
    { to: `10.96.0.${host}`, port: 80, proto },
    { to: `fd00:10:96::${host}`, port: 80, proto },
    { to: `203.0.113.${host}`, port: 80, proto },
    { to: `2001:db8:ffff::${host}`, port: 80, proto },
    { to: lab4.node, port: 30_000 + host, proto },
    { to: lab6.node, port: 30_000 + host, proto },
  ];
}

function balancer(host: number) {
  return {
    host,
    type: 'LoadBalancer' as const,
    nodePort: 30_000 + host,
    ingress: [`203.0.113.${host}`, `2001:db8:ffff::${host}`],
  };
}

/** Services that speak SCTP: what the other tests ask over TCP and UDP, where the protocol could matter. */
export function associating(suite: Suite): void {
  const publish = async (
    name: string,
    options: ServiceOptions & { readonly pods: readonly PodName[] },
  ): Promise<void> => {
    await suite.lab.serveSctp();
    await suite.publish(name, { protocols: ['SCTP'], ...options });
  };

  const source = async (actor: Actor, to: string, port: number): Promise<string> =>
    (await suite.answers(actor, { to, port, proto })).sourceSeen;

  suite.test('sctp', 'SCTP: every kind of address leads to all pods, from everywhere', async () => {
    await publish('assoc', { ...balancer(70), pods: ['pod-b', 'remote'] });
    for (const question of addresses(70)) {
      for (const actor of everyone) await suite.answers(actor, question);
      const met = await suite.lab.tally('client', question, 16);
      expect(Object.keys(met), question.to).toEqual(['pod-b', 'remote']);
    }
  });

  suite.test('sctp', 'SCTP: one port speaks all three protocols', async () => {
    await publish('three', { host: 71, protocols: ['TCP', 'UDP', 'SCTP'], pods: ['pod-b'] });
    for (const each of ['sctp', 'tcp', 'udp'] as const) {
      await suite.answers('client', { to: '10.96.0.71', port: 80, proto: each });
    }
  });

  suite.test('sctp', 'SCTP: a pod reaches itself through its own service', async () => {
    await publish('mirror', { ...balancer(72), pods: ['pod-a'] });
    for (const question of addresses(72)) {
      const answer = await suite.answers('pod-a', question);
      expect(answer.answeredBy).toBe('pod-a');
      expect([lab4['pod-a'], lab6['pod-a']]).not.toContain(answer.sourceSeen);
    }
  });

  suite.test('sctp', 'SCTP: a service without pods refuses, by every address', async () => {
    await publish('vacant', { ...balancer(73), pods: [] });
    for (const question of addresses(73)) {
      for (const actor of everyone) {
        await suite.ends(actor, { ...question, timeoutMs: 1500 }, 'refused');
      }
    }
  });

  suite.test('sctp', 'SCTP: only listed sources may use the load balancer', async () => {
    await publish('gated', { ...balancer(74), sourceRanges: ['198.18.7.0/24'], pods: ['pod-b'] });
    const target = { to: '203.0.113.74', port: 80, proto } as const;
    await suite.answers('client', { ...target, from: '198.18.7.9' });
    const asked = ['198.18.8.9', lab4.client].map(async (from) =>
      suite.lab.ask('client', { ...target, from, timeoutMs: 800 }),
    );
    expect(await Promise.all(asked)).toEqual(['timeout', 'timeout']);
    await suite.answers('client', { to: lab4.node, port: 30_074, proto });
  });

  suite.test('sctp', 'SCTP: source addresses are kept or replaced as over TCP', async () => {
    await publish('spread', { ...balancer(75), pods: ['pod-b'] });
    const local = { externalPolicy: 'Local', healthCheckNodePort: 32_076 } as const;
    await publish('near-by', { ...balancer(76), ...local, pods: ['pod-b'] });
    expect(await source('client', lab4.node, 30_075)).not.toBe(lab4.client);
    expect(await source('client', '10.96.0.75', 80)).not.toBe(lab4.client);
    expect(await source('pod-a', '10.96.0.75', 80)).toBe(lab4['pod-a']);
    expect(await source('client', '203.0.113.76', 80)).toBe(lab4.client);
    expect(await source('client', lab6.node, 30_076)).toBe(lab6.client);
  });

  suite.test('sctp', 'SCTP: an association lives on while the pods change', async () => {
    await publish('steady', { host: 77, pods: ['pod-a'] });
    const target = { to: '10.96.0.77', port: 80, proto } as const;
    await suite.answers('client', target);
    const association = await suite.lab.open('client', target);
    expect(association.first).toMatchObject({ answeredBy: 'pod-a' });
    await publish('steady', { host: 77, pods: ['pod-b'] });
    await eventually(
      async () => suite.lab.probe('client', target),
      (answer) => typeof answer !== 'string' && answer.answeredBy === 'pod-b',
    );
    expect(await association.again()).toEqual(association.first);
    await association.close();
  });
}
