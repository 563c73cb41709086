import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Architecture } from './architecture.ts';
import type { LockedPackage, LockedPackages } from './lock.ts';

/** Where what costs time to fetch is kept; shared with the tests' other downloads. */
export function imageCache(): string {
  const cache = process.env['SWITCHYARD_CACHE'] ?? join(homedir(), '.cache', 'switchyard');
  return join(cache, 'image');
}

/** A fetched package, unpacked. */
export interface UnpackedPackage extends LockedPackage {
  readonly name: string;
  /** The folder with its files. */
  readonly folder: string;
  /** Its entry in Debian's list of packages: `Package: …` and so on. */
  readonly control: string;
}

/**
 * Debian's packages of one architecture, by the machine's own sources of apt but with a state of their own: nothing is installed,
 * nothing of the machine is changed, and no root is needed. The architecture need not be the machine's.
 */
export class Apt {
  readonly #architecture: string;
  readonly #say: (text: string) => void;
  readonly #folder: string;
  #isUpdated = false;

  constructor({ name }: Pick<Architecture, 'name'>, say: (text: string) => void) {
    this.#architecture = name;
    this.#say = say;
    this.#folder = join(imageCache(), `apt-${name}`);
  }

  /** The versions that the sources offer now. */
  async candidates(names: readonly string[]): Promise<LockedPackages> {
    await this.#update();
    const args = ['show', '--no-all-versions', ...names];
    const { stdout } = await execa('apt-cache', [...(await this.#options()), ...args]);
    const stanzas = stdout.split(/\n\n+/).filter((text) => text.trim() !== '');
    const found = new Map(
      stanzas.map((text) => {
        const locked = { version: field(text, 'Version'), sha256: field(text, 'SHA256') };
        return [field(text, 'Package'), locked] as const;
      }),
    );
    const missing = names.filter((name) => !found.has(name));
    if (missing.length > 0) throw new Error(`apt knows no ${missing.join(', ')}`);
    const sorted = [...found].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries(sorted);
  }

  /** Fetches what is not there yet, checks it, and unpacks it. */
  async unpacked(packages: LockedPackages): Promise<readonly UnpackedPackage[]> {
    await mkdir(this.#folder, { recursive: true });
    const missing = Object.entries(packages).filter(([, each]) => !existsSync(kept(each)));
    if (missing.length > 0) await this.#fetch(missing);
    return Promise.all(
      Object.entries(packages).map(async ([name, locked]) => {
        const folder = kept(locked);
        const control = await readFile(join(folder, 'control'), 'utf8');
        return { name, ...locked, folder: join(folder, 'files'), control };
      }),
    );
  }

  async #fetch(
    packages: readonly (readonly [name: string, locked: LockedPackage])[],
  ): Promise<void> {
    this.#say(`fetching ${packages.length} packages for ${this.#architecture} …`);
    await this.#update();
    const folder = await mkdtemp(join(this.#folder, 'fetch-'));
    try {
      const wanted = packages.map(([name, { version }]) => `${name}=${version}`);
      const { exitCode, stderr } = await execa(
        'apt-get',
        [...(await this.#options()), '-qq', 'download', ...wanted],
        { cwd: folder, reject: false },
      );
      if (exitCode !== 0) throw new Error(gone(stderr));
      const files = await readdir(folder);
      for (const [name, locked] of packages) {
        const deb = files.find((each) => each.startsWith(`${name}_`));
        if (deb === undefined) throw new Error(`apt-get download brought no ${name}`);
        await unpack(join(folder, deb), locked, join(folder, `${name}.unpacked`));
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #update(): Promise<void> {
    if (this.#isUpdated) return;
    this.#say(`reading the lists of packages for ${this.#architecture} …`);
    await execa('apt-get', [...(await this.#options()), '-qq', 'update'], { stderr: 'inherit' });
    this.#isUpdated = true;
  }

  /** `-o` options that give apt a state of its own, in which nothing is installed. */
  async #options(): Promise<readonly string[]> {
    const [state, cache] = [join(this.#folder, 'state'), join(this.#folder, 'cache')];
    const status = join(this.#folder, 'status');
    await mkdir(join(state, 'lists', 'partial'), { recursive: true });
    await mkdir(join(cache, 'archives', 'partial'), { recursive: true });
    if (!existsSync(status)) await writeFile(status, '');
    const settings = {
      'APT::Architecture': this.#architecture,
      'APT::Architectures': this.#architecture,
      'APT::Sandbox::User': 'root',
      'Acquire::Languages': 'none',
      'Dir::State': state,
      'Dir::State::status': status,
      'Dir::Cache': cache,
    };
    return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  }
}

/** Where a package is kept, unpacked: what its checksum has not to be asked for again. */
function kept({ sha256 }: LockedPackage): string {
  return join(imageCache(), 'packages', sha256);
}

async function unpack(deb: string, locked: LockedPackage, work: string): Promise<void> {
  const found = createHash('sha256')
    .update(await readFile(deb))
    .digest('hex');
  if (found !== locked.sha256) {
    throw new Error(`${deb}: its checksum is ${found}, and ${locked.sha256} is locked`);
  }
  await mkdir(work);
  await execa('dpkg-deb', ['--extract', deb, join(work, 'files')]);
  const { stdout } = await execa('dpkg-deb', ['--field', deb]);
  await writeFile(join(work, 'control'), `${stdout}\n`);
  await mkdir(join(kept(locked), '..'), { recursive: true });
  await rename(work, kept(locked)).catch((error: unknown) => {
    if (!existsSync(kept(locked))) throw error; // else another build was quicker
  });
}

function gone(stderr: string): string {
  return (
    `${stderr.trim()}\nDebian’s archive keeps the newest version of a package. Where a locked one is no longer there: ` +
    'npm run image -- --update-lock takes the versions of now, --newest builds with them this once'
  );
}

/** A one-line field of a control file. */
export function field(control: string, name: string): string {
  return new RegExp(`^${name}: (?<value>.*)$`, 'm').exec(control)?.groups?.['value'] ?? '';
}
