// Which images go, when, and which never do.
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ImageGcConfig } from '../../../../src/config/eviction-config.ts';
import { ImageGc } from '../../../../src/kubelet/housekeeping/image-gc.ts';
import { pauseImageOf } from '../../../../src/kubelet/housekeeping/image-choice.ts';
import { ImageRecords } from '../../../../src/kubelet/housekeeping/image-records.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { VirtualClock, settle } from '../../proxy/virtual-clock.ts';

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;
const usual: ImageGcConfig = {
  highPercent: 85,
  lowPercent: 80,
  minAgeMs: 2 * minuteMs,
  maxAgeMs: 0,
};

interface SceneImage {
  readonly tags: readonly string[];
  readonly size: number;
  readonly pinned?: boolean;
  readonly digests?: readonly string[];
}

/** A runtime with images, on a disk of 1,000 bytes. */
class Scene {
  readonly clock = new VirtualClock();
  readonly folder = ownFolder('switchyard-images');
  readonly images = new Map<string, SceneImage>();
  readonly containers: { image: string; ref: string }[] = [];
  readonly wanted: string[] = [];
  readonly told: string[] = [];
  readonly counted: string[] = [];
  readonly refused = new Set<string>();
  info: Record<string, string> = {};
  isReady = true;
  /** After an image went. */
  gone: (id: string) => void = () => {};
  /** Beside the images. */
  otherBytes = 0;
  capacity = 1000;

  constructor() {
    this.clock.setDate(Date.UTC(2026, 0, 1));
  }

  get names(): readonly string[] {
    return [...this.images.keys()];
  }

  add(id: string, size = 100, more: Partial<SceneImage> = {}): void {
    this.images.set(id, { tags: [`docker.io/local/${id}:1`], size, ...more });
  }

  async wait(ms: number): Promise<void> {
    await this.clock.advance(ms);
  }

  gc(config: Partial<ImageGcConfig> = {}): ImageGc {
    const list = async () =>
      Promise.resolve({
        images: [...this.images].map(([id, { tags, size, pinned = false, digests = [] }]) => ({
          id,
          repoTags: [...tags],
          repoDigests: [...digests],
          size: BigInt(size),
          pinned,
        })),
      });
    const remove = async ({ image }: { image: { image: string } }) => {
      if (this.refused.has(image.image)) throw new Error('in use');
      this.images.delete(image.image);
      this.gone(image.image);
      return Promise.resolve({});
    };
    return new ImageGc({
      config: { ...usual, ...config },
      images: {
        listImages: list,
        removeImage: remove,
        imageFsInfo: async () =>
          Promise.resolve({ imageFilesystems: [{ fsId: { mountpoint: '/images' } }] }),
      } as never,
      runtime: {
        listContainers: async () =>
          Promise.resolve({
            containers: this.containers.map(({ image, ref }) => ({
              image: { image },
              imageRef: ref,
            })),
          }),
        status: async () => Promise.resolve({ info: this.info }),
      } as never,
      records: new ImageRecords(join(this.folder, 'images.json')),
      wanted: () => this.wanted,
      isReady: () => this.isReady,
      readSpace: async () => {
        const used = [...this.images.values()].reduce((sum, { size }) => sum + size, 0);
        const availableBytes = this.capacity - used - this.otherBytes;
        return Promise.resolve({ bytes: this.capacity, availableBytes, inodes: 1, freeInodes: 1 });
      },
      events: {
        tell: (type, reason, message) => void this.told.push(`${type} ${reason} ${message}`),
      },
      removed: (reason) => void this.counted.push(reason),
      clock: this.clock,
      log: silentLog,
    });
  }

  async collect(config: Partial<ImageGcConfig> = {}): Promise<void> {
    await this.gc(config).collect(never);
  }
}

const never = new AbortController().signal;
let scene: Scene;

afterEach(() => rmSync(scene.folder, { recursive: true, force: true }));

/** So many images of 100 bytes, known for long. */
async function full(...ids: readonly string[]): Promise<Scene> {
  scene = new Scene();
  for (const id of ids) scene.add(id);
  await scene.collect({ highPercent: 100 });
  await scene.wait(dayMs);
  return scene;
}

const nine = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'];

describe('a disk that is fuller than it may be', () => {
  it('loses images until it is as empty as it should be, and no more', async () => {
    await full(...nine);
    await scene.collect();
    expect(scene.names).toHaveLength(8);
    expect(scene.counted).toEqual(['space']);
    await scene.collect();
    expect(scene.names).toHaveLength(8);
  });

  it('keeps all of them at 100 percent, and where it is not so full', async () => {
    await full(...nine);
    await scene.collect({ highPercent: 100, lowPercent: 80 });
    await scene.collect({ highPercent: 91 });
    expect(scene.names).toHaveLength(9);
  });

  it('loses first what was used least lately, then what is there for longest', async () => {
    await full('a', 'b');
    scene.containers.push({ image: 'a', ref: 'a' });
    await scene.collect({ highPercent: 100 });
    scene.containers.length = 0;
    scene.add('z');
    await scene.collect({ highPercent: 100 });
    await scene.wait(dayMs);
    scene.otherBytes = 600;
    await scene.collect();
    expect(scene.names).toEqual(['a', 'z']);
    scene.otherBytes = 700;
    await scene.collect();
    expect(scene.names).toEqual(['a']);
  });

  it('keeps what containers have, what pods name, what is pinned, and the image of sandboxes', async () => {
    scene = new Scene();
    scene.add('running');
    scene.add('dead', 100, { tags: ['docker.io/library/dead:1'] });
    scene.add('named', 100, { tags: ['docker.io/library/nginx:latest'] });
    scene.add('pinned', 100, { pinned: true });
    scene.add('pause', 100, { tags: ['registry.example/pause:3.9'] });
    scene.add('sandbox', 100, { tags: ['docker.io/local/infra:1'] });
    scene.add('free', 300);
    scene.containers.push({ image: 'x', ref: 'running' }, { image: 'dead:1', ref: '' });
    scene.wanted.push('nginx:latest');
    scene.info = { config: JSON.stringify({ sandboxImage: 'local/infra:1' }) };
    await scene.collect({ highPercent: 100 });
    await scene.wait(dayMs);
    const kept = ['running', 'dead', 'named', 'pinned', 'pause', 'sandbox'];
    await scene.collect();
    expect(scene.names).toEqual(kept);
    await scene.gc().removeUnused(never);
    expect(scene.names).toEqual(kept);
  });

  it.each([
    ['a pod names', (id: string) => void scene.wanted.push(`local/${id}:1`)],
    ['a container has', (id: string) => void scene.containers.push({ image: '', ref: id })],
  ])('keeps what %s since others went', async (_who, use) => {
    await full('a', 'b', 'c');
    scene.gone = () => {
      for (const id of scene.names.slice(0, 1)) use(id);
    };
    scene.otherBytes = 700;
    await scene.collect();
    expect(scene.names).toEqual(['b']);
  });

  it.each([
    ['local/a:1@sha256:00ff', 'docker.io/local/a@sha256:00ff'],
    ['host.example:5000/a:v1.2-x@sha256:00ff', 'host.example:5000/a@sha256:00ff'],
    ['host.example:5000/a@sha256:00ff', 'host.example:5000/a@sha256:00ff'],
    ['docker.io/busybox:1@sha256:00ff', 'docker.io/library/busybox@sha256:00ff'],
  ])('keeps what a pod names as %s', async (name, digest) => {
    scene = new Scene();
    scene.add('a', 100, { tags: [], digests: [digest] });
    scene.add('free');
    scene.wanted.push(name);
    await scene.gc().removeUnused(never);
    expect(scene.names).toEqual(['a']);
  });

  it('keeps all of them until the pods of the node are known', async () => {
    await full(...nine);
    scene.isReady = false;
    await scene.collect({ maxAgeMs: minuteMs });
    await scene.gc().removeUnused(never);
    expect(scene.names).toEqual(nine);
    scene.isReady = true;
    await scene.gc().removeUnused(never);
    expect(scene.names).toEqual([]);
  });

  it('keeps young ones, also over a restart of the agent; for an eviction they go, too', async () => {
    await full(...nine.slice(0, 1));
    scene.add('young', 800);
    scene.containers.push({ image: 'a', ref: 'a' });
    await expect(scene.collect()).rejects.toThrow('Attempted to free 100 bytes, but only found 0');
    await scene.wait(minuteMs);
    await expect(scene.collect()).rejects.toThrow('only found 0 bytes eligible');
    await scene.gc().removeUnused(never);
    expect(scene.names).toEqual(['a']);
    scene.add('grown', 800);
    await expect(scene.collect()).rejects.toThrow('only found 0 bytes eligible');
    await scene.wait(2 * minuteMs);
    await scene.collect();
    expect(scene.names).toEqual(['a']);
  });

  it('loses at the first look what was there when the agent began', async () => {
    scene = new Scene();
    for (const id of nine) scene.add(id);
    const stop = new AbortController();
    const running = scene.gc().run(stop.signal);
    const known = join(scene.folder, 'images.json');
    await vi.waitFor(() => expect(existsSync(known)).toBe(true));
    scene.add('young', 10);
    await scene.wait(5 * minuteMs);
    await vi.waitFor(() => expect(scene.names).toHaveLength(8));
    expect(scene.names).toContain('young');
    stop.abort();
    await running;
  });

  it('tells where there is too little to remove, and goes on past what cannot be', async () => {
    await full(...nine);
    scene.otherBytes = 80;
    scene.refused.add('a');
    await scene.collect();
    expect(scene.names).toHaveLength(7);
    expect(scene.names).toContain('a');
    scene.otherBytes = 900;
    scene.images.clear();
    await expect(scene.collect()).rejects.toThrow('Attempted to free 100 bytes');
    expect(scene.told).toEqual([
      'Warning FreeDiskSpaceFailed Failed to garbage collect required amount of images. Attempted to free 100 bytes, but only found 0 bytes eligible to free.',
    ]);
  });

  it('is believed only where what it says of itself can be', async () => {
    await full(...nine);
    scene.capacity = 0;
    await expect(scene.collect()).rejects.toThrow('invalid capacity 0 on image filesystem');
    expect(scene.told[0]).toContain('Warning InvalidDiskCapacity');
    expect(scene.names).toHaveLength(9);
  });
});

describe('age', () => {
  it('takes what was not used for longer, by what earlier agents have seen', async () => {
    await full('a', 'b');
    scene.containers.push({ image: 'a', ref: 'a' });
    await scene.collect({ maxAgeMs: 7 * dayMs });
    scene.containers.length = 0;
    await scene.wait(5 * dayMs);
    await scene.collect({ maxAgeMs: 7 * dayMs });
    expect(scene.names).toEqual(['a', 'b']);
    await scene.wait(dayMs + 1);
    await scene.collect({ maxAgeMs: 7 * dayMs });
    expect(scene.names).toEqual(['a']);
    expect(scene.counted).toEqual(['age']);
  });

  it('is not known where the file with it is none of ours', async () => {
    await full('a');
    writeFileSync(join(scene.folder, 'images.json'), '{"images":{"a":{"detectedMs":"long ago"}}}');
    await scene.collect({ maxAgeMs: minuteMs });
    expect(scene.names).toEqual(['a']);
  });
});

it('each five minutes images are looked at, and what fails twice in a row is told of', async () => {
  await full(...nine);
  scene.otherBytes = 5000;
  const stop = new AbortController();
  const running = scene.gc().run(stop.signal);
  const reasons = (): readonly string[] => scene.told.map((text) => text.split(' ')[1] ?? '');
  await scene.wait(5 * minuteMs);
  await vi.waitFor(() => expect(reasons()).toEqual(['InvalidDiskCapacity']));
  await settle();
  await scene.wait(5 * minuteMs);
  const again = ['InvalidDiskCapacity', 'InvalidDiskCapacity', 'ImageGCFailed'];
  await vi.waitFor(() => expect(reasons()).toEqual(again));
  stop.abort();
  await running;
});

it('the image of sandboxes is read of what containerd says of itself', () => {
  expect(pauseImageOf({ config: '{"sandboxImage":"local/pause:1"}' })).toBe('local/pause:1');
  for (const info of [{}, { config: '{' }, { config: '{"sandboxImage":5}' }]) {
    expect(pauseImageOf(info as Record<string, string>)).toBeUndefined();
  }
});
