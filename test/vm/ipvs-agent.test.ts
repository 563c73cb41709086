// What an operator sees of an agent in ipvs mode: an address of another Node that is refused, and what drains.
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeObject, service, slices } from '../kernel/contract-objects.ts';
import type { PodName } from '../kernel/contract-objects.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { eventually, NodeLab } from '../support/node-lab.ts';

const inGuest = process.env['SWITCHYARD_VM'] !== undefined;
const [taken, free] = ['198.51.100.2', '198.51.100.3'];

/** What the metrics say where so many drain over IPv4. */
function counts(ipv4: number): readonly string[] {
  return [
    `switchyard_draining_real_servers{ip_family="IPv4"} ${ipv4}`,
    'switchyard_draining_real_servers{ip_family="IPv6"} 0',
  ];
}

describe.skipIf(!inGuest)('an agent in ipvs mode (needs the guest of npm run test:vm)', () => {
  let lab: NodeLab;
  let agent: AgentProcess;

  beforeAll(async () => {
    lab = await NodeLab.create('nft');
    const addresses = [{ type: 'InternalIP', address: taken }];
    const other = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-b' } };
    await lab.write('nodes', nodeObject(), { ...other, status: { addresses } });
    await write('pod-a');
    agent = lab.startAgent(['--proxy-mode=ipvs']);
  });

  afterAll(async () => {
    await agent?.stop();
    await lab?.close();
  });

  async function write(pod: PodName): Promise<void> {
    const web = service('web', { host: 80, externalIPs: [taken, free] });
    await lab.write('web', web, ...slices('web', [pod]));
  }

  it('does not take an address of another Node among the manifests, and says so', async () => {
    const shown = await eventually(
      async () => lab.onNode('ip', 'address', 'show'),
      (text) => text.includes(`${free}/32`),
      60_000,
    );
    expect(shown).not.toContain(taken);
    const line = `default/web is not served at ${taken}: ${taken} is an address of Node node-b`;
    await eventually(
      async () => agent.log.split(line).length - 1,
      (times) => times === 1,
    );
  });

  it('counts the real servers that drain: in the end those that a connection holds', async () => {
    const draining = async (): Promise<readonly string[]> => {
      const { body } = await lab.get('node', 'http://127.0.0.1:10249/metrics');
      return body
        .split('\n')
        .filter((line) => line.startsWith('switchyard_draining_real_servers{'));
    };
    const drain = async (count: number): Promise<unknown> =>
      eventually(draining, (lines) => lines.toSorted().join() === counts(count).join(), 30_000);
    await drain(0);
    const held = await lab.open('client', { to: '10.96.0.80', port: 80 });
    expect(held.first).toMatchObject({ answeredBy: 'pod-a' });
    await write('pod-b');
    // A real server of each frontend is no longer wanted; one of them has a connection.
    await eventually(draining, (lines) => lines.some((line) => / [1-9]\d*$/.test(line)));
    await drain(1);
    expect(await held.again()).toMatchObject({ answeredBy: 'pod-a' });
    await held.close();
  });
});
