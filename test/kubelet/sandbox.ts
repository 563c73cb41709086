// Net, mount, pid, uts and ipc namespaces of their own with tmpfs on /run. Whatever is started inside (containerd, pods, mounts) dies
// with them; of the machine, only this run's cgroups are written, and removed afterwards.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { cgroupPrefix, removeCgroups, staleCgroups } from './cgroups.ts';
import { chosenContainerd } from './containerd/build.ts';

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

/** In the environment of what runs inside: the process of the machine whose net and mount namespaces are the sandbox's. */
export const sandboxPidVariable = 'SWITCHYARD_SANDBOX_PID';

/** Why there can be no sandbox on this machine, and what to do; undefined: there can be one. */
export function whyNoSandbox(): string | undefined {
  if (process.platform !== 'linux') return `needs Linux, and this is ${process.platform}`;
  if (process.getuid?.() !== 0) return 'needs root (namespaces, containerd): run it with sudo';
  const { release, folder } = chosenContainerd();
  const needed = [`${folder}/containerd`, '/usr/sbin/runc', '/usr/bin/catatonit', '/bin/busybox']
    .concat(['/usr/lib/cni/bridge', '/usr/bin/openssl'])
    .filter((file) => !existsSync(file));
  if (needed.length === 0) return undefined;
  const cure =
    release === '1.6'
      ? 'installs them'
      : 'installs them, test/kubelet/containerd/build.ts builds containerd';
  return `missing: ${needed.join(', ')} (node scripts/setup.mjs --kubelet ${cure})`;
}

/** How a command ended inside, and what could not be removed. */
export interface SandboxEnd {
  /** As of a shell: 128 and more for a signal. */
  readonly status: number;
  readonly interrupted: boolean;
  readonly cgroupsLeft: readonly string[];
}

const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs a command in a sandbox to its end, or until a signal asks for it. `apart`: it has no terminal, so that what a Ctrl-C ends is the
 * sandbox as a whole, and not one program of it before the other; it calls {@link endWithStarter}.
 */
export async function inSandbox(
  command: readonly string[],
  { apart = false }: { readonly apart?: boolean } = {},
): Promise<SandboxEnd> {
  // In a sandbox already: which process ids of the machine are alive cannot be told there.
  const within = process.env['SWITCHYARD_TEST_CGROUP'];
  if (within === undefined) for (const stale of staleCgroups()) removeCgroups(stale);
  const prefix = cgroupPrefix(process.pid, within);
  const env = { ...process.env, SWITCHYARD_TEST_CGROUP: prefix, TMPDIR: temporary };
  const outer = `${sandboxPidVariable}=$$ exec unshare "$@"`;
  const child = spawn('sh', ['-c', outer, 'sandbox', ...namespaces, ...command], {
    cwd: root,
    env,
    stdio: [apart ? 'pipe' : 'inherit', 'inherit', 'inherit'],
    detached: apart,
  });
  let interruptedBy = 0;
  const end = (name: NodeJS.Signals): void => {
    interruptedBy ||= constants.signals[name];
    killWhole(child);
  };
  for (const signal of endings) process.on(signal, end);
  try {
    const status = await ended(child);
    const interrupted = interruptedBy > 0;
    return {
      status: interrupted ? 128 + interruptedBy : status,
      interrupted,
      cgroupsLeft: await cleared(prefix),
    };
  } finally {
    for (const signal of endings) process.off(signal, end);
  }
}

/** For what runs apart in a sandbox: whatever ends the process outside that holds it, this one ends too, and the sandbox with it. */
export function endWithStarter(): void {
  process.stdin.resume().once('close', () => process.exit(1));
}

/** Its first process: the kernel ends all others with it before unshare, which heeds nothing but its end, sees that it is gone. */
function killWhole({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    const first = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    process.kill(first === '' ? pid : Number(first), 'SIGKILL');
  } catch {
    // it has ended by itself
  }
}

async function ended(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}

/** The kernel takes a moment to let go of the cgroups of what has ended. */
async function cleared(prefix: string): Promise<readonly string[]> {
  const deadline = performance.now() + 5000;
  for (;;) {
    const left = removeCgroups(prefix);
    if (left.length === 0 || performance.now() > deadline) return left;
    await delay(50);
  }
}
