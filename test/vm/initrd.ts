import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { execa } from 'execa';
import { cacheFolder } from './guest-kernel.ts';
import type { GuestKernel } from './guest-kernel.ts';

/** What is needed before the file system of this machine is there; the guest loads everything else from it. */
const earlyModules = ['virtio_pci', '9pnet_virtio', '9p', 'overlay', 'virtio_console'];

const busybox = '/bin/busybox';
const init = join(import.meta.dirname, 'init.sh');

/** Builds the first file system of the guest, unless the cache has one of the same content; answers its path. */
export async function buildInitrd(kernel: GuestKernel): Promise<string> {
  const modules = await moduleFiles(kernel);
  const hash = createHash('sha256').update(modules.join('\n'));
  for (const file of [init, busybox]) hash.update(await readFile(file));
  const target = join(cacheFolder(), `initrd-${hash.digest('hex').slice(0, 16)}`);
  if (await exists(target)) return target;
  await requireStatic();
  const folder = await mkdtemp(join(cacheFolder(), 'initrd-new-'));
  try {
    // Named so that their order is the one to load them in.
    const names = modules.map(
      (file, i) => `modules/${String(i).padStart(2, '0')}-${basename(file)}`,
    );
    const root = join(folder, 'root');
    await mkdir(join(root, 'bin'), { recursive: true });
    await mkdir(join(root, 'modules'));
    for (const [i, name] of names.entries()) await copyFile(modules[i] ?? '', join(root, name));
    await copyFile(busybox, join(root, 'bin/busybox'));
    await copyFile(init, join(root, 'init'));
    await chmod(join(root, 'init'), 0o755);
    await execa('cpio', ['--create', '--format=newc', '--quiet', `--file=${folder}/initrd`], {
      cwd: root,
      input: ['bin', 'bin/busybox', 'init', 'modules', ...names].join('\n'),
    });
    await rename(join(folder, 'initrd'), target);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return target;
}

/** The files of the early modules and of those they need, in the order to load them in. */
async function moduleFiles({ root, release }: GuestKernel): Promise<readonly string[]> {
  const base = ['-d', root, '-S', release, '--show-depends'];
  const found: string[] = [];
  for (const name of earlyModules) {
    const { stdout } = await execa('modprobe', [...base, name]);
    found.push(...stdout.split('\n').flatMap((line) => /^insmod (\S+)/.exec(line)?.[1] ?? []));
  }
  return [...new Set(found)];
}

/** There is no library beside it in the initrd. */
async function requireStatic(): Promise<void> {
  const { exitCode } = await execa('ldd', [busybox], { reject: false });
  if (exitCode === 0) throw new Error(`${busybox} is not static: install busybox-static`);
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}
