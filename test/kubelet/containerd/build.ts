// The containerd that nodes of the kubelet tests run, chosen by SWITCHYARD_CONTAINERD: Debian's, or another release, which is built of
// its Go module into the cache.
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { buildModule, modulePlace } from '../../support/go-module.ts';
import type { ModulePrograms, ModuleRelease } from '../../support/go-module.ts';

/** By the word that chooses it; the one that is not here is Debian's. */
const built: Readonly<Record<string, ModulePrograms>> = {
  '1.7': programsOf({
    module: 'github.com/containerd/containerd',
    version: 'v1.7.35',
    sum: 'h1:7AU2T1qI2OdNBmKkreWZ7kASHUNFItN5Hgejd9sY938=',
  }),
  '2': programsOf({
    module: 'github.com/containerd/containerd/v2',
    version: 'v2.4.2',
    sum: 'h1:p6Qg+xbEz8lvwdhHDx0U469xENvp4LgGBx+E7djXkGw=',
  }),
};

const ofDebian = '1.6';

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
  return { release, folder: modulePlace('containerd', made) };
}

function programsOf(release: ModuleRelease): ModulePrograms {
  return {
    release,
    programs: ['containerd', 'containerd-shim-runc-v2', 'ctr'],
    versionIn: `${release.module}/version.Version`,
  };
}

/** Answers why there is none. */
function main(): string | undefined {
  const { release, folder } = chosenContainerd();
  const made = built[release];
  const problem = made === undefined ? undefined : buildModule(folder, made);
  if (problem === undefined) process.stdout.write(`containerd ${release}: ${folder}\n`);
  return problem;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const problem = main();
  if (problem !== undefined) {
    process.stderr.write(`kubelet tests: ${problem}\n`);
    process.exit(1);
  }
}
