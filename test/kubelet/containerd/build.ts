// The containerd that nodes of the kubelet tests run, chosen by SWITCHYARD_CONTAINERD: Debian's, or another release, which is built of
// its Go module into a cache outside the tree, named by a hash of what it is made of: minutes once, nothing afterwards.
import { spawnSync } from 'node:child_process';
import type { SpawnSyncReturns } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** What is not installed, but made of a Go module. */
interface ModuleRelease {
  readonly module: string;
  readonly version: string;
  /** As go.sum has it. */
  readonly sum: string;
}

/** By the word that chooses it; the one that is not here is Debian's. */
const built: Readonly<Record<string, ModuleRelease>> = {
  '1.7': {
    module: 'github.com/containerd/containerd',
    version: 'v1.7.35',
    sum: 'h1:7AU2T1qI2OdNBmKkreWZ7kASHUNFItN5Hgejd9sY938=',
  },
  '2': {
    module: 'github.com/containerd/containerd/v2',
    version: 'v2.4.2',
    sum: 'h1:p6Qg+xbEz8lvwdhHDx0U469xENvp4LgGBx+E7djXkGw=',
  },
};

const ofDebian = '1.6';
const programs = ['containerd', 'containerd-shim-runc-v2', 'ctr'];

/** A release that nodes run. */
export interface Containerd {
  /** `1.6`, `1.7` or `2`. */
  readonly release: string;
  /** Where its programs are, or will be. */
  readonly folder: string;
}

/** The release that the environment asks for; throws where there is no such. */
export function chosenContainerd(): Containerd {
  const release = process.env['SWITCHYARD_CONTAINERD'] || ofDebian;
  if (release === ofDebian) return { release, folder: '/usr/bin' };
  const made = built[release];
  if (made === undefined) {
    const known = [ofDebian, ...Object.keys(built)].toSorted().join(', ');
    throw new Error(`SWITCHYARD_CONTAINERD=${release}: expected one of ${known}`);
  }
  const hash = createHash('sha256').update(JSON.stringify([made, programs, buildFlags(made)]));
  const cache = process.env['SWITCHYARD_CACHE'] ?? join(homedir(), '.cache', 'switchyard');
  return { release, folder: join(cache, `containerd-${hash.digest('hex').slice(0, 16)}`) };
}

/** Builds the programs where they are missing; answers why it cannot. */
function buildContainerd({ release, folder }: Containerd): string | undefined {
  const made = built[release];
  if (made === undefined || existsSync(folder)) return undefined;
  const found = go('/', 'mod', 'download', '-json', `${made.module}@${made.version}`);
  if (found.error) return 'Go is not installed (containerd is built of its Go module)';
  if (found.status !== 0) return `${made.module} cannot be fetched: ${found.stdout}`;
  const { Dir: dir, Sum: sum } = JSON.parse(found.stdout) as { Dir: string; Sum: string };
  if (sum !== made.sum) return `${made.module} ${made.version} is ${sum}, expected ${made.sum}`;
  process.stderr.write(`building containerd ${made.version}: some minutes the first time …\n`);
  // Of its own, for others may build it at the same time; the first one's stays.
  const target = `${folder}.new-${process.pid}`;
  try {
    mkdirSync(target, { recursive: true });
    for (const program of programs) {
      const words = [...buildFlags(made), '-o', join(target, program), `./cmd/${program}`];
      if (go(dir, 'build', ...words).status !== 0) {
        return `go build of ${program} failed; its message stands above`;
      }
    }
    if (!existsSync(folder)) renameSync(target, folder);
  } finally {
    rmSync(target, { recursive: true, force: true });
  }
  return undefined;
}

function buildFlags({ module, version }: ModuleRelease): readonly string[] {
  return ['-mod=readonly', '-trimpath', `-ldflags=-s -w -X ${module}/version.Version=${version}`];
}

function go(cwd: string, ...words: readonly string[]): SpawnSyncReturns<string> {
  return spawnSync('go', words, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, CGO_ENABLED: '0' },
  });
}

/** Answers why there is none. */
function main(): string | undefined {
  const chosen = chosenContainerd();
  const problem = buildContainerd(chosen);
  if (problem === undefined)
    process.stdout.write(`containerd ${chosen.release}: ${chosen.folder}\n`);
  return problem;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const problem = main();
  if (problem !== undefined) {
    process.stderr.write(`kubelet tests: ${problem}\n`);
    process.exit(1);
  }
}
