import { spawnSync } from 'node:child_process';
import type { SpawnSyncReturns } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

/** A release of programs that no system brings: they are made of their Go module. */
export interface ModuleRelease {
  readonly module: string;
  readonly version: string;
  /** As go.sum has it. */
  readonly sum: string;
}

/** What is made of a release. */
export interface ModulePrograms {
  readonly release: ModuleRelease;
  /** Folders of its `cmd`. */
  readonly programs: readonly string[];
  /** The variable of the source that says the release. */
  readonly versionIn: string;
  /** Folders of the module that come along, by the names that they have beside the programs. */
  readonly folders?: Readonly<Record<string, string>>;
}

/** Where they are, or will be: a folder of the cache outside the tree, named by a hash of what they are made of. */
export function modulePlace(name: string, made: ModulePrograms): string {
  const { release, programs, folders } = made;
  const parts = [release, programs, buildFlags(made), ...(folders === undefined ? [] : [folders])];
  const hash = createHash('sha256').update(JSON.stringify(parts));
  const cache = process.env['SWITCHYARD_CACHE'] ?? join(homedir(), '.cache', 'switchyard');
  return join(cache, `${name}-${hash.digest('hex').slice(0, 16)}`);
}

/** Builds them where they are missing, and says so on standard error: minutes once, nothing afterwards. Answers why it cannot. */
export function buildModule(place: string, made: ModulePrograms): string | undefined {
  if (existsSync(place)) return undefined;
  const { module, version, sum: wanted } = made.release;
  const found = go('/', 'mod', 'download', '-json', `${module}@${version}`);
  if (found.error) return `Go is not installed (${module} is built of its Go module)`;
  if (found.status !== 0) return `${module} cannot be fetched: ${found.stdout}`;
  const { Dir: dir, Sum: sum } = JSON.parse(found.stdout) as { Dir: string; Sum: string };
  if (sum !== wanted) return `${module} ${version} is ${sum}, expected ${wanted}`;
  process.stderr.write(`building ${module} ${version}: some minutes the first time …\n`);
  // Of its own, for others may build it at the same time; the first one's stays.
  const target = `${place}.new-${process.pid}`;
  try {
    mkdirSync(target, { recursive: true });
    for (const program of made.programs) {
      const words = [...buildFlags(made), '-o', join(target, program), `./cmd/${program}`];
      if (go(dir, 'build', ...words).status !== 0) {
        return `go build of ${program} failed; its message stands above`;
      }
    }
    for (const [name, folder] of Object.entries(made.folders ?? {})) {
      cpSync(join(dir, folder), join(target, name), { recursive: true });
    }
    if (!existsSync(place)) renameSync(target, place);
  } finally {
    rmSync(target, { recursive: true, force: true });
  }
  return undefined;
}

function buildFlags({ release, versionIn }: ModulePrograms): readonly string[] {
  return ['-mod=readonly', '-trimpath', `-ldflags=-s -w -X ${versionIn}=${release.version}`];
}

function go(cwd: string, ...words: readonly string[]): SpawnSyncReturns<string> {
  return spawnSync('go', words, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, CGO_ENABLED: '0' },
  });
}
