/* oxlint-disable vitest/no-standalone-expect -- declared once for each backend, by the suite */
import { expect } from 'vitest';
import type { Question } from '../../src/cli/demo/actor.ts';
import { eventually, lab4 } from '../support/node-lab.ts';
import type { Actor } from '../support/node-lab.ts';
import type { Suite } from './contract-suite.ts';

/** The matrix of kept and replaced source addresses: pods of this node are told by their prefix. */
export function sources(suite: Suite): void {
  suite.test('masquerade', 'source addresses are kept or replaced as for kube-proxy', async () => {
    await suite.publish('src', {
      host: 20,
      type: 'LoadBalancer',
      nodePort: 30020,
      ingress: ['203.0.113.20'],
      pods: ['pod-b', 'remote'],
    });
    const targets = {
      cluster: { to: '10.96.0.20', port: 80 },
      nodePort: { to: lab4.node, port: 30020 },
      balancer: { to: '203.0.113.20', port: 80 },
    };
    await suite.answeredBy('client', targets.balancer, ['pod-b', 'remote']);
    const kept = async (actor: Actor, target: Question): Promise<readonly boolean[]> => {
      const address = lab4[actor];
      const answers = await Promise.all(
        Array.from({ length: 30 }, async () => suite.lab.ask(actor, target)),
      );
      // A pod that reaches itself is another matter: that source is always replaced.
      const seen = answers
        .filter((answer) => typeof answer === 'string' || answer.answeredBy !== actor)
        .map((answer) => (typeof answer === 'string' ? answer : answer.sourceSeen));
      expect(seen.every((source) => source.includes('.'))).toBe(true);
      return [...new Set(seen.map((source) => source === address))];
    };
    expect(await kept('pod-a', targets.cluster)).toEqual([true]);
    expect(await kept('remote', targets.cluster)).toEqual([true]);
    for (const target of Object.values(targets))
      expect(await kept('client', target)).toEqual([false]);
    for (const target of [targets.nodePort, targets.balancer])
      expect(await kept('pod-a', target)).toEqual([false]);
  });

  suite.test(
    'policies',
    'externalTrafficPolicy Local keeps the client and stays on the node; pods go everywhere',
    async () => {
      await suite.publish('local', {
        host: 21,
        type: 'LoadBalancer',
        nodePort: 30021,
        ingress: ['203.0.113.21'],
        externalPolicy: 'Local',
        healthCheckNodePort: 32021,
        pods: ['pod-b', 'remote'],
      });
      for (const target of [
        { to: '203.0.113.21', port: 80 },
        { to: lab4.node, port: 30021 },
      ]) {
        await suite.answeredBy('client', target, ['pod-b']);
        expect((await suite.answers('client', target)).sourceSeen).toBe(lab4.client);
        await suite.answeredBy('pod-a', target, ['pod-b', 'remote']);
        expect((await suite.answers('pod-a', target)).sourceSeen).toBe(lab4['pod-a']);
        await suite.answeredBy('node', target, ['pod-b', 'remote']);
      }
      const health = await eventually(
        async () => suite.lab.get('client', `http://${lab4.node}:32021/`),
        ({ status }) => status === 200,
      );
      expect(JSON.parse(health.body)).toMatchObject({ localEndpoints: 1 });
    },
  );

  suite.test(
    'policies',
    'without a pod on this node, Local drops: nobody outside is answered, pods still are',
    async () => {
      await suite.publish('away', {
        host: 22,
        type: 'NodePort',
        nodePort: 30022,
        externalPolicy: 'Local',
        pods: ['remote'],
      });
      await suite.answers('pod-a', { to: lab4.node, port: 30022 });
      expect(await suite.lab.ask('client', { to: lab4.node, port: 30022, timeoutMs: 400 })).toBe(
        'timeout',
      );
      await suite.answers('client', { to: '10.96.0.22', port: 80 });
    },
  );

  suite.test(
    'policies',
    'internalTrafficPolicy Local stays on the node, and drops where no pod is there',
    async () => {
      await suite.publish('inner', {
        host: 23,
        internalPolicy: 'Local',
        pods: ['pod-b', 'remote'],
      });
      await suite.answeredBy('pod-a', { to: '10.96.0.23', port: 80 }, ['pod-b']);
      await suite.answeredBy('node', { to: '10.96.0.23', port: 80 }, ['pod-b']);
      await suite.publish('inner', { host: 23, internalPolicy: 'Local', pods: ['remote'] });
      await suite.ends('pod-a', { to: '10.96.0.23', port: 80 }, 'timeout');
    },
  );

  suite.test(
    'source-ranges',
    'only listed sources may use the load balancer; others are dropped',
    async () => {
      await suite.publish('fenced', {
        host: 24,
        type: 'LoadBalancer',
        nodePort: 30024,
        ingress: ['203.0.113.24'],
        sourceRanges: ['198.18.7.0/24'],
        pods: ['pod-b'],
      });
      const target = { to: '203.0.113.24', port: 80 };
      await suite.answers('client', { ...target, from: '198.18.7.9' });
      for (const [actor, from] of [
        ['client', '198.18.8.9'],
        ['client', lab4.client],
        ['pod-a', lab4['pod-a']],
      ] as const) {
        expect(await suite.lab.ask(actor, { ...target, from, timeoutMs: 400 })).toBe('timeout');
      }
      await suite.answers('client', { to: '10.96.0.24', port: 80 });
      await suite.answers('client', { to: lab4.node, port: 30024 });
    },
  );
}
