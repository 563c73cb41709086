import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { imageCache } from './apt.ts';
import { root } from './contents.ts';

/** An npm package as `package-lock.json` has it. */
export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  /** `sha512-…`, of the archive. */
  readonly integrity: string;
  /** An SPDX expression. */
  readonly license: string;
  /** The folder with its files. */
  readonly folder: string;
}

type LockEntry = Readonly<Record<'version' | 'integrity' | 'license', string>>;

/** The packages that files of the checkout belong to, by name and version. */
export function packagesOf(inputs: readonly string[]): readonly NpmPackage[] {
  const folders = inputs.flatMap((input) => {
    const match = /^(?<folder>.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input);
    return match?.groups?.['folder'] ?? [];
  });
  return [...new Set(folders)].toSorted().map((folder) => locked(folder));
}

/** The package that has Node for an architecture; fetched where npm did not install it, as it does for this machine’s alone. */
export async function nodePackage(name: string, say: (text: string) => void): Promise<NpmPackage> {
  const found = locked(`node_modules/${name}`);
  if (existsSync(join(found.folder, 'bin/node'))) return found;
  const kept = join(imageCache(), `${name}-${found.version}`);
  if (!existsSync(kept)) {
    say(`fetching ${name} ${found.version} (about 50 MB, once) …`);
    await fetchPackage(found, kept);
  }
  return { ...found, folder: join(kept, 'package') };
}

async function fetchPackage({ name, version, integrity }: NpmPackage, to: string): Promise<void> {
  await mkdir(imageCache(), { recursive: true });
  const work = await mkdtemp(join(imageCache(), 'npm-'));
  try {
    await execa('npm', ['pack', `${name}@${version}`, '--pack-destination', work], { cwd: work });
    const file = join(work, readdirSync(work).find((each) => each.endsWith('.tgz')) ?? '');
    const found = `sha512-${createHash('sha512').update(readFileSync(file)).digest('base64')}`;
    if (found !== integrity) throw new Error(`${name}: ${found}, and ${integrity} is locked`);
    await execa('tar', ['-xzf', file, '-C', work]);
    await rename(work, to);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Files in which a package states its licence. */
export function licenceFiles({ folder }: NpmPackage): readonly string[] {
  return readdirSync(folder)
    .filter((name) => /^(licen[cs]e|notice|copying)/i.test(name))
    .toSorted();
}

let lock: Readonly<Record<string, LockEntry>> | undefined;

function locked(path: string): NpmPackage {
  lock ??= (
    JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
      packages: Readonly<Record<string, LockEntry>>;
    }
  ).packages;
  const entry = lock[path];
  if (entry === undefined) throw new Error(`${path} is not in package-lock.json`);
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  const { version, integrity, license } = entry;
  return { name, version, integrity, license, folder: join(root, path) };
}
