import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { execa } from 'execa';

/** A kernel of Debian, unpacked. */
export interface GuestKernel {
  /** As `uname -r` says it: `6.1.0-56-amd64`. */
  readonly release: string;
  readonly image: string;
  /** The folder that has `lib/modules/RELEASE`. */
  readonly root: string;
}

/** What of a kernel package the guest has no use for: most of its 400 MB. */
const unused = [
  'sound',
  ...['gpu', 'media', 'infiniband', 'iio', 'staging', 'usb', 'scsi', 'hid'].map((name) =>
    join('drivers', name),
  ),
  ...['xfs', 'btrfs', 'ocfs2', 'ceph'].map((name) => join('fs', name)),
];

/** Where what costs time to fetch or build is kept. */
export function cacheFolder(): string {
  const cache = process.env['SWITCHYARD_CACHE'] ?? join(homedir(), '.cache', 'switchyard');
  return join(cache, 'vm');
}

/**
 * The newest kernel of the cache; where it has none, the one Debian's `linux-image-amd64` stands for is fetched
 * first. To have a newer one, delete the folder.
 */
export async function guestKernel(say: (text: string) => void): Promise<GuestKernel> {
  const cache = cacheFolder();
  await mkdir(cache, { recursive: true });
  const found = await cachedRelease(cache);
  if (found !== undefined) return kernelIn(cache, found);
  const fetched = await fetchKernel(cache, say);
  return kernelIn(cache, fetched);
}

function kernelIn(cache: string, release: string): GuestKernel {
  const root = join(cache, `kernel-${release}`);
  return { release, root, image: join(root, 'boot', `vmlinuz-${release}`) };
}

async function cachedRelease(cache: string): Promise<string | undefined> {
  const names = (await readdir(cache)).filter((name) => /^kernel-\d[^/]*-amd64$/.test(name));
  const collator = new Intl.Collator('en', { numeric: true });
  return names.toSorted(collator.compare).at(-1)?.slice('kernel-'.length);
}

async function fetchKernel(cache: string, say: (text: string) => void): Promise<string> {
  const name = (await packageName()) ?? (await packageNameAfterUpdate());
  const release = name.slice('linux-image-'.length);
  const folder = await mkdtemp(join(cache, 'fetch-'));
  try {
    say(`fetching ${name} (about 70 MB, once; kept in ${cache}) …`);
    const download = ['-qq', '-o', 'APT::Sandbox::User=root', 'download', name];
    await execa('apt-get', download, { cwd: folder, stderr: 'inherit' });
    const file = (await readdir(folder)).find((each) => each.endsWith('.deb')) ?? '';
    const root = join(folder, 'root');
    await execa('dpkg-deb', ['--extract', join(folder, file), root]);
    const modules = join(root, 'lib', 'modules', release, 'kernel');
    for (const each of unused) await rm(join(modules, each), { recursive: true, force: true });
    await execa('depmod', ['-b', root, release]);
    await rename(root, kernelIn(cache, release).root);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return release;
}

async function packageNameAfterUpdate(): Promise<string> {
  await execa('apt-get', ['-qq', 'update'], { stderr: 'inherit' });
  const name = await packageName();
  if (name !== undefined) return name;
  throw new Error('apt-cache knows no linux-image-amd64: the guest runs the kernel of Debian');
}

/** The package that `linux-image-amd64` depends on: `linux-image-6.1.0-56-amd64`. */
async function packageName(): Promise<string | undefined> {
  const { stdout } = await execa('apt-cache', ['depends', 'linux-image-amd64'], { reject: false });
  return /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
}
