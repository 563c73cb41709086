/* oxlint-disable vitest/no-standalone-expect -- declared once for each backend, by the suite */
import { expect } from 'vitest';
import type { Answer } from '../../src/cli/demo/actor.ts';
import { eventually, lab4, lab6 } from '../support/node-lab.ts';
import { RequestStream } from '../support/request-stream.ts';
import { everybody, homes } from './contract-sticking.ts';
import { watchful } from './contract-suite.ts';
import type { Suite } from './contract-suite.ts';

/** Where rules are gone the node itself may answer. */
const isAnswered = (seen: Answer): boolean =>
  typeof seen !== 'string' && seen.answeredBy === 'pod-b';

/** Restarts, strangers and strict firewalls. */
export function surviving(suite: Suite): void {
  suite.test(
    'restart',
    'a restart of the agent loses no request, no connection and no affinity',
    async () => {
      await suite.publish('kept', { host: 65, affinitySeconds: 10_800, pods: everybody });
      await suite.answers('client', { to: '10.96.0.65', port: 80 });
      const atHome = await homes(suite, '10.96.0.65');
      expect(new Set(atHome)).toEqual(new Set(everybody));
      await suite.publish('calm', { host: 60, pods: ['pod-a', 'pod-b'] });
      const target = { to: '10.96.0.60', port: 80 };
      await suite.answeredBy('client', target, ['pod-a', 'pod-b']);
      const connection = await suite.lab.open('client', target);
      const stream = new RequestStream(suite.lab, 'client', [target]);
      await suite.restart(watchful); // for the strangers that come next
      await suite.publish('calm2', { host: 61, pods: ['pod-c'] });
      await suite.answers('client', { to: '10.96.0.61', port: 80 });
      expect(Object.keys(await stream.stop())).toEqual(['pod-a', 'pod-b']);
      expect(await connection.again()).toEqual(connection.first);
      await connection.close();
      expect(await homes(suite, '10.96.0.65')).toEqual(atHome);
    },
  );

  suite.test('foreign-flush', 'rules that a stranger removes come back', async () => {
    await suite.publish('tough', { host: 62, pods: ['pod-b'] });
    await suite.publish('tough0', { host: 63, pods: [] });
    await suite.answers('client', { to: '10.96.0.62', port: 80 });
    const target = { to: '10.96.0.62', port: 80, timeoutMs: 200 };
    for (const { name, run } of suite.disturbances) {
      await run(suite.lab);
      // Whoever goes on asking from one port is answered too, although nobody translated the first packets.
      const socket = await suite.lab.open('client', { ...target, proto: 'udp' });
      await eventually(async () => suite.lab.probe('client', target), isAnswered, 6000)
        .then(async () => eventually(async () => socket.again(200), isAnswered, 3000))
        .catch((error: unknown) => {
          throw new Error(`after ${name}`, { cause: error });
        });
      await socket.close();
      await suite.ends('client', { to: '10.96.0.63', port: 80 }, 'refused');
    }
  });

  suite.test(
    'forward-drop',
    'services work with a FORWARD policy of DROP, and only they',
    async () => {
      await suite.publish('firm', {
        host: 64,
        type: 'NodePort',
        nodePort: 30064,
        pods: ['pod-a', 'pod-b'],
      });
      const families = [
        { tool: 'iptables', lab: lab4, cluster: '10.96.0.64' },
        { tool: 'ip6tables', lab: lab6, cluster: 'fd00:10:96::64' },
      ];
      for (const { tool, lab, cluster } of families) {
        const both = ['pod-a', 'pod-b'];
        const nodePort = { to: lab.node, port: 30064 };
        await suite.answeredBy('client', { to: cluster, port: 80 }, both);
        await suite.lab.onNode(tool, '-w', '-P', 'FORWARD', 'DROP');
        try {
          await suite.answeredBy('client', { to: cluster, port: 80 }, both);
          await suite.answeredBy('client', nodePort, both);
          await suite.answeredBy('client', { ...nodePort, proto: 'udp' }, both);
          // Either of them also reaches itself.
          expect(Object.keys(await suite.lab.tally('pod-a', nodePort, 40))).toEqual(both);
          const direct = { to: lab['pod-a'], port: 8080, timeoutMs: 400 };
          expect(await suite.lab.ask('client', direct)).toBe('timeout');
        } finally {
          await suite.lab.onNode(tool, '-w', '-P', 'FORWARD', 'ACCEPT');
        }
      }
    },
  );
}
