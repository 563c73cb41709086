// `npm run release`: what is unpacked on a node to install the kubelet: dist/release/switchyard-VERSION-linux-ARCH.tar.gz
// usage: npm run release [-- --arch=amd64,arm64] [--out=FOLDER]
import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { execa } from 'execa';
import packageJson from '../package.json' with { type: 'json' };
import { bundle } from './bundle.ts';
import { architectureOf } from './image/architecture.ts';
import type { Architecture } from './image/architecture.ts';
import { nodePackage } from './image/npm-packages.ts';

const root = join(import.meta.dirname, '..');

/** A file of the release: where it comes from, and who may do what with it. */
interface ReleaseFile {
  readonly from: string;
  readonly mode: number;
}

/** All files but those that are made, by their path in the release. */
export function releaseFiles(node: string, program: string): ReadonlyMap<string, ReleaseFile> {
  return new Map([
    ['LICENSE', own('LICENSE')],
    ['bin/switchyard', own('install/switchyard', 0o755)],
    ['install/install.sh', own('install/install.sh', 0o755)],
    ['install/kubelet.yaml', own('install/kubelet.yaml')],
    ['install/switchyard-kubelet.service', own('install/switchyard-kubelet.service')],
    ['installing-the-kubelet.md', own('docs/installing-the-kubelet.md')],
    ['kubelet.md', own('docs/kubelet.md')],
    ['lib/node', { from: node, mode: 0o755 }],
    ['lib/switchyard.mjs', { from: program, mode: 0o644 }],
  ]);
}

function own(path: string, mode = 0o644): ReleaseFile {
  return { from: join(root, path), mode };
}

/** Writes a release into a folder, as it is when it is unpacked. */
export async function layOut(
  files: ReadonlyMap<string, ReleaseFile>,
  version: string,
  folder: string,
): Promise<void> {
  const sums: string[] = [];
  const versionFile = `${version}\n`;
  for (const each of ['bin', 'install', 'lib'])
    await mkdir(join(folder, each), { recursive: true });
  await writeFile(join(folder, 'VERSION'), versionFile);
  sums.push(`${sha256(versionFile)}  VERSION\n`);
  for (const [path, { from, mode }] of files) {
    const to = join(folder, path);
    await copyFile(from, to);
    await chmod(to, mode);
    sums.push(`${sha256(await readFile(to))}  ${path}\n`);
  }
  await writeFile(join(folder, 'SHA256SUMS'), sums.join(''));
}

async function pack(arch: Architecture, out: string): Promise<string> {
  const { version } = packageJson;
  const name = `switchyard-${version}-linux-${arch.name}`;
  const work = await mkdtemp(join(tmpdir(), 'switchyard-release-'));
  try {
    const program = join(work, 'switchyard.mjs');
    await bundle('src/cli/main.ts', program);
    const node = await nodePackage(arch.nodePackage, (text) => process.stderr.write(`${text}\n`));
    await layOut(releaseFiles(join(node.folder, 'bin/node'), program), version, join(work, name));
    const file = join(out, `${name}.tar.gz`);
    await mkdir(out, { recursive: true });
    const alike = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'];
    await execa('tar', [...alike, '-C', work, '-I', 'gzip -n', '-cf', file, name]);
    return file;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function sha256(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      arch: { type: 'string', default: '' },
      out: { type: 'string', default: join(root, 'dist/release') },
    },
  });
  for (const name of values.arch.split(','))
    process.stdout.write(`${await pack(architectureOf(name), values.out)}\n`);
}
