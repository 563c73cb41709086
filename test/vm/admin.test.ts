// An agent in ipvs mode is asked what it does, and what in the kernel is not as it should be.
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Difference } from '../../src/cli/diff/differences.ts';
import { nodeObject, service, slices } from '../kernel/contract-objects.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { NodeLab, eventually } from '../support/node-lab.ts';

const inGuest = process.env['SWITCHYARD_VM'] !== undefined;

describe.skipIf(!inGuest)(
  'the admin socket in ipvs mode (needs the guest of npm run test:vm)',
  () => {
    let lab: NodeLab;
    let agent: AgentProcess;
    let socket: string;
    const run = async (...args: readonly string[]) =>
      lab.command(...args, `--admin-socket=${socket}`);
    const differences = async (): Promise<readonly string[]> => {
      const { stdout, stderr } = await run('diff', '--output=json');
      expect(stderr).toBe('');
      const { families } = JSON.parse(stdout) as {
        families: { family: string; differences: Difference[] }[];
      };
      return families.flatMap(({ family, differences: list }) =>
        list.map(({ kind, part, object, wanted, found }) =>
          [family, kind, part, object ?? '-', wanted ?? '-', found ?? '-'].join(' | '),
        ),
      );
    };

    beforeAll(async () => {
      lab = await NodeLab.create('nft');
      socket = join(lab.folder, 'run', 'admin.sock');
      await lab.write('node', nodeObject());
      const web = { host: 10, protocols: ['TCP'], affinitySeconds: 300 } as const;
      await lab.write('web', service('web', web), ...slices('web', ['pod-a', 'pod-b']));
      agent = lab.startAgent([
        '--mode=ipvs',
        '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48',
        '--conntrack-max-per-core=0',
        '--ipvs-sync-period=1h',
        `--admin-socket=${socket}`,
      ]);
      await eventually(
        async () => run('status'),
        ({ status }) => status === 0,
        60_000,
      );
    });
    afterAll(async () => {
      await agent?.stop();
      await lab?.close();
    });

    test('nothing differs, beside a virtual server of somebody else', async () => {
      await lab.onNode('ipvsadm', '-A', '-t', '192.0.2.200:80', '-s', 'wlc');
      expect(await differences()).toEqual([]);
    });

    test('what somebody takes, puts in or changes is named', async () => {
      await lab.onNode('ipvsadm', '-d', '-t', '10.96.0.10:80', '-r', '10.244.0.5:8080');
      await lab.onNode('ipvsadm', '-A', '-t', '10.96.0.10:81', '-s', 'rr');
      await lab.onNode('ip', 'address', 'del', 'fd00:10:96::10/128', 'dev', 'kube-ipvs0');
      await lab.onNode('ipset', 'add', 'KUBE-6-IPVS-SERVED-1', 'fd00:10:96::10,tcp:99');
      const [first, second, ...others] = await differences();
      expect(first).toMatch(
        /^ipv4 \| missing \| virtual servers \| default\/web:tcp \| -a -t 10\.96\.0\.10:80 -r 10\.244\.0\.5:8080 -m -w 1/,
      );
      expect(second).toBe(
        'ipv4 | unexpected | virtual servers | - | - | virtual server TCP/10.96.0.10:81',
      );
      expect(others).toEqual([
        'ipv6 | unexpected | sets | - | - | add KUBE-6-IPVS-SERVED-1 fd00:10:96::10,tcp:99',
        'ipv6 | missing | addresses | default/web:tcp | address add fd00:10:96::10/128 dev kube-ipvs0 | -',
      ]);
    });
  },
);
