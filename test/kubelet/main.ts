// Runs vitest, or any command, in a sandbox of its own: net, mount, pid, uts and ipc namespaces with tmpfs on /run. Whatever is
// started inside (containerd, pods, mounts) dies with it; of the host, only this run's cgroups are written, and removed afterwards.
// usage: node test/kubelet/main.ts test [VITEST ARGUMENTS] | run COMMAND…
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { cgroupPrefix, removeCgroups, staleCgroups } from './cgroups.ts';

const root = join(import.meta.dirname, '../..');

/** Process ids mean something else inside: what carries one in its name must not lie where others' do. */
const temporary = '/run/sy/tmp';

const script = `
set -e
hostname fabric
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/cg /run/netns /run/lock ${temporary}
mount --rbind /sys/fs/cgroup /run/cg
mount -t sysfs sysfs /sys
mount --rbind /run/cg /sys/fs/cgroup
umount -l /run/cg
mkdir -p /var/lib/cni
mount -t tmpfs tmpfs /var/lib/cni
mount -t tmpfs tmpfs /var/log
mkdir -p /var/log/containers /var/log/pods
ip link set lo up
exec "$@"`;

const namespaces = ['--net', '--mount', '--pid', '--uts', '--ipc', '--fork', '--kill-child']
  .concat(['--mount-proc', '--propagation', 'private'])
  .concat(['/usr/bin/catatonit', '-g', '--', '/bin/bash', '-c', script, 'sandbox']);

process.exitCode = await main(process.argv.slice(2));

async function main([what, ...rest]: readonly string[]): Promise<number> {
  const blocked = whyBlocked();
  if (blocked !== undefined) {
    process.stderr.write(`kubelet tests: ${blocked}\n`);
    return 1;
  }
  for (const stale of staleCgroups()) removeCgroups(stale);
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const command =
    what === 'run' ? rest : [process.execPath, vitest, 'run', '--project', 'kubelet', ...rest];
  const prefix = cgroupPrefix(process.pid);
  try {
    return await inSandbox(command, prefix);
  } finally {
    const left = removeCgroups(prefix);
    if (left.length > 0) {
      process.stderr.write(`kubelet tests: cgroups left behind: ${left.join(' ')}\n`);
      process.exitCode = 1;
    }
  }
}

function whyBlocked(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root (namespaces)';
  const needed = ['/usr/bin/containerd', '/usr/sbin/runc', '/usr/bin/catatonit', '/bin/busybox']
    .concat(['/usr/lib/cni/bridge', '/usr/bin/openssl'])
    .filter((file) => !existsSync(file));
  if (needed.length === 0) return undefined;
  return `missing: ${needed.join(', ')} (node scripts/setup.mjs --kubelet installs them)`;
}

async function inSandbox(command: readonly string[], prefix: string): Promise<number> {
  const env = { ...process.env, SWITCHYARD_TEST_CGROUP: prefix, TMPDIR: temporary };
  const child = spawn('unshare', [...namespaces, ...command], { cwd: root, env, stdio: 'inherit' });
  // unshare heeds no other while its child runs.
  const end = (): void => void child.kill('SIGKILL');
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => {
      resolve(code ?? 1);
    });
  });
}
