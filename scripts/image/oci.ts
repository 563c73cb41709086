import { createHash } from 'node:crypto';
import { zstdCompressSync, constants } from 'node:zlib';
import { execa } from 'execa';
import { layerTar } from './tar.ts';
import { layer } from './tree.ts';
import type { Entry, Layer } from './tree.ts';

export type Compression = 'gzip' | 'zstd' | 'none';

/** What a container of the image is started with (OCI image-spec, `config`). */
export interface ImageConfig {
  readonly User: string;
  readonly Env: readonly string[];
  readonly Entrypoint: readonly string[];
  readonly WorkingDir: string;
  readonly StopSignal: string;
  readonly Labels: Readonly<Record<string, string>>;
}

export interface ImageSpec {
  readonly architecture: string;
  readonly layers: readonly Layer[];
  readonly config: ImageConfig;
  /** In seconds since 1970. */
  readonly time: number;
  readonly compression: Compression;
}

/** A layer as it is shipped. */
export interface PackedLayer {
  readonly name: string;
  readonly bytes: number;
  readonly packedBytes: number;
}

/** An image of one architecture: a manifest and what it refers to, by digest. */
export interface Image {
  readonly architecture: string;
  /** Of the manifest. */
  readonly digest: string;
  /** Of the configuration, which names the layers before compression: it does not depend on that. */
  readonly id: string;
  readonly manifestBytes: number;
  readonly layers: readonly PackedLayer[];
  readonly blobs: ReadonlyMap<string, Buffer>;
}

const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const layerType = 'application/vnd.oci.image.layer.v1.tar';
const suffix: Readonly<Record<Compression, string>> = { gzip: '+gzip', zstd: '+zstd', none: '' };

export async function image(spec: ImageSpec): Promise<Image> {
  const blobs = new Map<string, Buffer>();
  const put = (data: Buffer): string => {
    const digest = digestOf(data);
    blobs.set(digest, data);
    return digest;
  };
  const tars = spec.layers.map(layerTar);
  const packed = await Promise.all(tars.map(async (tar) => pack(tar, spec.compression)));
  const created = new Date(spec.time * 1000).toISOString().replace('.000Z', 'Z');
  const config = json({
    created,
    architecture: spec.architecture,
    os: 'linux',
    config: spec.config,
    rootfs: { type: 'layers', diff_ids: tars.map(digestOf) },
    history: spec.layers.map(({ name, time }) => ({
      created: new Date(time * 1000).toISOString().replace('.000Z', 'Z'),
      created_by: `npm run image: ${name}`,
    })),
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: manifestType,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: put(config),
      size: config.length,
    },
    layers: packed.map((data) => ({
      mediaType: `${layerType}${suffix[spec.compression]}`,
      digest: put(data),
      size: data.length,
    })),
    annotations: spec.config.Labels,
  });
  return {
    architecture: spec.architecture,
    digest: put(manifest),
    id: digestOf(config),
    manifestBytes: manifest.length,
    layers: spec.layers.map(({ name }, index) => ({
      name,
      bytes: tars[index]?.length ?? 0,
      packedBytes: packed[index]?.length ?? 0,
    })),
    blobs,
  };
}

/** An OCI image layout as one archive: for `ctr images import`, `podman load`, `skopeo copy oci-archive:…`, `docker load`. */
export function layoutTar(images: readonly Image[], name: string): Buffer {
  const blobs = new Map(images.flatMap((each) => [...each.blobs]));
  const manifests = images.map((each) => ({
    mediaType: manifestType,
    digest: each.digest,
    size: each.manifestBytes,
    platform: { architecture: each.architecture, os: 'linux' },
  }));
  const annotations = {
    'io.containerd.image.name': name,
    'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
  };
  const index = (list: readonly object[]): Buffer =>
    json({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: list,
    });
  let top: object | undefined = manifests[0];
  if (images.length > 1) {
    const both = index(manifests);
    blobs.set(digestOf(both), both);
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    top = { mediaType, digest: digestOf(both), size: both.length };
  }
  const entries = [
    file('oci-layout', json({ imageLayoutVersion: '1.0.0' })),
    file('index.json', index([{ ...top, annotations }])),
    ...[...blobs].map(([digest, data]) => file(`blobs/${digest.replace(':', '/')}`, data)),
  ];
  return layerTar(layer('', entries, 0));
}

function file(path: string, data: Buffer): Entry {
  return { path, part: '', kind: 'file', mode: 0o644, data };
}

/** GNU gzip, and not Node’s: that one’s output depends on the processor. */
async function pack(data: Buffer, compression: Compression): Promise<Buffer> {
  if (compression === 'none') return data;
  if (compression === 'zstd') {
    return zstdCompressSync(data, { params: { [constants.ZSTD_c_compressionLevel]: 19 } });
  }
  const { stdout } = await execa('gzip', ['-9', '--no-name'], { input: data, encoding: 'buffer' });
  return Buffer.from(stdout);
}

function digestOf(data: Buffer): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`;
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
