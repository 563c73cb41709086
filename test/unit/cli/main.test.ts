import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { failureText } from '../../../src/cli/failure-text.ts';
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
    for (const name of ['proxy', 'render', 'explain', 'doctor', 'demo']) {
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

  it.each(['proxy', 'render', 'explain', 'doctor', 'demo'])(
    'says of %s in the overview what its --help says',
    async (name) => {
      const { stdout: overview } = await switchyard('help');
      const [, , summary] = (await switchyard(name, '--help')).stdout.split('\n');
      expect(overview).toMatch(new RegExp(`^  ${name} +`, 'm'));
      expect(overview).toContain(`  ${summary}\n`);
    },
  );

  it('prints the flags of a command with their defaults, and by name alone those that do nothing', async () => {
    const { status, stdout } = await switchyard('proxy', '--help');
    expect(status).toBe(0);
    expect(stdout).toContain('--proxy-mode, --mode=MODE');
    expect(stdout).toMatch(/--iptables-sync-period=DURATION\n.*?Default:\s+30s\./s);
    expect(stdout).toContain('--ipvs-drain-timeout=DURATION');
    expect(stdout).toMatch(/without effect; a warning says why:\n.*--kube-api-qps/s);
    expect(stdout).not.toContain('nftables.syncPeriod');
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

  it.each([
    ['by its path', ['node', '/usr/local/bin/kube-proxy']],
    ['by its path with an extension', ['node', '/opt/kube-proxy.mjs']],
    ['by argv[0]', ['kube-proxy', '/opt/switchyard.mjs']],
    ['and the command stands there all the same', ['kube-proxy', '/opt/switchyard.mjs', 'proxy']],
  ])('behaves as `proxy` when it is called kube-proxy, %s', async (_, words) => {
    const signal = AbortSignal.abort();
    const { status, stderr } = await runCommand([...words, '--proxy-mode=xyz'], { signal });
    expect(status).toBe(2);
    expect(stderr).toContain('modes that exist: iptables');
  });

  it('tells more of the version with --version=raw', async () => {
    for (const argv of [['--version=raw'], ['render', '--version=raw']]) {
      const { status, stdout } = await switchyard(...argv);
      expect(status).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ program: 'Switchyard', version });
    }
  });

  it('takes --version for a value where one is missing, as every flag does', async () => {
    const { status, stderr } = await switchyard('proxy', '--mode', '--version');
    expect([status, stderr]).toEqual([2, expect.stringContaining('"--version" is not a mode')]);
  });

  it('warns of flags without effect', async () => {
    const { stderr } = await switchyard('proxy', '--config-sync-period=1m', '--mode=xyz');
    expect(stderr).toContain('warning: --config-sync-period has no effect: unchanged objects');
  });
});

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-config-'));
  try {
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

describe('--write-config-to', () => {
  it('writes what the flags say, as a file that says the same, and does nothing else', async () => {
    await inFolder(async (folder) => {
      const [first, second] = [join(folder, 'first.yaml'), join(folder, 'second.yaml')];
      const argv = ['--proxy-mode=ipvs', '--bind-address=::', '--healthz-port=9', '--cleanup'];
      argv.push('--hostname-override=Node-A');
      expect(await switchyard('proxy', ...argv, `--write-config-to=${first}`)).toMatchObject({
        status: 0,
        stdout: '',
        stderr: expect.stringContaining(`wrote the configuration to ${first}\n`),
      });
      const text = readFileSync(first, 'utf8');
      expect(text).toContain('healthzBindAddress: "[::]:9"\n');
      expect(text).toContain('mode: ipvs\n');
      expect(text).toContain('hostnameOverride: node-a\n');
      expect(await switchyard('proxy', `--config=${first}`, `--write-config-to=${second}`)).toEqual(
        { status: 0, stdout: '', stderr: `wrote the configuration to ${second}\n` },
      );
      expect(readFileSync(second, 'utf8')).toBe(text);
    });
  });

  it('says what no file can say, and ends with status 1 where it cannot write', async () => {
    await inFolder(async (folder) => {
      const flag = `--write-config-to=${join(folder, 'c.yaml')}`;
      const { stderr } = await switchyard('proxy', '--metrics-bind-address=', flag);
      expect(stderr).toContain('warning: no file can say that there is no metrics server');
      const nowhere = `--write-config-to=${join(folder, 'not/there.yaml')}`;
      expect(await switchyard('proxy', nowhere)).toMatchObject({
        status: 1,
        stderr: expect.stringContaining('error: --write-config-to: cannot write'),
      });
    });
  });

  it('checks first: a file that is refused is not written', async () => {
    await inFolder(async (folder) => {
      const config = join(folder, 'config.conf');
      const kind = 'kind: KubeProxyConfiguration';
      writeFileSync(
        config,
        `apiVersion: kubeproxy.config.k8s.io/v1alpha1\n${kind}\noomScoreAdj: 5000\n`,
      );
      const out = join(folder, 'out.yaml');
      const argv = [`--config=${config}`, `--write-config-to=${out}`];
      expect(await switchyard('proxy', ...argv)).toMatchObject({
        status: 2,
        stderr: expect.stringContaining(`error: ${config}: oomScoreAdj: 5000 is not -1000 to 1000`),
      });
      expect(() => readFileSync(out)).toThrow('ENOENT');
    });
  });
});
