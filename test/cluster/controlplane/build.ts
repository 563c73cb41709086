// Builds the control plane of the cluster tests (etcd, kube-apiserver … from Go modules) into a cache outside the
// tree, named by a hash of its sources: minutes once, nothing afterwards. Prints the path of the binary.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = import.meta.dirname;
const version = { full: 'v1.37.2', major: '1', minor: '37' };

/** The release of Kubernetes that it is. */
export const controlPlaneVersion = version.full;

/** Where the binary is, or will be, on this machine. */
export function controlPlaneBinary(): string {
  const hash = createHash('sha256');
  for (const file of ['main.go', 'go.mod', 'go.sum']) hash.update(readFileSync(join(folder, file)));
  const cache = process.env['SWITCHYARD_CACHE'] ?? join(homedir(), '.cache', 'switchyard');
  return join(cache, `controlplane-${hash.digest('hex').slice(0, 16)}`);
}

/** Builds the binary where it is missing; answers why it cannot. */
export function buildControlPlane(target: string): string | undefined {
  if (existsSync(target)) return undefined;
  if (spawnSync('go', ['version']).error)
    return 'Go is not installed (the control plane is built from Go modules)';
  process.stderr.write('building the control plane: about 9 minutes the first time on 2 cores …\n');
  mkdirSync(join(target, '..'), { recursive: true });
  const prefix = '-X k8s.io/component-base/version.git';
  const flags = `-s -w ${prefix}Version=${version.full} ${prefix}Major=${version.major} ${prefix}Minor=${version.minor}`;
  const go = spawnSync(
    'go',
    ['build', '-trimpath', `-ldflags=${flags}`, '-o', `${target}.new`, '.'],
    {
      cwd: folder,
      stdio: 'inherit',
      env: { ...process.env, CGO_ENABLED: '0' },
    },
  );
  if (go.status !== 0) return 'go build failed; its message stands above';
  renameSync(`${target}.new`, target);
  return undefined;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const target = controlPlaneBinary();
  const problem = buildControlPlane(target);
  if (problem !== undefined) {
    process.stderr.write(`cluster tests: ${problem}\n`);
    process.exit(1);
  }
  process.stdout.write(`control plane: ${target}\n`);
}
