// What ipvs mode asks a real API server about addresses of Nodes and of its own, when, and what is made of no answer.
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Namespaces } from '../../src/host/namespaces.ts';
import { systemTools } from '../../src/host/run-tool.ts';
import { createObject } from './api-objects.ts';
import { ControlPlane, tokens } from './control-plane.ts';

/** What the actor says. */
interface Sync {
  readonly refused: readonly (readonly [string, string])[];
  readonly bound: readonly string[];
  /** The queries for Nodes. */
  readonly asked: readonly Readonly<Record<string, string>>[];
  /** How many Nodes there are. */
  readonly counted?: number;
  readonly lines: readonly string[];
}

const blocked = ControlPlane.blocked();
const apiServer = '203.0.113.1';
/** More than a page. */
const nodes = 520;
/** How a PATCH says what is to be other. */
const merge = 'application/merge-patch+json';
const externalIPs = ['192.0.2.1', '192.0.2.9', '198.51.100.7', apiServer];

function node(name: string, address: string): object {
  const status = { addresses: [{ type: 'InternalIP', address }] };
  return { apiVersion: 'v1', kind: 'Node', metadata: { name }, status };
}

function service(name: string, spec: object): object {
  const ports = [{ name: 'http', port: 80 }];
  return { apiVersion: 'v1', kind: 'Service', metadata: { name }, spec: { ports, ...spec } };
}

describe.skipIf(blocked !== undefined)(
  `addresses of others, of a real API server${blocked ? ` (${blocked})` : ''}`,
  () => {
    const namespaces = new Namespaces({ tools: systemTools, prefix: 'swyreserve' });
    let plane: ControlPlane;

    beforeAll(async () => {
      await namespaces.removeLeftovers();
      await namespaces.add(['plane']);
      await namespaces.ip('plane', [`addr add ${apiServer}/32 dev lo`, 'route add default dev lo']);
      plane = new ControlPlane({ namespace: namespaces.name('plane'), address: apiServer });
      await plane.start();
      await createObject(plane, node('node-a', '192.0.2.1'));
      await createObject(plane, node('last', '192.0.2.9'));
      await plane.must('POST', '/api/v1/namespaces/default/services', service('inside', {}));
    });

    afterAll(async () => {
      await plane?.stop();
      await namespaces.close();
    });

    async function sync(token = tokens.proxy): Promise<Sync> {
      const script = join(import.meta.dirname, 'reservations-actor.ts');
      const args = [script, plane.kubeconfig({ token })];
      return JSON.parse(await namespaces.run('plane', process.execPath, args)) as Sync;
    }

    it('are not asked for while all Services have cluster IPs alone', async () => {
      const { asked, refused, bound } = await sync();
      expect([asked, refused]).toEqual([[], []]);
      expect(bound.length).toBeGreaterThan(0); // of `kubernetes` and `inside`
    });

    it('are followed, once a Service has an address from outside: a Node’s new one is known at once', async () => {
      const outside = service('outside', { externalIPs });
      await plane.must('POST', '/api/v1/namespaces/default/services', outside);
      const script = join(import.meta.dirname, 'reservations-actor.ts');
      const actor = namespaces.spawn('plane', process.execPath, [
        script,
        plane.kubeconfig(),
        'follow',
      ]);
      const told = createInterface({ input: actor.stdout })[Symbol.asyncIterator]();
      const next = async (): Promise<Sync> => JSON.parse(String((await told.next()).value)) as Sync;
      const before = await next();
      expect(before.refused.map(([address]) => address)).toEqual(['192.0.2.9', apiServer]);
      const { status } = node('last', '198.51.100.7') as { status: object };
      await plane.must('PATCH', '/api/v1/nodes/last/status', { status }, merge);
      const after = await next();
      expect(after.refused.map(([address]) => address)).toEqual(['198.51.100.7', apiServer]);
      expect(after.bound).toContain('192.0.2.9');
      expect(after.asked.filter((query) => query['watch'] === undefined)).toHaveLength(2);
      await actor;
    });

    it('are read once where there are many, by pages if the server has it so', async () => {
      const { status } = node('last', '192.0.2.9') as { status: object };
      await plane.must('PATCH', '/api/v1/nodes/last/status', { status }, merge);
      const names = Array.from({ length: nodes }, (_, i) => `far-${1000 + i}`);
      await Promise.all(
        names.map(async (name) =>
          plane.must('POST', '/api/v1/nodes', {
            apiVersion: 'v1',
            kind: 'Node',
            metadata: { name },
          }),
        ),
      );
      const { asked, refused, bound, counted } = await sync();
      expect(refused).toEqual([
        ['192.0.2.9', '192.0.2.9 is an address of Node last'],
        [apiServer, `${apiServer} is an address of the API server`],
      ]);
      expect(bound).toContain('198.51.100.7');
      expect(bound.filter((each) => externalIPs.includes(each))).toEqual(['198.51.100.7']);
      // What a server has cached it gives in one piece, whatever the limit.
      const begun = asked.filter((query) => query['continue'] === undefined);
      expect(begun).toEqual([{ limit: '1' }, { limit: '500', resourceVersion: '0' }]);
      expect(counted).toBe(nodes + 2);
    });

    it('are all refused, with the rule that is missing in the log, where Nodes may not be read', async () => {
      await plane.allowGuest([
        { apiGroups: [''], resources: ['services'], verbs: ['list', 'watch'] },
        {
          apiGroups: ['discovery.k8s.io'],
          resources: ['endpointslices'],
          verbs: ['list', 'watch'],
        },
      ]);
      const { refused, bound, lines } = await sync(tokens.guest);
      expect(refused.map(([address]) => address)).toEqual(['192.0.2.9', '198.51.100.7', apiServer]);
      expect(refused[1]?.[1]).toMatch(/^it is not known yet whether 198\.51\.100\.7 /);
      expect(bound.filter((each) => externalIPs.includes(each))).toEqual([]);
      expect(bound.length).toBeGreaterThan(0);
      expect(lines.join('\n')).toContain(
        'its ClusterRole needs the rule {apiGroups: [""], resources: [nodes], verbs: [list, watch]}',
      );
    });
  },
);
