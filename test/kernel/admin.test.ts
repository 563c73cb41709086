import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { StatusDocument } from '../../src/proxy/admin/status-document.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { NodeLab, eventually } from '../support/node-lab.ts';
import { nodeObject, service, slices } from './contract-objects.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;

/** Job: a real agent is asked by the commands of an operator, and what they say is true of a real kernel. */
describe.skipIf(!able).each(['legacy', 'nft'] as const)(
  'an agent that is asked at its admin socket, %s tools (needs root: it makes network namespaces)',
  (variant) => {
    /** What has nothing to do with the tools is asked of one variant. */
    const isLegacy = variant === 'legacy';
    let lab: NodeLab;
    let agent: AgentProcess;
    let socket: string;
    const run = async (command: string, ...args: readonly string[]) =>
      lab.command(command, ...args, `--admin-socket=${socket}`);
    // So rarely does it look whether somebody has changed its rules that this test is not disturbed.
    const start = (): AgentProcess =>
      lab.startAgent([
        '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48',
        '--conntrack-max-per-core=0',
        '--iptables-sync-period=1h',
        `--admin-socket=${socket}`,
      ]);
    const untilHealthy = async (): Promise<StatusDocument> => {
      const { stdout } = await eventually(
        async () => run('status', '--output=json'),
        ({ status }) => status === 0,
      );
      return JSON.parse(stdout) as StatusDocument;
    };

    beforeAll(async () => {
      lab = await NodeLab.create(variant);
      socket = join(lab.folder, 'run', 'admin.sock');
      await lab.write('node', nodeObject());
      await lab.write('web', service('web', { host: 10 }), ...slices('web', ['pod-a', 'pod-b']));
      agent = start();
      await untilHealthy();
    });
    afterAll(async () => {
      await lab.close();
    });

    test.skipIf(isLegacy)('where nobody answers they say so', async () => {
      const elsewhere = `--admin-socket=${socket}.other`;
      const { status, stderr } = await lab.command('status', elsewhere);
      expect(status).toBe(2);
      expect(stderr).toContain(`no agent answers at ${socket}.other`);
      const asked = await lab.command('explain', 'outside', 'web:http', elsewhere);
      expect(asked.status).toBe(2);
      expect(asked.stderr).toContain('no manifests, and no agent answers');
    });

    test.skipIf(isLegacy)(
      'status tells what it does, at a socket that is for its owner alone',
      async () => {
        const status = await untilHealthy();
        expect(status).toMatchObject({ mode: 'iptables', pid: agent.pid, state: 'healthy' });
        expect(
          status.families.map(({ family, services, servicePorts }) => [
            family,
            services,
            servicePorts,
          ]),
        ).toEqual([
          ['IPv4', 1, 2],
          ['IPv6', 1, 2],
        ]);
        expect((await stat(socket)).mode & 0o777).toBe(0o600);
        const { stdout } = await run('status');
        expect(stdout).toMatch(/^state {4}healthy$/m);
        expect(stdout).toContain(`process ${agent.pid}`);
      },
    );

    test.skipIf(isLegacy)('explain answers from what it has', async () => {
      const { status, stdout } = await run('explain', 'outside', 'web:80');
      expect(status).toBe(0);
      expect(stdout).toContain('10.96.0.10:80/TCP is the cluster IP of default/web');
      expect(stdout.match(/1\/2 +50(?:\.0+)? %/g)).toHaveLength(2);
      const wrong = await run('explain', 'outside', 'other:80');
      expect(wrong.status).toBe(2);
      expect(wrong.stderr).toContain(
        'no Service default/other with a cluster IP is known to the agent',
      );
    });

    test('diff says that all is as wanted, by the agent and by the manifests', async () => {
      const same = { status: 0, stdout: 'IPv4: as wanted\nIPv6: as wanted\n', stderr: '' };
      expect(await run('diff', '--fail')).toEqual(same);
      const offline = [`-f`, lab.manifests, '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48'];
      expect(await lab.command('diff', '--fail', ...offline)).toEqual(same);
    });

    test.skipIf(isLegacy)(
      'explain goes through a dump of its rules as the kernel does',
      async () => {
        const dump = join(lab.folder, 'node-a.rules');
        await writeFile(dump, await lab.onNode('iptables-save', '-c'));
        const { status, stdout } = await lab.command(
          'explain',
          '192.0.2.77',
          'web:80',
          `--dump=${dump}`,
        );
        expect(status).toBe(0);
        expect(stdout.match(/50\.00 % {2}10\.\S+ {2}source replaced/g)).toHaveLength(2);
      },
    );

    test('diff names the rule that somebody deletes, as a list and as a patch, and does not miss it in a dump', async () => {
      const dump = join(lab.folder, 'whole.rules');
      await writeFile(dump, await lab.onNode('iptables-save'));
      const rule = (await lab.onNode('iptables-save', '-t', 'nat'))
        .split('\n')
        .find((line) => line.includes('-j DNAT') && line.includes('default/web:tcp'));
      if (rule === undefined) throw new Error('no rule of the Service');
      await lab.onNode('sh', '-c', `iptables -t nat ${rule.replace(/^-A/, '-D')}`);
      const { status, stdout } = await run('diff', '--fail', '--ip-family=ipv4');
      expect(status).toBe(1);
      expect(stdout).toBe(`IPv4: 1 difference\n  nat\n    missing     default/web:tcp  ${rule}\n`);
      expect((await run('diff', '--ip-family=ipv4')).status).toBe(0);
      const patch = await run('diff', '--output=patch');
      expect(patch.stdout).toContain('--- kernel/ipv4/nat\n+++ wanted/ipv4/nat\n');
      expect(patch.stdout.split('\n').filter((line) => /^[+-]-A/.test(line))).toEqual([`+${rule}`]);
      expect(await run('diff', '--fail', `--dump=${dump}`)).toMatchObject({
        status: 0,
        stdout: 'IPv4: as wanted\n',
      });
    });

    test.skipIf(isLegacy)(
      'one that is killed leaves a socket that the next one replaces',
      async () => {
        await agent.crash();
        expect((await run('status')).status).toBe(2);
        agent = start();
        expect((await untilHealthy()).pid).toBe(agent.pid);
        expect(await agent.stop()).toBe(0);
        await expect(stat(socket)).rejects.toThrow('ENOENT');
      },
    );
  },
);
