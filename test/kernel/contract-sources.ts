/* oxlint-disable vitest/no-standalone-expect -- declared once for each backend, by the suite */
import { expect } from 'vitest';
import { eventually, lab4 } from '../support/node-lab.ts';
import type { Suite } from './contract-suite.ts';

/** What policies and source ranges let through, and how the source looks then. */
export function sources(suite: Suite): void {
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
      const inside = suite.deviates('one pool') ? ['pod-b'] : ['pod-b', 'remote'];
      for (const target of [
        { to: '203.0.113.21', port: 80 },
        { to: lab4.node, port: 30021 },
      ]) {
        await suite.answeredBy('client', target, ['pod-b']);
        const isKept = !suite.deviates('source');
        const seen = async (actor: 'client' | 'pod-a'): Promise<boolean> =>
          (await suite.answers(actor, target)).sourceSeen === lab4[actor];
        expect(await seen('client')).toBe(isKept);
        await suite.answeredBy('pod-a', target, inside);
        expect(await seen('pod-a')).toBe(isKept);
        await suite.answeredBy('node', target, inside);
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
      const others = [
        ['client', '198.18.8.9'],
        ['client', lab4.client],
        ['pod-a', lab4['pod-a']],
      ] as const;
      const asked = others.map(async ([actor, from]) =>
        suite.lab.ask(actor, { ...target, from, timeoutMs: 400 }),
      );
      expect(await Promise.all(asked)).toEqual(others.map(() => 'timeout'));
      await suite.answers('client', { to: '10.96.0.24', port: 80 });
      await suite.answers('client', { to: lab4.node, port: 30024 });
    },
  );
}
