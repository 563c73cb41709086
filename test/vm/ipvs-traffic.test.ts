// Its one job: in ipvs mode the metrics of traffic say what passed the kernel's virtual servers.
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nodeObject, service, slices } from '../kernel/contract-objects.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { NodeLab, eventually, lab4 } from '../support/node-lab.ts';

const inGuest = process.env['SWITCHYARD_VM'] !== undefined;
const web = { to: '10.96.0.10', port: 80 } as const;

describe.skipIf(!inGuest)('the traffic of virtual servers (npm run test:vm)', () => {
  let lab: NodeLab;
  let agent: AgentProcess;
  let answered = 0;

  beforeAll(async () => {
    lab = await NodeLab.create('nft');
    await lab.write('node', nodeObject());
    const objects = service('web', { host: 10, type: 'NodePort', nodePort: 30_080 });
    await lab.write('web', objects, ...slices('web', ['pod-a', 'pod-b']));
    agent = lab.startAgent([
      '--proxy-mode=ipvs',
      '--cluster-cidr=10.244.0.0/16',
      '--conntrack-max-per-core=0',
      '--service-traffic=bytes',
      '--service-traffic-interval=1s',
    ]);
    await eventually(
      async () => {
        const answer = await lab.probe('client', { ...web, timeoutMs: 500 });
        if (typeof answer !== 'string') answered++;
        return answer;
      },
      (seen) => typeof seen !== 'string',
    );
  });

  afterAll(async () => {
    await lab.close();
  });

  /** The value of a metric for the TCP port of `default/web`. */
  async function value(metric: string): Promise<number> {
    const { body } = await lab.get('node', 'http://127.0.0.1:10249/metrics');
    const labels = 'namespace="default",service="web",port="tcp",protocol="TCP"';
    const line = body.split('\n').find((each) => each.startsWith(`${metric}{${labels}}`));
    return Number(line?.split(' ').at(-1) ?? 0);
  }

  test('is connections and bytes of all its addresses', async () => {
    for (let times = 0; times < 8; times++) {
      for (const question of [web, { to: lab4.node, port: 30_080 }]) {
        expect(await lab.ask('client', question)).toMatchObject({
          answeredBy: expect.stringMatching(/^pod-[ab]$/),
        });
        answered++;
      }
    }
    const connections = 'switchyard_service_connections_total';
    await eventually(
      async () => value(connections),
      (seen) => seen >= answered,
      30_000,
    );
    const stats = await lab.onNode('ipvsadm', '-Ln', '--stats', '--exact');
    const own = [...stats.matchAll(/^TCP +\S+:(?:80|30080) +(\d+) +\d+ +\d+ +(\d+) +(\d+)/gm)];
    const sum = (at: number): number => own.reduce((total, each) => total + Number(each[at]), 0);
    expect(sum(1), stats).toBe(answered);
    const metrics = [
      connections,
      'switchyard_service_received_bytes_total',
      'switchyard_service_sent_bytes_total',
    ];
    const told = async () => Promise.all(metrics.map(value));
    await eventually(told, (seen) => seen.join() === [1, 2, 3].map(sum).join(), 30_000);
    expect(sum(3), agent.log).toBeGreaterThan(0);
  });
});
