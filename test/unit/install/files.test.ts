/** What is installed with the kubelet says only what the program understands, and nothing that would end pods. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { kubeletFlags } from '../../../src/config/kubelet-flags.ts';
import { readKubeletFiles } from '../../../src/config/kubelet-file.ts';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { kubeletConfig } from '../../../src/config/read-kubelet-config.ts';

const folder = join(import.meta.dirname, '../../../install');
const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
const unit = read('switchyard-kubelet.service');

/** Values of a setting of the unit. */
function settings(name: string): readonly string[] {
  return unit
    .split('\n')
    .filter((line) => line.startsWith(`${name}=`))
    .map((line) => line.slice(name.length + 1));
}

const hasTool = (tool: string, ...args: readonly string[]): boolean =>
  spawnSync(tool, args).error === undefined;

describe('the unit', () => {
  it('ends the agent alone, and starts it again whatever has ended it', () => {
    expect(settings('KillMode')).toEqual(['process']);
    expect(settings('Restart')).toEqual(['always']);
    expect(settings('StartLimitIntervalSec')).toEqual(['0']);
    expect(settings('Conflicts')).toEqual(['kubelet.service']);
    expect(settings('After').join(' ')).toContain('containerd.service');
  });

  it('is in the mount namespace of the machine', () => {
    const own =
      /^(?:Private(?:Tmp|Devices|Mounts|Users)|Protect\w+|ReadOnlyPaths|ReadWritePaths|InaccessiblePaths|ExecPaths|NoExecPaths|TemporaryFileSystem|BindPaths|MountFlags|RootDirectory|MountAPIVFS|DynamicUser)=/m;
    expect(unit).not.toMatch(own);
    expect(unit).not.toMatch(/^(?:RestrictSUIDSGID|MemoryDenyWriteExecute)=/m);
  });

  it.skipIf(!hasTool('systemd-analyze', '--version'))('is one that systemd reads', () => {
    const work = mkdtempSync(join(tmpdir(), 'switchyard-unit-'));
    try {
      const path = join(work, 'switchyard-kubelet.service');
      // What it runs and documents is not on this machine.
      const here = unit
        .replace(/^Documentation=.*$/m, '')
        .replace('/usr/local/bin/switchyard', '/bin/true');
      writeFileSync(path, here);
      const { stderr, status } = spawnSync('systemd-analyze', ['verify', path], {
        encoding: 'utf8',
      });
      const own = stderr.split('\n').filter((line) => line.includes('switchyard-kubelet'));
      expect([status, own]).toEqual([0, []]);
    } finally {
      rmSync(work, { recursive: true });
    }
  });
});

describe('the configuration', () => {
  it('is one that the kubelet takes, with the flags that are written beside it, without a warning', () => {
    const [, line = ''] = /^KUBELET_FLAGS="(--[^"]*)"$/m.exec(read('install.sh')) ?? [];
    const argv = line.replace('$config', '/etc/switchyard/kubelet.yaml').split(' ');
    expect(argv).toHaveLength(3);
    const given = parseFlags(kubeletFlags, argv);
    const file = { path: '/etc/switchyard/kubelet.yaml', text: read('kubelet.yaml') };
    const { flags, warnings } = readKubeletFiles([file], kubeletFlags, given.flags);
    expect([given.warnings, warnings]).toEqual([[], []]);
    const config = kubeletConfig(flags);
    expect(config.certificates).toEqual({
      bootstrapKubeconfig: '/etc/kubernetes/bootstrap-kubelet.conf',
      rotateClient: true,
      serving: false,
    });
    expect(config.server).toMatchObject({ anonymous: false, authorization: 'Webhook' });
  });
});

describe('the script', () => {
  it.skipIf(!hasTool('shellcheck', '--version'))('has nothing that shellcheck minds', () => {
    const files = ['install.sh', 'switchyard'].map((name) => join(folder, name));
    const { stdout, status } = spawnSync('shellcheck', files, { encoding: 'utf8' });
    expect([status, stdout]).toEqual([0, '']);
  });

  it('fetches nothing', () => {
    expect(read('install.sh')).not.toMatch(/\b(?:curl|wget|apt|dnf|yum)\b/);
  });
});
