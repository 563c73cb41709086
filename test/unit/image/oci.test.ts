import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { zstdDecompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { imageConfig } from '../../../scripts/image/config.ts';
import { image, layoutTar } from '../../../scripts/image/oci.ts';
import type { Compression, Image } from '../../../scripts/image/oci.ts';
import { layer } from '../../../scripts/image/tree.ts';
import type { Entry } from '../../../scripts/image/tree.ts';

const file = (path: string, text: string): Entry => ({
  path,
  part: 'p',
  kind: 'file',
  mode: 0o644,
  data: Buffer.from(text.repeat(1000)),
});

const config = imageConfig({ version: '1.2.3', revision: 'abc', time: 86_400 });
const make = async (compression: Compression, architecture = 'amd64'): Promise<Image> =>
  image({
    architecture,
    layers: [layer('one', [file('a', architecture)], 1), layer('two', [file('b', 'b')], 2)],
    config,
    time: 86_400,
    compression,
  });

interface Manifest {
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly digest: string; readonly mediaType: string }[];
}

const parsed = (made: Image, digest: string): unknown =>
  JSON.parse(made.blobs.get(digest)?.toString() ?? '');
const manifestOf = (made: Image): Manifest => parsed(made, made.digest) as Manifest;
const fromArchive = (archive: Buffer, path: string): string =>
  execFileSync('tar', ['--extract', '--to-stdout', '--file=-', path], {
    input: archive,
    encoding: 'utf8',
  });

/** The archive: an OCI image layout that names everything by its digest. */
describe('an image', () => {
  it.each<[Compression, string]>([
    ['none', 'tar'],
    ['gzip', 'tar+gzip'],
    ['zstd', 'tar+zstd'],
  ])('has its layers as %s, and each blob is what its digest says', async (compression, type) => {
    const made = await make(compression);
    for (const [digest, data] of made.blobs) {
      expect(digest).toBe(`sha256:${createHash('sha256').update(data).digest('hex')}`);
    }
    const { layers } = manifestOf(made);
    const mediaType = `application/vnd.oci.image.layer.v1.${type}`;
    expect(layers.map((each) => each.mediaType)).toEqual([mediaType, mediaType]);
  });

  it('names its layers before compression in its configuration: the ID is the same for all', async () => {
    const [plain, gzip, zstd] = await Promise.all([make('none'), make('gzip'), make('zstd')]);
    expect([gzip.id, zstd.id]).toEqual([plain.id, plain.id]);
    expect(new Set([plain.digest, gzip.digest, zstd.digest]).size).toBe(3);
    const { config: at, layers } = manifestOf(zstd);
    const { rootfs } = parsed(zstd, at.digest) as { rootfs: { diff_ids: readonly string[] } };
    expect(rootfs.diff_ids).toEqual(manifestOf(plain).layers.map(({ digest }) => digest));
    const packed = zstd.blobs.get(layers[0]?.digest ?? '') ?? Buffer.alloc(0);
    expect(zstdDecompressSync(packed)).toEqual(plain.blobs.get(rootfs.diff_ids[0] ?? ''));
  });

  it('says how it is started, and what it is', async () => {
    const made = await make('none');
    expect(parsed(made, made.id)).toMatchObject({
      os: 'linux',
      architecture: 'amd64',
      created: '1970-01-02T00:00:00Z',
      config: { Entrypoint: ['/usr/local/bin/switchyard'], User: '0:0' },
    });
    expect(config.Labels).toMatchObject({
      'org.opencontainers.image.version': '1.2.3',
      'org.opencontainers.image.revision': 'abc',
    });
  });

  it('is the same for the same layers', async () => {
    expect((await make('gzip')).digest).toBe((await make('gzip')).digest);
  });
});

describe('the archive', () => {
  it('names the image, for containerd and others', async () => {
    const made = await make('none');
    const index = fromArchive(layoutTar([made], 'example/x:7'), 'index.json');
    expect(JSON.parse(index)).toMatchObject({
      manifests: [
        {
          digest: made.digest,
          platform: { architecture: 'amd64', os: 'linux' },
          annotations: {
            'io.containerd.image.name': 'example/x:7',
            'org.opencontainers.image.ref.name': '7',
          },
        },
      ],
    });
  });

  it('has an index of two architectures', async () => {
    const made = [await make('none'), await make('none', 'arm64')];
    const archive = layoutTar(made, 'example/x:7');
    const { manifests } = JSON.parse(fromArchive(archive, 'index.json')) as {
      readonly manifests: readonly { readonly digest: string }[];
    };
    expect(manifests).toHaveLength(1);
    const path = `blobs/${manifests[0]?.digest.replace(':', '/')}`;
    const both = JSON.parse(fromArchive(archive, path)) as Manifest;
    expect(both).toMatchObject({
      manifests: made.map(({ digest, architecture }) => ({ digest, platform: { architecture } })),
    });
  });
});
