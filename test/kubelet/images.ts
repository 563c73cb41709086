/** OCI images made of this machine's static binaries, without a registry: the same bytes each time. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

/** A member of a tar file: a regular file, a folder or a symbolic link. */
type Member = {
  readonly path: string;
  readonly mode?: number;
} & (
  | { readonly type: 'file'; readonly data: Buffer }
  | { readonly type: 'folder' }
  | { readonly type: 'link'; readonly to: string }
);

/** What an image says of itself: `config` of the OCI image specification. */
interface ImageConfig {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env?: readonly string[];
  readonly User?: string;
  readonly WorkingDir?: string;
  readonly StopSignal?: string;
  readonly Labels?: Readonly<Record<string, string>>;
}

export interface BuiltImage {
  /** `docker.io/local/busybox:1`. */
  readonly name: string;
  /** An OCI image layout, for `ctr images import`. */
  readonly tar: Buffer;
  readonly manifest: Buffer;
  readonly manifestDigest: string;
  readonly blobs: ReadonlyMap<string, Buffer>;
}

const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The image of sandboxes: it waits, and reaps what has lost its parent. */
export function pauseImage(): BuiltImage {
  const binary = readFileSync('/usr/bin/catatonit');
  return buildImage('docker.io/local/pause:1', [executable('pause', binary)], {
    Entrypoint: ['/pause', '-P'],
    Env: [path],
  });
}

/** A single static program, which is all that there is in it. */
export function programImage(name: string, file: string): BuiltImage {
  const program = basename(file);
  return buildImage(
    name,
    [{ ...folder('tmp'), mode: 0o1777 }, executable(program, readFileSync(file))],
    {
      Entrypoint: [`/${program}`],
      Env: [path],
    },
  );
}

/** Busybox with all its programs; `/www/index.html` says hello. `ballast`: a file that makes it as large as one likes. */
export function busyboxImage(
  name = 'docker.io/local/busybox:1',
  config: ImageConfig = {},
  ballast?: Buffer,
): BuiltImage {
  const binary = readFileSync('/bin/busybox');
  const listed = execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' });
  const programs = listed.trim().split('\n');
  return buildImage(
    name,
    [
      ...['bin', 'etc', 'proc', 'sys', 'dev', 'root', 'var', 'www', 'home'].map(folder),
      { ...folder('tmp'), mode: 0o1777 },
      executable('bin/busybox', binary),
      ...programs
        .filter((program) => program !== 'busybox')
        .map((program): Member => ({ path: `bin/${program}`, type: 'link', to: 'busybox' })),
      text('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n'),
      text('etc/group', 'root:x:0:\nnogroup:x:65534:\n'),
      text('www/index.html', 'hello from busybox\n'),
      ...(ballast === undefined ? [] : [{ path: 'ballast', type: 'file', data: ballast } as const]),
    ],
    { Cmd: ['sh'], Env: [path], WorkingDir: '/', ...config },
  );
}

function folder(name: string): Member {
  return { path: `${name}/`, type: 'folder', mode: 0o755 };
}

function executable(name: string, data: Buffer): Member {
  return { path: name, type: 'file', mode: 0o755, data };
}

function text(name: string, value: string): Member {
  return { path: name, type: 'file', data: Buffer.from(value) };
}

function buildImage(name: string, members: readonly Member[], config: ImageConfig): BuiltImage {
  const blobs = new Map<string, Buffer>();
  const put = (data: Buffer): string => {
    const digest = sha256(data);
    blobs.set(digest, data);
    return `sha256:${digest}`;
  };
  const layer = tarOf(members);
  const layerDigest = put(layer);
  const image = json({
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    created: '1970-01-01T00:00:00Z',
    config,
    rootfs: { type: 'layers', diff_ids: [layerDigest] },
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: put(image),
      size: image.length,
    },
    layers: [
      {
        mediaType: 'application/vnd.oci.image.layer.v1.tar',
        digest: layerDigest,
        size: layer.length,
      },
    ],
  });
  const manifestDigest = put(manifest);
  const index = json({
    schemaVersion: 2,
    manifests: [
      {
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        digest: manifestDigest,
        size: manifest.length,
        annotations: { 'io.containerd.image.name': name },
      },
    ],
  });
  const tar = tarOf([
    { path: 'oci-layout', type: 'file', data: json({ imageLayoutVersion: '1.0.0' }) },
    { path: 'index.json', type: 'file', data: index },
    folder('blobs'),
    folder('blobs/sha256'),
    ...[...blobs].map(([digest, data]): Member => ({
      path: `blobs/sha256/${digest}`,
      type: 'file',
      data,
    })),
  ]);
  return { name, tar, manifest, manifestDigest, blobs };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function sha256(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

function tarOf(members: readonly Member[]): Buffer {
  return Buffer.concat([...members.map(tarMember), Buffer.alloc(1024)]);
}

const kinds = { file: '0', link: '2', folder: '5' } as const;

function tarMember(member: Member): Buffer {
  const data = member.type === 'file' ? member.data : Buffer.alloc(0);
  const header = Buffer.alloc(512);
  header.write(member.path, 0);
  header.write(octal(member.mode ?? (member.type === 'link' ? 0o777 : 0o644), 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(data.length, 12), 124);
  header.write(octal(0, 12), 136); // no date: the same digest each time
  header.write('        ', 148);
  header.write(kinds[member.type], 156);
  if (member.type === 'link') header.write(member.to, 157);
  header.write('ustar\u000000', 257);
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(octal(sum, 7) + ' ', 148);
  return Buffer.concat([header, data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, '0')}\0`;
}
