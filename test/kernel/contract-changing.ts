/* oxlint-disable vitest/no-standalone-expect -- declared once for each backend, by the suite */
import { expect } from 'vitest';
import type { Question } from '../../src/cli/demo/actor.ts';
import { eventually, isSlow, lab4, podPorts } from '../support/node-lab.ts';
import { RequestStream } from '../support/request-stream.ts';
import { service, slices } from './contract-objects.ts';
import type { PodName } from './contract-objects.ts';
import { http } from './contract-suite.ts';
import type { Suite } from './contract-suite.ts';

function withSlices(name: string, host: number, pods: readonly PodName[]): readonly object[] {
  return [service(name, { host }), ...slices(name, pods)];
}

/** An address of two services. */
const shared = '203.0.113.57';

/** Traffic follows the objects, and nothing that works is disturbed. */
export function changing(suite: Suite): void {
  suite.test('udp-change', 'a UDP client with a fixed source port follows the pods', async () => {
    await suite.publish('dns', { host: 50, type: 'NodePort', nodePort: 30050, pods: ['pod-a'] });
    for (const target of [
      { to: '10.96.0.50', port: 80 },
      { to: lab4.node, port: 30050 },
    ]) {
      await suite.publish('dns', { host: 50, type: 'NodePort', nodePort: 30050, pods: ['pod-a'] });
      // One at a time: each flow of a poll would be one more entry to reconcile.
      await eventually(
        async () => suite.lab.probe('client', { ...target, proto: 'udp', timeoutMs: 300 }),
        (seen) => typeof seen !== 'string' && seen.answeredBy === 'pod-a',
      );
      const socket = await suite.lab.open('client', { ...target, proto: 'udp' });
      expect(socket.first).toMatchObject({ answeredBy: 'pod-a' });
      // A busy resolver: hundreds of stale flows at once must not hold the next syncs up.
      const busy = { ...target, proto: 'udp', timeoutMs: 1000 } as const;
      await suite.lab.tally('client', busy, isSlow ? 100 : 300);
      await suite.publish('dns', { host: 50, type: 'NodePort', nodePort: 30050, pods: ['pod-b'] });
      const moved = await eventually(
        async () => socket.again(300),
        (seen) => typeof seen !== 'string' && seen.answeredBy === 'pod-b',
      );
      expect(moved).toMatchObject({ answeredBy: 'pod-b' });
      await socket.close();
    }
  });

  suite.test(
    'udp-change',
    'a UDP client that asked before there were pods is answered later',
    async () => {
      await suite.publish('late', { host: 51, pods: [] });
      const target = { to: '10.96.0.51', port: 80, proto: 'udp' as const, timeoutMs: 300 };
      await suite.ends('client', target, 'refused');
      const socket = await suite.lab.open('client', target);
      expect(socket.first).toBe('refused');
      await suite.publish('late', { host: 51, pods: ['pod-b'] });
      const answered = await eventually(
        async () => socket.again(300),
        (seen) => typeof seen !== 'string',
      );
      expect(answered).toMatchObject({ answeredBy: 'pod-b' });
      await socket.close();
    },
  );

  suite.test(
    'tide',
    'while pods come and go, every request is answered or refused at once',
    async () => {
      const targets = [53, 54].map((host) => ({ to: `10.96.0.${host}`, port: http.port }));
      const [ebb, flow] = targets as [Question, Question];
      // One step takes the pods of one service and gives the other its first.
      const turn = async (isFlow: boolean): Promise<void> => {
        const [first, second]: readonly (readonly PodName[])[] = isFlow
          ? [[], ['pod-b']]
          : [['pod-a'], []];
        await suite.lab.write(
          'tide',
          ...withSlices('ebb', 53, first ?? []),
          ...withSlices('flow', 54, second ?? []),
          service('resident', { host: 57, externalIPs: [shared], protocols: ['UDP'] }),
          ...(isFlow
            ? [
                service('visitor', { host: 58, externalIPs: [shared], protocols: ['TCP'] }),
                ...slices('visitor', ['pod-b']),
              ]
            : []),
        );
        await suite.answers('node', isFlow ? flow : ebb);
        await suite.ends('node', isFlow ? ebb : flow, 'refused');
      };
      await turn(false);
      // Whoever listens on every address of the node must not be met at those of services.
      const stranger = { address: '0.0.0.0', port: http.port, name: 'the node itself' };
      await suite.lab.serve('node', { ...stranger, proto: 'tcp' });
      const stream = new RequestStream(suite.lab, 'client', targets);
      const visitor = { to: shared, port: http.port, timeoutMs: 200 };
      const visits = new RequestStream(suite.lab, 'client', [visitor], 1);
      for (let turns = isSlow ? 2 : 3; turns > 0; turns--)
        for (const isFlow of [true, false]) await turn(isFlow);
      expect(Object.keys(await stream.stop())).toEqual(['pod-a', 'pod-b', 'refused']);
      const visited = Object.keys(await visits.stop());
      expect(visited).toContain('pod-b');
      expect(visited).not.toContain('the node itself');
      for (const { to } of targets) {
        const untranslated = new RegExp(`src=${lab4.client} .* src=${to} `);
        expect(await suite.lab.tracked(to)).not.toContainEqual(expect.stringMatching(untranslated));
      }
    },
  );

  suite.test(
    'long-connections',
    'connections live on while rules change, and requests never fail',
    async () => {
      await suite.publish('long', { host: 52, pods: ['pod-a', 'pod-b'] });
      const target = { to: '10.96.0.52', port: 80 };
      await suite.answeredBy('client', target, ['pod-a', 'pod-b']);
      const connections = await Promise.all(
        Array.from({ length: 8 }, async () => suite.lab.open('client', target)),
      );
      for (const pods of [['pod-b'], ['pod-b', 'pod-c'], ['pod-c', 'remote']] as const) {
        await suite.publish('long', { host: 52, pods });
        const seen = await eventually(
          async () => suite.lab.tally('client', target, 40),
          (counts) => {
            expect(counts).not.toHaveProperty('refused');
            expect(counts).not.toHaveProperty('timeout');
            return Object.keys(counts).toSorted().join() === pods.join();
          },
        );
        expect(Object.keys(seen).toSorted()).toEqual(pods);
      }
      for (const connection of connections) {
        expect(await connection.again()).toEqual(connection.first);
        await connection.close();
      }
    },
  );

  suite.test(
    'reshaping',
    'no request fails and no connection breaks while the rules of a service change their shape',
    async () => {
      const two = ['pod-a', 'pod-b'] as const;
      const base = { host: 55 } as const;
      const neighbours = Array.from({ length: 20 }, (_, i) => {
        return withSlices(`by${i}`, 100 + i, two);
      }).flat();
      const plain = [service('shape', base), ...slices('shape', two)];
      const shapes: readonly (readonly object[])[] = [
        [service('shape', { ...base, affinitySeconds: 600 }), ...slices('shape', two)],
        plain,
        // Two addresses share the pods: they get a chain of their own.
        [service('shape', { ...base, externalIPs: ['203.0.113.55'] }), ...slices('shape', two)],
        plain,
        // A guarded address beside it.
        [
          service('shape', {
            ...base,
            type: 'LoadBalancer',
            nodePort: 30055,
            ingress: ['203.0.113.56'],
            sourceRanges: ['198.18.7.0/24'],
          }),
          ...slices('shape', two),
        ],
        plain,
        // More neighbours than a leaf of the dispatch tree holds: a matter of iptables' rules alone, which slow machines do not ask.
        ...(isSlow ? [] : [[...plain, ...neighbours], plain]),
        // More endpoints than a leaf holds: a chain of their own.
        [service('shape', base), ...slices('shape', [...two, 'pod-c', 'remote'], podPorts)],
        plain,
      ];
      // Each step has a service of its own by which it is seen to be in.
      const step = async (objects: readonly object[], marker: number): Promise<void> => {
        await suite.lab.write('shape', ...objects, ...withSlices(`step${marker}`, marker, two));
        await suite.answers('node', { to: `10.96.0.${marker}`, port: http.port });
      };
      const target = { to: '10.96.0.55', port: http.port };
      await step(plain, 140);
      const held = await Promise.all(
        Array.from({ length: 4 }, async () => suite.lab.open('client', target)),
      );
      const stream = new RequestStream(suite.lab, 'client', [target]);
      for (const [i, objects] of shapes.entries()) await step(objects, 141 + i);
      expect(Object.keys(await stream.stop())).toEqual(['pod-a', 'pod-b', 'pod-c', 'remote']);
      for (const connection of held) {
        expect(await connection.again()).toEqual(connection.first);
        await connection.close();
      }
    },
  );
}
