// Its one job: what the metrics of traffic say is what passed, with real packets: n connections are n, also over rewrites.
import process from 'node:process';
import { afterEach, describe, expect, test } from 'vitest';
import type { Answer, Question } from '../../src/cli/demo/actor.ts';
import { NodeLab, eventually, lab4 } from '../support/node-lab.ts';
import { nodeObject, service, slices } from './contract-objects.ts';
import type { PodName } from './contract-objects.ts';
import { userspaceFlags } from './userspace-listeners.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;

const web = { to: '10.96.0.10', port: 80 } as const;
const usual = ['--cluster-cidr=10.244.0.0/16', '--conntrack-max-per-core=0'];
const traffic = [
  '--service-traffic=bytes',
  '--service-traffic-interval=1s',
  '--conntrack-accounting',
  '--iptables-min-sync-period=0s',
];

const modes = [
  ['iptables mode, legacy tools', 'legacy', 'iptables'],
  ['iptables mode, nft tools', 'nft', 'iptables'],
  ['userspace mode', 'nft', 'userspace'],
] as const;

describe.skipIf(!able)(
  'the traffic of service ports (needs root: it makes network namespaces)',
  () => {
    let lab: NodeLab;
    /** Requests that were answered, by service. */
    let answered: Record<string, number> = {};

    afterEach(async () => {
      answered = {};
      await lab.close();
    });

    async function ask(
      name: string,
      question: Question,
      how: 'ask' | 'probe' = 'ask',
    ): Promise<Answer> {
      const answer = await lab[how]('client', question);
      if (typeof answer !== 'string') answered[name] = (answered[name] ?? 0) + 1;
      return answer;
    }

    async function askTimes(name: string, times: number, question: Question): Promise<void> {
      const all = Array.from({ length: times }, async () => ask(name, question));
      for (const answer of await Promise.all(all)) expect(typeof answer).not.toBe('string');
    }

    /** The values of a metric by service and protocol. */
    async function values(metric: string): Promise<Readonly<Record<string, number>>> {
      const { body } = await lab.get('node', 'http://127.0.0.1:10249/metrics');
      const lines = body.matchAll(/^(\w+)\{[^}]*service="(\w+)"[^}]*protocol="(\w+)"\} (\d+)$/gm);
      const own = [...lines].filter(([, name]) => name === metric);
      return Object.fromEntries(
        own.map(([, , name, protocol, value]) => [
          name === '_other' ? 'others' : `${name}/${protocol}`,
          Number(value),
        ]),
      );
    }

    async function lastRead(): Promise<number> {
      const { body } = await lab.get('node', 'http://127.0.0.1:10249/metrics');
      return Number(
        /^switchyard_service_traffic_last_read_timestamp_seconds (\S+)$/m.exec(body)?.[1],
      );
    }

    /** Whatever was counted until now has been read, and once more after that. */
    async function settled(): Promise<void> {
      for (let readings = 0; readings < 3; readings++) {
        const before = await lastRead();
        await eventually(lastRead, (now) => now > before, 60_000);
      }
    }

    /** Pods behind the service, in force: known from the rules, since a request would be counted. */
    async function publish(name: string, host: number, ...pods: readonly PodName[]): Promise<void> {
      await lab.write(name, service(name, { host }), ...slices(name, pods));
      const rules = async () => lab.onNode('iptables-save', '-t', 'nat');
      const comment = `default/${name}:tcp cluster IP`;
      await eventually(rules, (text) => {
        const own = text
          .split('\n')
          .filter((line) => line.includes(comment))
          .join('\n');
        const there = (pod: PodName): boolean => own.includes(`${lab4[pod]}:8080`);
        return (['pod-a', 'pod-b', 'pod-c'] as const).every(
          (pod) => there(pod) === pods.includes(pod),
        );
      });
    }

    test.each(modes)(
      '%s: n connections are n, and bytes are bytes',
      async (_name, variant, mode) => {
        lab = await NodeLab.create(variant);
        await lab.write('node', nodeObject());
        const agent = lab.startAgent(
          mode === 'userspace' ? [...userspaceFlags(lab), ...traffic] : [...usual, ...traffic],
        );
        for (const [name, host] of [
          ['web', 10],
          ['api', 11],
        ] as const) {
          await lab.write(name, service(name, { host }), ...slices(name, ['pod-a', 'pod-b']));
        }
        for (const [name, to] of [
          ['web', '10.96.0.10'],
          ['api', '10.96.0.11'],
        ] as const) {
          await eventually(
            async () => ask(name, { to, port: 80, timeoutMs: 300 }, 'probe'),
            (seen) => typeof seen !== 'string',
          );
        }
        await askTimes('web', 40, web);
        await askTimes('api', 15, { ...web, to: '10.96.0.11' });
        for (let times = 0; times < 7; times++) await lab.ask('pod-c', { ...web, proto: 'udp' });
        await settled();
        const expected = {
          'web/TCP': answered['web'],
          'api/TCP': answered['api'],
          'web/UDP': 7,
          others: 0,
        };
        expect(await values('switchyard_service_connections_total'), agent.log).toEqual(expected);
        const [received, sent] = [
          await values('switchyard_service_received_bytes_total'),
          await values('switchyard_service_sent_bytes_total'),
        ];
        for (const key of ['web/TCP', 'api/TCP', 'web/UDP']) {
          expect(sent[key], key).toBeGreaterThan(0);
        }
        if (mode === 'userspace') return;
        // A probe that came before the rules is tracked as one to the service's address itself.
        const tracked = (await lab.tracked('10.96.0.10')).filter(
          (line) => !line.includes('src=10.96.0.10'),
        );
        const bytes = (protocol: string, at: number): number =>
          tracked
            .filter((line) => line.startsWith(protocol))
            .reduce((sum, line) => sum + Number([...line.matchAll(/bytes=(\d+)/g)][at]?.[1]), 0);
        expect([received['web/TCP'], sent['web/TCP']]).toEqual([bytes('tcp', 0), bytes('tcp', 1)]);
        expect([received['web/UDP'], sent['web/UDP']]).toEqual([bytes('udp', 0), bytes('udp', 1)]);
      },
    );

    test.each(['legacy', 'nft'] as const)(
      '%s tools: connections are not lost where rules are rewritten, and others nearby neither',
      async (variant) => {
        lab = await NodeLab.create(variant);
        await lab.write('node', nodeObject());
        // Read seldom, so that what is not kept at a rewrite is lost.
        const agent = lab.startAgent([
          ...usual,
          ...traffic,
          '--service-traffic=connections',
          '--service-traffic-interval=5s',
        ]);
        await publish('still', 11, 'pod-a');
        await publish('web', 10, 'pod-a');
        const pods: readonly PodName[] = ['pod-a', 'pod-b', 'pod-c'];
        for (let change = 1; change <= 6; change++) {
          await publish('web', 10, ...pods.slice(0, 1 + (change % 3)));
          await askTimes('web', 5 + change, web);
          await askTimes('still', 3, { ...web, to: '10.96.0.11' });
        }
        await publish('web', 10, 'pod-c');
        await settled();
        expect(await values('switchyard_service_connections_total'), agent.log).toEqual({
          'web/TCP': 6 + 7 + 8 + 9 + 10 + 11,
          'still/TCP': 18,
          others: 0,
        });
        await lab.remove('still');
        await eventually(
          async () => values('switchyard_service_connections_total'),
          (seen) => !('still/TCP' in seen),
        );
      },
    );
  },
);
