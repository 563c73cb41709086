// `npm run image`: the container image, made of the list in image/contents.yaml without Docker: an OCI image layout as one
// archive, its bill of materials, and what it all weighs. The same checkout gives the same bytes. docs/image.md
// usage: npm run image [-- --arch=amd64,arm64 --compression=gzip|zstd|none --name=NAME:TAG --out=dist/image]
//        npm run image -- --root=FOLDER [--arch=ARCH]   a folder a layer, for the Dockerfile
//        npm run image -- --update-lock                 locks the newest versions of the Debian packages
//        npm run image -- --newest …                    the newest versions, locked or not, this once
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { Apt } from './image/apt.ts';
import { architectureOf, architectures } from './image/architecture.ts';
import type { Architecture } from './image/architecture.ts';
import { faultsOf } from './image/completeness.ts';
import { imageConfig, provenance } from './image/config.ts';
import type { Provenance } from './image/config.ts';
import { readContents } from './image/contents.ts';
import { materialise } from './image/layers.ts';
import type { Materialised } from './image/layers.ts';
import { readLock, writeLock } from './image/lock.ts';
import type { Lock } from './image/lock.ts';
import { image, layoutTar } from './image/oci.ts';
import type { Compression, Image } from './image/oci.ts';
import { writeLayer } from './image/root-folder.ts';
import { weighed } from './image/weights.ts';
import { Tree } from './image/tree.ts';

const { values } = parseArgs({
  options: {
    arch: { type: 'string', default: '' },
    compression: { type: 'string', default: 'gzip' },
    name: { type: 'string' },
    out: { type: 'string', default: 'dist/image' },
    root: { type: 'string' },
    newest: { type: 'boolean', default: false },
    'update-lock': { type: 'boolean', default: false },
  },
});

const say = (text: string): void => void process.stderr.write(`image: ${text}\n`);

try {
  if (values['update-lock']) writeLock(await newestLock(Object.values(architectures)));
  else await build();
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}

async function build(): Promise<void> {
  const wanted = values.arch.split(',').map(architectureOf);
  const locked = readLock();
  const made = provenance(locked.time, process.env);
  const lock = values.newest ? { ...(await newestLock(wanted)), time: made.time } : locked;
  const parts: Materialised[] = [];
  for (const architecture of wanted) {
    const each = await materialise(architecture, lock, made, say);
    const faults = faultsOf(new Tree(each.layers), architecture);
    if (faults.length > 0) throw new Error(`${architecture.name}:\n  ${faults.join('\n  ')}`);
    parts.push(each);
  }
  if (values.root === undefined) await writeImages(parts, made);
  else writeRoots(parts, values.root);
}

async function newestLock(wanted: readonly Architecture[]): Promise<Lock> {
  const names = Object.keys(readContents().packages);
  const packages = { amd64: {}, arm64: {} };
  for (const architecture of wanted) {
    packages[architecture.name] = await new Apt(architecture, say).candidates(names);
  }
  return { time: Math.floor(Date.now() / 1000), packages };
}

function writeRoots(parts: readonly Materialised[], folder: string): void {
  const [only] = parts;
  if (only === undefined || parts.length > 1) throw new Error('--root takes one architecture');
  for (const layer of only.layers) writeLayer(layer, join(folder, layer.name));
  say(`${only.architecture.name}: ${only.layers.map(({ name }) => name).join(', ')} in ${folder}`);
}

async function writeImages(parts: readonly Materialised[], made: Provenance): Promise<void> {
  const images: Image[] = [];
  for (const { layers, architecture } of parts) {
    const config = imageConfig(made);
    const { name } = architecture;
    const compression = compressionOf(values.compression);
    images.push(await image({ architecture: name, layers, config, time: made.time, compression }));
  }
  mkdirSync(values.out, { recursive: true });
  const architecture = parts.map((each) => each.architecture.name).join('-');
  const base = `switchyard-${made.version}-${architecture}`;
  const reference = values.name ?? `switchyard:${made.version}`;
  writeFileSync(join(values.out, `${base}.oci.tar`), layoutTar(images, reference));
  for (const { sbom, architecture: each } of parts) {
    const file = `switchyard-${made.version}-${each.name}.spdx.json`;
    writeFileSync(join(values.out, file), sbom);
  }
  for (const [index, each] of images.entries()) {
    process.stdout.write(weighed(each, parts[index]?.layers ?? []));
  }
  process.stdout.write(`${join(values.out, `${base}.oci.tar`)}: ${reference}\n`);
}

function compressionOf(name: string): Compression {
  if (name === 'gzip' || name === 'zstd' || name === 'none') return name;
  throw new Error(`--compression=${name}: expected gzip, zstd or none`);
}
