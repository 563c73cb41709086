import { lstatSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { join, matchesGlob } from 'node:path';
import type { UnpackedPackage } from './apt.ts';
import type { Architecture } from './architecture.ts';
import type { Contents } from './contents.ts';
import { layer, mergedPath } from './tree.ts';
import type { Entry, Layer } from './tree.ts';

/** The layer of Debian's files, and of the few that are nobody's: links, folders, /etc/passwd. */
export function systemLayer(
  contents: Contents,
  packages: readonly UnpackedPackage[],
  architecture: Architecture,
  time: number,
): Layer {
  const taken = packages.map((each) =>
    takenOf(each, contents.packages[each.name] ?? [], architecture),
  );
  const entries = [...taken.flat(), ...packages.map(statusEntry), ...ownEntries(contents)];
  return layer('system', withCertificates(entries), time);
}

/** Certificates of a package, before they are joined. */
const certificates = 'usr/share/ca-certificates/';
const newline = 10;

function takenOf(
  { name, folder }: UnpackedPackage,
  globs: readonly string[],
  { triplet }: Architecture,
): readonly Entry[] {
  const wanted = globs.map((glob) => glob.replaceAll('$TRIPLET', triplet));
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).toSorted();
  const idle = wanted.filter((glob) => !paths.some((path) => matchesGlob(path, glob)));
  if (idle.length > 0) throw new Error(`${name} has no ${idle.join(', ')}`);
  const documents = new Set([`usr/share/doc/${name}`, `usr/share/doc/${name}/copyright`]);
  return paths
    .filter((path) => wanted.some((glob) => matchesGlob(path, glob)) || documents.has(path))
    .flatMap((path) => entryOf(join(folder, path), mergedPath(path), name));
}

function entryOf(file: string, path: string, part: string): readonly Entry[] {
  const status = lstatSync(file);
  if (status.isSymbolicLink()) return [{ path, part, kind: 'link', target: readlinkSync(file) }];
  if (!status.isFile()) return []; // folders come with what is in them
  const mode = (status.mode & 0o111) === 0 ? 0o644 : 0o755;
  return [{ path, part, kind: 'file', mode, data: readFileSync(file) }];
}

/** What scanners read to know which packages an image without dpkg is made of. */
function statusEntry({ name, control }: UnpackedPackage): Entry {
  const path = `var/lib/dpkg/status.d/${name}`;
  return { path, part: name, kind: 'file', mode: 0o644, data: Buffer.from(control) };
}

function ownEntries({ links, folders, files }: Contents): readonly Entry[] {
  const part = 'system';
  return [
    ...Object.entries(links)
      .filter(([path]) => !path.startsWith('usr/local/'))
      .map(([path, target]) => ({ path, part, kind: 'link', target }) as const),
    ...Object.entries(folders).map(
      ([path, mode]) => ({ path, part, kind: 'folder', mode }) as const,
    ),
    ...Object.entries(files).map(
      ([path, text]) =>
        ({ path, part, kind: 'file', mode: 0o644, data: Buffer.from(text) }) as const,
    ),
  ];
}

/** Joins the certificates into the one file that programs read, as Debian's update-ca-certificates does. */
function withCertificates(entries: readonly Entry[]): readonly Entry[] {
  const joined: Buffer[] = [];
  const others = entries.filter((entry) => {
    if (entry.kind !== 'file' || !entry.path.startsWith(certificates)) return true;
    joined.push(entry.data);
    if (entry.data.at(-1) !== newline) joined.push(Buffer.of(newline));
    return false;
  });
  const path = 'etc/ssl/certs/ca-certificates.crt';
  const data = Buffer.concat(joined);
  return [...others, { path, part: 'ca-certificates', kind: 'file', mode: 0o644, data }];
}
