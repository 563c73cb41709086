/* oxlint-disable vitest/no-standalone-expect -- declared once for each backend, by the suite */
import { lab4 } from '../support/node-lab.ts';
import type { Suite } from './contract-suite.ts';

/** What is refused, and how fast. */
export function refusing(suite: Suite): void {
  suite.test(
    'no-endpoints',
    'a service without pods refuses at once, by every address',
    async () => {
      await suite.publish('empty', {
        host: 30,
        type: 'LoadBalancer',
        nodePort: 30030,
        ingress: ['203.0.113.30'],
        externalIPs: ['203.0.113.31'],
        sourceRanges: ['198.18.0.0/16'],
        pods: [],
      });
      for (const proto of ['tcp', 'udp'] as const) {
        for (const [to, port] of [
          ['10.96.0.30', 80],
          ['fd00:10:96::30', 80],
          ['203.0.113.30', 80],
          ['203.0.113.31', 80],
          [lab4.node, 30030],
        ] as const) {
          for (const actor of ['client', 'pod-a', 'node'] as const) {
            // Over IPv6, TCP to a machine's own namespaces is refused after one retransmission: 1 s.
            const timeoutMs = proto === 'tcp' && to.includes(':') ? 2500 : 300;
            await suite.ends(actor, { to, port, proto, timeoutMs }, 'refused');
          }
        }
      }
    },
  );

  suite.test('node-port-off', 'a node port that is given up is closed', async () => {
    await suite.publish('was', { host: 31, type: 'NodePort', nodePort: 30031, pods: ['pod-b'] });
    await suite.answers('client', { to: lab4.node, port: 30031 });
    await suite.publish('was', { host: 31, pods: ['pod-b'] });
    await suite.ends('client', { to: lab4.node, port: 30031 }, 'refused');
    await suite.answers('client', { to: '10.96.0.31', port: 80 });
  });
}
