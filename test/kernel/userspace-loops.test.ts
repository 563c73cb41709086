// A proxy of sockets never meets itself: endpoints that are its own places are named, and nobody is led there.
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AgentProcess } from '../support/agent-process.ts';
import { NodeLab, eventually, lab4, lab6 } from '../support/node-lab.ts';
import { nodeObject, service, slices } from './contract-objects.ts';
import { userspaceFlags } from './userspace-listeners.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;
const protocols = [
  ['tcp', 'TCP'],
  ['udp', 'UDP'],
] as const;

/** EndpointSlices of `default/web` at addresses of any kind. */
const at = (...places: readonly (readonly [address: string, port: number])[]) =>
  places.map(([address, port], i) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `web-back-${i}`,
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': 'web' },
    },
    addressType: address.includes(':') ? 'IPv6' : 'IPv4',
    ports: protocols.map(([name, protocol]) => ({ name, protocol, port })),
    endpoints: [{ addresses: [address], nodeName: 'node-b', conditions: { ready: true } }],
  }));

describe.skipIf(!able)('an endpoint at which the proxy itself is reached (needs root)', () => {
  let lab: NodeLab;
  let agent: AgentProcess | undefined;

  beforeAll(async () => {
    lab = await NodeLab.create('nft');
    await lab.write('node', nodeObject());
  });

  afterEach(async () => {
    await agent?.stop();
    await lab.remove('web');
  });

  afterAll(async () => {
    await lab.close();
  });

  const web = service('web', {
    host: 10,
    type: 'LoadBalancer',
    nodePort: 30_010,
    ingress: ['203.0.113.10'],
    externalIPs: [lab4.node],
  });

  /** TCP connections and UDP flows that listeners took, of `default/web`. */
  async function taken(): Promise<number> {
    const { body } = await lab.get('node', 'http://127.0.0.1:10249/metrics');
    const series = /^switchyard_relay_connections_total\{[^}]*service="web"[^}]*\} (\d+)$/gm;
    return [...body.matchAll(series)].reduce((sum, [, count]) => sum + Number(count), 0);
  }

  async function told(text: string): Promise<void> {
    await eventually(
      async () => agent?.log ?? '',
      (said) => said.includes(text),
    );
  }

  test('with portals: frontends of all kinds, in both families and protocols', async () => {
    const back = at(
      ['10.96.0.10', 80],
      ['203.0.113.10', 80],
      [lab4.node, 80],
      [lab4.node, 30_010],
      ['127.0.0.1', 30_010],
      ['fd00:10:96::10', 80],
      [lab6.node, 30_010],
    );
    await lab.write('web', web, ...back);
    agent = lab.startAgent(userspaceFlags(lab));
    await told('nobody is led to the endpoint 10.96.0.10:80');
    await told('nobody is led to the endpoint [fd00:10:96::10]:80');
    const asked = ['10.96.0.10', 'fd00:10:96::10'];
    for (const to of asked) {
      await eventually(
        async () => lab.probe('client', { to, port: 80 }),
        (seen) => seen === 'refused',
      );
      expect(await lab.ask('client', { to, port: 80, proto: 'udp' })).toBe('refused');
    }
    expect(await taken()).toBe(0);

    // Beside a pod they are nobody's way, and each client is one connection.
    await lab.write('web', web, ...back, ...slices('web', ['pod-a']));
    let clients = 0;
    for (const to of asked) {
      for (const [proto] of protocols) {
        const look = async () => {
          const seen = await lab.probe('client', { to, port: 80, proto });
          if (typeof seen !== 'string') clients++;
          return seen;
        };
        await eventually(look, (seen) => typeof seen !== 'string');
        for (let i = 0; i < 20; i++) expect(await look()).toMatchObject({ answeredBy: 'pod-a' });
      }
    }
    expect(await taken()).toBe(clients);
  });

  test('without portals: places of listeners', async () => {
    await lab.write('web', web, ...slices('web', ['pod-a']));
    agent = lab.startAgent([
      ...userspaceFlags(lab).filter((flag) => !flag.startsWith('--userspace-state-file')),
      `--userspace-state-file=${join(lab.folder, 'none.json')}`,
      '--userspace-portals=none',
    ]);
    const row = /cluster IP 10\.96\.0\.10:80\/TCP +(127[\d.]+):80$/m;
    await eventually(
      async () => agent?.log ?? '',
      (said) => row.test(said),
    );
    const [, own = ''] = row.exec(agent.log) ?? [];
    const back = at([own, 80], ['127.0.0.1', 30_010], ['0.0.0.0', 30_010], [lab4.node, 80]);
    await lab.write('web', web, ...back, ...slices('web', ['pod-a']));
    await told(`nobody is led to the endpoint ${own}:80`);
    const before = await taken();
    for (const [proto] of protocols) {
      for (let i = 0; i < 20; i++)
        expect(await lab.ask('node', { to: own, port: 80, proto })).toMatchObject({
          answeredBy: 'pod-a',
        });
    }
    expect((await taken()) - before).toBe(40);
    await lab.write('web', web, ...back);
    await told('(no endpoint but places of this proxy)');
    expect(await lab.ask('node', { to: own, port: 80 })).toBe('refused');
  });
});
