/** `switchyard doctor` as a command: its flags, its output and its exit status. What it finds stands in test/unit/doctor. */
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../support/command-run.ts';
import type { CommandRun } from '../../support/command-run.ts';

/** Of no check that runs a program, or asks an API server. */
async function doctor(...flags: readonly string[]): Promise<CommandRun> {
  return runCommand(['node', '/usr/bin/switchyard', 'doctor', '--source=file:.', ...flags]);
}

describe('switchyard doctor', () => {
  it('looks at what is asked for, for people', async () => {
    const { status, stdout, stderr } = await doctor(
      '--only=resource',
      '--hostname-override=node-a',
    );
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(
      /^switchyard doctor: node node-a, mode iptables\n\n[✓!] resource\.memory /,
    );
    expect(stdout).not.toContain('could run here');
  });

  it('and for scripts', async () => {
    const flags = ['--only=resource.files,port', '--output=json', '--metrics-bind-address='];
    const { stdout } = await doctor('--mode=userspace', '--userspace-portals=none', ...flags);
    const report = JSON.parse(stdout) as { checks: { id: string; status: string }[] };
    expect(report).toMatchObject({ version: 1, mode: 'userspace-without-portals', modes: [] });
    expect(report.checks.map(({ id }) => id)).toEqual([
      'port.healthz',
      'port.metrics',
      'resource.files',
    ]);
    expect(report.checks[1]).toMatchObject({ status: 'skipped' });
  });

  it('takes the agent’s command line, and does none of what that asks for', async () => {
    const { status, stderr } = await doctor('--only=resource', '--cleanup', '--init-only');
    expect(status).toBe(0);
    expect(stderr).toBe(
      'warning: --cleanup has no effect: doctor looks, and does nothing\nwarning: --init-only has no effect: doctor looks, and does nothing\n',
    );
  });

  it.each([
    [['--only=nonsense'], '--only: no finding is called nonsense', 'checks: privileges, kernel'],
    [['--mode=nftables'], 'nftables', 'say one of'],
    [['--config=/nowhere/config.yaml'], '--config: cannot read /nowhere/config.yaml', 'name a'],
  ])('%j is a mistake in the command line', async (flags, message, hint) => {
    const { status, stdout, stderr } = await doctor(...flags);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain(message);
    expect(stderr).toContain(hint);
  });

  it('says in its help what the exit status means', async () => {
    const { stdout } = await doctor('--help');
    expect(stdout).toContain('Exit status 0: nothing fails');
    expect(stdout).toContain('--probe');
    expect(stdout).toContain('--cluster-cidr');
    expect(stdout).toMatch(/Taken and without effect[^:]*:\n[^:]*--init-only/);
  });
});

describe('switchyard doctor --kubelet', () => {
  const node = ['--kubelet', '--source=file:/nowhere', '--hostname-override=n1'];

  it('takes the kubelet’s flags, and looks at what that needs', async () => {
    const words = ['node', '/usr/bin/switchyard', 'doctor', ...node, '--only=tool,swap'];
    const { stdout, stderr } = await runCommand([...words, '--root-dir=/var/lib/kubelet']);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^switchyard doctor: node n1, kubelet\n\n[✓✗] tool\.mount /);
    expect(stdout).toMatch(/\n[✓!] swap /);
  });

  it('tells it for scripts, too', async () => {
    const words = ['node', '/usr/bin/switchyard', 'doctor', ...node];
    const { stdout } = await runCommand([...words, '--only=swap', '--output=json']);
    expect(JSON.parse(stdout)).toMatchObject({
      version: 1,
      mode: 'kubelet',
      node: 'n1',
      modes: [],
    });
  });

  it('names its checks where none is meant', async () => {
    const words = ['node', '/usr/bin/switchyard', 'doctor', ...node, '--only=conntrack'];
    const { status, stderr } = await runCommand(words);
    expect([status, stderr]).toEqual([2, expect.stringContaining('runtime, cgroup, cni')]);
  });

  it('has a help of its own; =false is the proxy', async () => {
    const { stdout } = await runCommand(['node', 'switchyard', 'doctor', '--kubelet', '--help']);
    expect(stdout).toContain('--bootstrap-kubeconfig');
    const other = await runCommand(['node', 'switchyard', 'doctor', '--kubelet=false', '--help']);
    expect(other.stdout).toContain('--cluster-cidr');
  });
});
