import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundle } from '../bundle.ts';
import { Apt } from './apt.ts';
import type { UnpackedPackage } from './apt.ts';
import type { Architecture } from './architecture.ts';
import type { Provenance } from './config.ts';
import { readContents, root } from './contents.ts';
import type { Contents } from './contents.ts';
import { strip } from './elf.ts';
import { licencesOf } from './licences.ts';
import { checkLock } from './lock.ts';
import type { Lock } from './lock.ts';
import { licenceFiles, nodePackage, packagesOf } from './npm-packages.ts';
import type { NpmPackage } from './npm-packages.ts';
import { spdx } from './spdx.ts';
import { systemLayer } from './system-layer.ts';
import { layer, Tree } from './tree.ts';
import type { Entry, Layer } from './tree.ts';

/** What an image of one architecture is made of. */
export interface Materialised {
  readonly architecture: Architecture;
  /** The base first: what changes most often comes last, so that an update fetches little. */
  readonly layers: readonly Layer[];
  /** SPDX in JSON; it is in the image too. */
  readonly sbom: string;
}

/** Where the bill of materials lies in the image. */
export const sbomFolder = 'var/lib/db/sbom';

/** Fetches what is not there yet and puts the layers together. Everything but the last layer is of the lock’s time. */
export async function materialise(
  architecture: Architecture,
  lock: Lock,
  made: Provenance,
  say: (text: string) => void,
): Promise<Materialised> {
  const contents = readContents();
  const packages = lock.packages[architecture.name];
  checkLock(packages, Object.keys(contents.packages));
  const debian = await new Apt(architecture, say).unpacked(packages);
  const node = await nodePackage(architecture.nodePackage, say);
  const { program, npm } = await bundled();
  const system = systemLayer(contents, debian, architecture, lock.time);
  const tree = new Tree([system]);
  const sbom = spdx({
    ...made,
    architecture: architecture.name,
    node,
    npm,
    debian: debian.map((each) => ({ ...each, licences: licencesOf(copyrightOf(each, tree)) })),
  });
  const layers = [
    system,
    layer('node', nodeEntries(node), lock.time),
    layer('switchyard', switchyardEntries(contents, program, npm, sbom, made.version), made.time),
  ];
  return { architecture, layers, sbom };
}

/** The program as one file, and the npm packages in it. */
async function bundled(): Promise<{ program: Buffer; npm: readonly NpmPackage[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-image-'));
  try {
    const file = join(folder, 'switchyard.mjs');
    const inputs = await bundle('src/cli/main.ts', file, '/usr/local/bin/node');
    return { program: readFileSync(file), npm: packagesOf(inputs) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function nodeEntries(node: NpmPackage): readonly Entry[] {
  const program = strip(readFileSync(join(node.folder, 'bin/node')));
  return [
    { path: 'usr/local/bin/node', part: 'node', kind: 'file', mode: 0o755, data: program },
    document('node', 'usr/share/doc/node/LICENSE', readFileSync(join(node.folder, 'LICENSE'))),
  ];
}

function switchyardEntries(
  { links }: Contents,
  program: Buffer,
  npm: readonly NpmPackage[],
  sbom: string,
  version: string,
): readonly Entry[] {
  const part = 'switchyard';
  const documents = 'usr/share/doc/switchyard';
  const notices = npm.flatMap((each) =>
    licenceFiles(each).map((name) => {
      const path = `${documents}/npm/${each.name}-${each.version}/${name}`;
      return document(part, path, readFileSync(join(each.folder, name)));
    }),
  );
  const path = 'usr/local/lib/switchyard/switchyard.mjs';
  return [
    { path, part, kind: 'file', mode: 0o755, data: program },
    ...Object.entries(links)
      .filter(([link]) => link.startsWith('usr/local/'))
      .map(([link, target]) => ({ path: link, part, kind: 'link', target }) as const),
    document(part, `${documents}/LICENSE`, readFileSync(join(root, 'LICENSE'))),
    ...notices,
    document(part, `${sbomFolder}/switchyard-${version}.spdx.json`, Buffer.from(sbom)),
  ];
}

function document(part: string, path: string, data: Buffer): Entry {
  return { path, part, kind: 'file', mode: 0o644, data };
}

/** Of some packages another one’s: the folder is a link. */
function copyrightOf({ name }: UnpackedPackage, tree: Tree): string {
  const entry = tree.find(`/usr/share/doc/${name}/copyright`);
  if (entry?.kind !== 'file') throw new Error(`${name} has no copyright file`);
  return entry.data.toString();
}
