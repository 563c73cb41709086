/** What `switchyard doctor` says of a real API server: rights, the Node, credentials that are good for nothing, a server that is away. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lab4, NodeLab } from '../support/node-lab.ts';
import type { CommandRun } from '../support/command-run.ts';
import { createObject } from './api-objects.ts';
import { ControlPlane, tokens } from './control-plane.ts';
import { planeFor } from './lab-plane.ts';

const blocked = ControlPlane.blocked();

interface Told {
  readonly id: string;
  readonly status: string;
  readonly text: string;
  readonly cure?: string;
}

describe.skipIf(blocked !== undefined)(
  `doctor beside a real API server${blocked ? ` (${blocked})` : ''}`,
  () => {
    let lab: NodeLab;
    let plane: ControlPlane;

    beforeAll(async () => {
      lab = await NodeLab.create('nft');
      plane = planeFor(lab);
      await plane.start();
      await createObject(plane, {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'node-a' },
        spec: { podCIDR: '10.244.0.0/24', podCIDRs: ['10.244.0.0/24'] },
        status: { addresses: [{ type: 'InternalIP', address: lab4.node }] },
      });
    });

    afterAll(async () => {
      await plane?.stop();
      await lab?.close();
    });

    async function doctor(
      token: string,
      ...flags: readonly string[]
    ): Promise<ReadonlyMap<string, Told>> {
      const run = await runDoctor(`--kubeconfig=${plane.kubeconfig({ token })}`, ...flags);
      expect(`${run.stdout}${run.stderr}`).not.toContain(token);
      const { checks } = JSON.parse(run.stdout) as { checks: readonly Told[] };
      return new Map(checks.map((each) => [each.id, each]));
    }

    async function runDoctor(...flags: readonly string[]): Promise<CommandRun> {
      const only = '--only=api,credentials,clock,node';
      return lab.command('doctor', only, '--output=json', '--cluster-cidr=10.244.0.0/16', ...flags);
    }

    it('the role that upstream gives kube-proxy is enough', async () => {
      const found = await doctor(tokens.proxy, '--hostname-override=node-a');
      const notable = [...found.values()].filter(({ status }) => status !== 'ok');
      expect(notable).toEqual([]);
      expect(found.get('api.server')?.text).toMatch(
        /^https:\/\/192\.0\.2\.10:\d+ answers \(v1\.\d+/,
      );
      expect(found.get('api.services')?.text).toBe('may list, watch services');
      expect(found.get('api.events')?.text).toBe('may create, patch events');
      expect(found.get('clock.api')?.text).toContain('within a few seconds');
      expect(found.get('node.name')?.text).toBe(`Node node-a, ${lab4.node}`);
      expect(found.get('node.pods')?.text).toContain('10.244.0.0/24 among them');
    });

    it('a name that is no Node’s is a failure, with a guess', async () => {
      const found = await doctor(tokens.proxy, '--hostname-override=node-b');
      expect(found.get('node.name')).toMatchObject({
        status: 'failure',
        cure: expect.stringContaining('did you mean node-a?'),
      });
    });

    it('missing rights are named with the rule that grants them', async () => {
      await plane.allowGuest([
        { apiGroups: [''], resources: ['services'], verbs: ['list'] },
        {
          apiGroups: ['discovery.k8s.io'],
          resources: ['endpointslices'],
          verbs: ['list', 'watch'],
        },
      ]);
      const found = await doctor(tokens.guest, '--hostname-override=node-a');
      expect(found.get('api.services')).toMatchObject({
        status: 'failure',
        text: expect.stringContaining('may not watch services'),
        cure: expect.stringContaining(
          '{apiGroups: [""], resources: [services], verbs: [list, watch]}',
        ),
      });
      expect(found.get('api.endpointslices')).toMatchObject({ status: 'ok' });
      expect(found.get('api.nodes')).toMatchObject({ status: 'failure' });
      expect(found.get('api.servicecidrs')).toMatchObject({ status: 'warning' });
      expect(found.get('api.events')).toMatchObject({ status: 'warning' });
      expect(found.get('node.name')).toMatchObject({ status: 'skipped' });
    });

    it('a token that nobody knows is a failure', async () => {
      const found = await doctor('token-of-nobody', '--hostname-override=node-a');
      expect(found.get('api.server')).toMatchObject({
        status: 'failure',
        text: expect.stringContaining('401'),
      });
    });

    it('what is wrong with a kubeconfig is told without what stands in it', async () => {
      const file = join(lab.folder, 'broken.conf');
      writeFileSync(file, 'users:\n- name: a\n  user:\n    token: geheim: geheim\n');
      const run = await runDoctor(`--kubeconfig=${file}`);
      expect(run.status).toBe(1);
      expect(run.stdout).toContain(`kubeconfig ${file}`);
      expect(run.stdout).not.toContain('geheim');
    });

    it('a server that is away is a failure, and all else is told', async () => {
      await plane.stopApiServer();
      const found = await doctor(tokens.proxy, '--hostname-override=node-a');
      expect(found.get('api.server')).toMatchObject({
        status: 'failure',
        text: expect.stringContaining('does not answer'),
      });
      expect(found.get('credentials.kind')?.text).toContain('a token');
    });
  },
);
