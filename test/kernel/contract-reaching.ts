/* oxlint-disable vitest/no-standalone-expect -- declared once for each backend, by the suite */
import { expect } from 'vitest';
import { lab4, lab6 } from '../support/node-lab.ts';
import type { Actor } from '../support/node-lab.ts';
import { http } from './contract-suite.ts';
import type { Suite } from './contract-suite.ts';

const everyone: readonly Actor[] = ['client', 'node', 'pod-a', 'remote'];

/** Who is reached, by every kind of address. */
export function reaching(suite: Suite): void {
  suite.test('cluster-ip', 'a cluster IP leads to all pods, from everywhere', async () => {
    await suite.publish('web', { host: 10, pods: ['pod-a', 'pod-b', 'remote'] });
    for (const proto of ['tcp', 'udp'] as const) {
      for (const actor of everyone) {
        const question = { to: '10.96.0.10', port: http.port, proto };
        await suite.answeredBy(actor, question, ['pod-a', 'pod-b', 'remote']);
      }
    }
  });

  suite.test('node-port', 'a node port answers on every address of the node', async () => {
    await suite.publish('np', {
      host: 11,
      type: 'NodePort',
      nodePort: 30011,
      pods: ['pod-b', 'remote'],
    });
    for (const to of [lab4.node, lab4.podGateway]) {
      await suite.answeredBy('client', { to, port: 30011 }, ['pod-b', 'remote']);
      await suite.answeredBy('pod-a', { to, port: 30011 }, ['pod-b', 'remote']);
    }
    await suite.answeredBy('client', { to: lab4.node, port: 30011, proto: 'udp' }, [
      'pod-b',
      'remote',
    ]);
    const loopback = { to: '127.0.0.1', port: 30011 };
    if (suite.deviates('node ports of loopback')) await suite.ends('node', loopback, 'refused');
    else await suite.answeredBy('node', loopback, ['pod-b', 'remote']);
    await suite.answeredBy('node', { to: lab4.node, port: 30011 }, ['pod-b', 'remote']);
  });

  suite.test('external', 'an external IP leads to the pods', async () => {
    await suite.publish('ext', { host: 12, externalIPs: ['203.0.113.12'], pods: ['pod-b'] });
    for (const actor of everyone)
      await suite.answers(actor, { to: '203.0.113.12', port: http.port });
  });

  suite.test('load-balancer', 'a load balancer address leads to the pods', async () => {
    await suite.publish('lb', {
      host: 13,
      type: 'LoadBalancer',
      nodePort: 30013,
      ingress: ['203.0.113.13', '2001:db8:ffff::13'],
      pods: ['pod-b'],
    });
    for (const actor of everyone) {
      await suite.answers(actor, { to: '203.0.113.13', port: http.port });
      await suite.answers(actor, { to: '2001:db8:ffff::13', port: http.port });
    }
  });

  suite.test(
    'hairpin',
    'a pod reaches itself through its own service, by every address',
    async () => {
      await suite.publish('self', {
        host: 14,
        type: 'NodePort',
        nodePort: 30014,
        externalIPs: ['203.0.113.14'],
        pods: ['pod-a'],
      });
      for (const proto of ['tcp', 'udp'] as const) {
        for (const [to, port] of [
          ['10.96.0.14', 80],
          ['fd00:10:96::14', 80],
          ['203.0.113.14', 80],
          [lab4.node, 30014],
        ] as const) {
          const answer = await suite.answers('pod-a', { to, port, proto });
          expect(answer.answeredBy).toBe('pod-a');
          expect(answer.sourceSeen).not.toBe(lab4['pod-a']);
        }
      }
    },
  );

  suite.test('dual-stack', 'both families have all kinds of addresses', async () => {
    await suite.publish('dual', {
      host: 15,
      type: 'NodePort',
      nodePort: 30015,
      externalIPs: ['2001:db8:ffff::15'],
      pods: ['pod-b', 'remote'],
    });
    const targets = [
      { to: 'fd00:10:96::15', port: http.port },
      { to: '2001:db8:ffff::15', port: http.port },
      { to: lab6.node, port: 30015 },
      { to: '10.96.0.15', port: http.port },
    ];
    for (const target of targets) {
      for (const proto of ['tcp', 'udp'] as const) {
        await suite.answeredBy('client', { ...target, proto }, ['pod-b', 'remote']);
      }
    }
  });

  suite.test(
    'shared-prefix',
    'a node port works beside services that share a prefix with the node’s address',
    async () => {
      const externalIPs = Array.from({ length: 20 }, (_, i) => `192.0.2.${i + 2}`).filter(
        (ip) => ip !== lab4.client,
      );
      await suite.publish('near', {
        host: 16,
        type: 'NodePort',
        nodePort: 30016,
        externalIPs,
        pods: ['pod-b'],
      });
      await suite.answers('client', { to: '192.0.2.3', port: http.port });
      await suite.answers('client', { to: lab4.node, port: 30016 });
      await suite.answers('node', { to: lab4.node, port: 30016 });
      await suite.lab.remove('near');
      await suite.ends('client', { to: lab4.node, port: 30016 }, 'refused');
    },
  );
}
