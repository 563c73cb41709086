import { describe, expect, it } from 'vitest';
import { failureText } from '../../../src/cli/main.ts';
import { SwitchyardError } from '../../../src/error.ts';
import { version } from '../../../src/cli/version.ts';
import { runCommand } from '../../support/command-run.ts';

async function run(script: string, ...argv: readonly string[]) {
  return runCommand(['node', script, ...argv], { signal: AbortSignal.abort() });
}

const switchyard = async (...argv: readonly string[]) => run('/usr/bin/switchyard', ...argv);

describe('the command line', () => {
  it.each([[['help']], [['--help']], [['-h']]])('lists the commands for %j', async (argv) => {
    const { status, stdout } = await switchyard(...argv);
    expect(status).toBe(0);
    for (const name of ['proxy', 'render', 'explain', 'demo']) {
      expect(stdout).toMatch(new RegExp(`^ {2}${name} +\\S`, 'm'));
    }
  });

  it('without a command is a mistake that shows them', async () => {
    const { status, stdout, stderr } = await switchyard();
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain('usage: switchyard COMMAND');
  });

  it.each([[['--version']], [['version']], [['proxy', '--version']]])(
    'prints the version for %j',
    async (argv) => {
      expect(await switchyard(...argv)).toMatchObject({
        status: 0,
        stdout: `Switchyard ${version}\n`,
      });
    },
  );

  it.each(['proxy', 'render', 'explain', 'demo'])(
    'says of %s in the overview what its --help says',
    async (name) => {
      const { stdout: overview } = await switchyard('help');
      const [, , summary] = (await switchyard(name, '--help')).stdout.split('\n');
      expect(overview).toMatch(new RegExp(`^  ${name} +`, 'm'));
      expect(overview).toContain(`  ${summary}\n`);
    },
  );

  it('prints the flags of a command with their defaults, but none that does nothing', async () => {
    const { status, stdout } = await switchyard('proxy', '--help');
    expect(status).toBe(0);
    expect(stdout).toContain('--proxy-mode, --mode=MODE');
    expect(stdout).toMatch(/--iptables-sync-period=DURATION\n.*?Default:\s+30s\./s);
    expect(stdout).toContain('--ipvs-drain-timeout=DURATION');
    expect(stdout).not.toContain('--feature-gates');
  });

  it.each<[readonly string[], string]>([
    [['proxi'], 'error: unknown command "proxi"\nhint: did you mean proxy?\n'],
    [
      ['proxy', '--masquerade-al'],
      'error: unknown flag --masquerade-al\nhint: did you mean --masquerade-all?\n',
    ],
    [['proxy', 'more'], 'error: unexpected argument "more"\nhint: see switchyard proxy --help\n'],
    [
      ['proxy', '--mode=nftables', '--oom-score-adj=5000'],
      'error: --mode: "nftables" is not built yet; modes that exist: iptables, ipvs, userspace\n' +
        'error: --oom-score-adj: 5000 is not -1000 to 1000\n' +
        'hint: leave it out, or say one of iptables, ipvs, userspace; give a whole number within these\n',
    ],
    [
      ['proxy', '--config=/nowhere/c.yaml'],
      "error: --config: cannot read /nowhere/c.yaml: ENOENT: no such file or directory, open '/nowhere/c.yaml'\n" +
        'hint: name a KubeProxyConfiguration file that this user may read\n',
    ],
    [
      ['proxy', '--hostname-override'],
      'error: --hostname-override needs a value: a text\n' +
        'hint: switchyard proxy --help says what each flag takes\n',
    ],
  ])('refuses %j with exit status 2', async (argv, expected) => {
    expect(await switchyard(...argv)).toEqual({ status: 2, stdout: '', stderr: expected });
  });

  it.each([
    [
      'root or CAP_NET_ADMIN where rights are missing',
      'EACCES',
      /^hint: run it as root, or with CAP/m,
    ],
    ['nothing where something else is wrong', 'EIO', /^(?![^]*hint:)/],
  ])('advises %s', (_, code, expected) => {
    const cause = Object.assign(new Error('the kernel says no'), { code });
    const error = new SwitchyardError('missing', '/proc/x cannot be read', { cause });
    expect(failureText(error, {})).toMatch(expected);
  });

  it('behaves as `proxy` when it is called kube-proxy', async () => {
    const { status, stderr } = await run('/usr/local/bin/kube-proxy', '--proxy-mode=xyz');
    expect(status).toBe(2);
    expect(stderr).toContain('modes that exist: iptables');
  });

  it('warns of flags without effect', async () => {
    const { stderr } = await switchyard('proxy', '--config-sync-period=1m', '--mode=xyz');
    expect(stderr).toContain('warning: --config-sync-period has no effect: unchanged objects');
  });
});
