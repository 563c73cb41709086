// A real node whose disk of images fills: some of those that nobody uses go. It looks each five minutes.
import { mkdirSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { containerdRuntime } from './contract/runtimes.ts';
import { Trial, box, forever } from './contract/trial.ts';
import { World } from './contract/world.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import { run } from './node-machine.ts';

const mib = 1024 * 1024;
const cluster = new KubeletCluster(['n1']);
const [node = expect.fail()] = cluster.nodes;
/** Each takes some 20 MiB of the disk with the images. */
const large = ['a', 'b', 'c', 'd'].map((tag) =>
  busyboxImage(`docker.io/local/large:${tag}`, {}, Buffer.alloc(8 * mib, tag)),
);
const [used = expect.fail()] = large;
let world: World;
let trial: Trial;

// A disk of the node's own: what it is short of is nobody else's.
beforeAll(async () => {
  const ofImages = `${node.folder}/root`;
  mkdirSync(ofImages, { recursive: true });
  run('mount', '-t', 'tmpfs', '-o', 'size=128m,mode=711', 'tmpfs', ofImages);
  await cluster.start([pauseImage(), busyboxImage(), ...large]);
  const configuration = { imageGCHighThresholdPercent: 60, imageGCLowThresholdPercent: 45 };
  world = new World(containerdRuntime(node), cluster, { configuration });
  await world.start();
});

afterAll(async () => {
  await world.stop();
  await cluster.stop();
});

beforeEach(() => {
  trial = new Trial(world, 0);
});

afterEach(async () => {
  await trial.end();
});

describe('images', () => {
  it('that nobody uses go, those that containers have and that of sandboxes stay', async () => {
    const cri = node.connect();
    const names = async (): Promise<readonly string[]> => {
      const { images } = await cri.images.listImages({});
      return images.flatMap(({ repoTags }) => repoTags).toSorted();
    };
    const kept = ['docker.io/local/busybox:1', used.name, 'docker.io/local/pause:1'];
    const pod = await trial.pod({
      containers: [box('main', forever), { ...box('large', forever), image: used.name }],
    });
    await pod.running();
    const all = new Set([...kept, ...large.map(({ name }) => name)]);
    expect(await names()).toEqual([...all].toSorted());
    // It looks each five minutes, and ends where there is room enough: when two of three are gone.
    const left = kept.length + 1;
    await world.until('two are gone', async () => (await names()).length <= left, 330);
    await trial.runningPod();
    expect(await names()).toHaveLength(left);
    expect(await names()).toEqual(expect.arrayContaining(kept));
    expect((await pod.status()).phase).toBe('Running');
  }, 400_000);
});
