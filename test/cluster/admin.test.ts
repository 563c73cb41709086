/** What an operator asks on a node of a cluster: the rules that kube-proxy has left are explained, and a lost API server is told of. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StatusDocument } from '../../src/proxy/admin/status-document.ts';
import { nodeObject, service, slices } from '../kernel/contract-objects.ts';
import { NodeLab, eventually, lab4, lab6 } from '../support/node-lab.ts';
import { createObject } from './api-objects.ts';
import { ControlPlane } from './control-plane.ts';
import { bothFamilies, planeFor } from './lab-plane.ts';
import { upstreamCommand } from './upstream-proxy.ts';

const blocked = ControlPlane.blocked();

describe.skipIf(blocked !== undefined)(
  `an operator on a node of a cluster${blocked ? ` (${blocked})` : ''}`,
  () => {
    let lab: NodeLab;
    let plane: ControlPlane;
    let flags: readonly string[];

    beforeAll(async () => {
      lab = await NodeLab.create('nft');
      plane = planeFor(lab, { serviceCidrs: bothFamilies });
      await plane.start();
      flags = [
        `--kubeconfig=${plane.kubeconfig()}`,
        '--hostname-override=node-a',
        '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48',
        '--conntrack-max-per-core=0',
        '--conntrack-tcp-timeout-established=0s',
        '--conntrack-tcp-timeout-close-wait=0s',
      ];
      await createObject(plane, nodeObject());
      await createObject(plane, service('web', { host: 10, type: 'NodePort', nodePort: 30_010 }));
      for (const slice of slices('web', ['pod-a', 'pod-b', 'remote'])) {
        await createObject(plane, slice);
      }
      await createObject(plane, service('idle', { host: 14 }));
    });
    afterAll(async () => {
      await plane?.stop();
      await lab?.close();
    });

    it('finds in kube-proxy’s own rules where they lead, in both families, and what they refuse', async () => {
      const upstream = lab.startClusterAgent(flags, upstreamCommand());
      const written = async (tool: string): Promise<string> =>
        eventually(
          async () => lab.onNode(tool),
          (text) =>
            ['MASQUERADE', 'default/web', 'default/idle'].every((each) => text.includes(each)),
          60_000,
        );
      const dumps = { v4: await written('iptables-save'), v6: await written('ip6tables-save') };
      await upstream.stop();
      const explain = async (
        family: keyof typeof dumps,
        from: string,
        to: string,
        ...more: readonly string[]
      ): Promise<string> => {
        const file = join(lab.folder, `${family}.rules`);
        await writeFile(file, dumps[family]);
        const run = await lab.command('explain', from, to, `--dump=${file}`, ...more);
        expect(run, to).toMatchObject({ status: 0, stderr: '' });
        return run.stdout;
      };
      const outside = await explain('v4', lab4.client, 'default/web:tcp');
      expect(
        outside.match(/33\.33 % {2}10\.\S+ {2}source replaced .*\(default\/web:tcp\)/g),
      ).toHaveLength(3);
      const pod = await explain('v6', lab6['pod-c'], 'web:80');
      expect(pod.match(/33\.33 % {2}\[fd00\S+ {2}source \S+ kept/g)).toHaveLength(3);
      const nodePort = await explain(
        'v4',
        lab4.client,
        'node:30010',
        `--node-address=${lab4.node}`,
      );
      expect(nodePort.match(/33\.33 % {2}10\.\S+ {2}source replaced/g)).toHaveLength(3);
      expect(await explain('v4', lab4.client, '10.96.0.14:80')).toContain('100.00 %  rejected');
      expect(await explain('v4', lab4.client, '198.51.100.7:80')).toContain(
        '100.00 %  passed on untouched',
      );
    });

    it('sees at an agent that the API server is gone, and that all is well nonetheless', async () => {
      const socket = join(lab.folder, 'run', 'admin.sock');
      const agent = lab.startClusterAgent([...flags, `--admin-socket=${socket}`]);
      const status = async (): Promise<StatusDocument | undefined> => {
        const { stdout } = await lab.command('status', '--output=json', `--admin-socket=${socket}`);
        return stdout === '' ? undefined : (JSON.parse(stdout) as StatusDocument);
      };
      const well = await eventually(status, (seen) => seen?.state === 'healthy', 60_000);
      expect(well?.source).toMatchObject({ kind: 'kubernetes' });
      expect(well?.source.where).toMatch(/^https:/);
      expect(well?.source.lists.map(({ trouble }) => trouble)).toEqual([null, null, null, null]);
      await plane.stopApiServer();
      const alone = await eventually(
        status,
        (seen) => seen?.source.lists.every(({ trouble }) => trouble !== null) === true,
        60_000,
      );
      expect(alone?.state).toBe('healthy');
      const { stdout, status: exit } = await lab.command('status', `--admin-socket=${socket}`);
      expect(exit).toBe(0);
      expect(stdout).toMatch(/nothing new of services for .+: .+/);
      expect(await agent.stop()).toBe(0);
    });
  },
);
