// A real node that is short: of disk, where pods are evicted; pods above their limits of storage; and images of which some go.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { readDiskSpace } from '../../src/host/disk-space.ts';
import { ImageGc } from '../../src/kubelet/housekeeping/image-gc.ts';
import { ImageRecords } from '../../src/kubelet/housekeeping/image-records.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { containerdRuntime } from './contract/runtimes.ts';
import { conditionOf } from './contract/test-pod.ts';
import { Trial, box, forever, one } from './contract/trial.ts';
import { World } from './contract/world.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletCluster } from './kubelet-cluster.ts';

const cluster = new KubeletCluster(['n1']);
const never = new AbortController().signal;
const unused = ['a', 'b', 'c'].map((tag) =>
  busyboxImage(`docker.io/local/unused:${tag}`, { StopSignal: `SIG${tag}` }),
);
let world: World;
let trial: Trial;

beforeAll(async () => {
  await cluster.start([pauseImage(), busyboxImage(), ...unused]);
  const node = cluster.nodes[0] ?? expect.fail();
  // A disk of the node's own: what it is short of is nobody else's.
  const disk = `${node.folder}/kubelet`;
  node.run('mkdir', '-p', disk);
  node.run('mount', '-t', 'tmpfs', '-o', 'size=128m,mode=755', 'tmpfs', disk);
  world = new World(containerdRuntime(node), cluster, {
    configuration: {
      evictionHard: { 'nodefs.available': '50Mi' },
      evictionPressureTransitionPeriod: '3s',
      nodeStatusUpdateFrequency: '1s',
      volumeStatsAggPeriod: '1s',
    },
  });
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

/** A pod that writes so much into a volume on the disk, and waits. */
function writing(mib: number, more: object = {}, container: object = {}): object {
  const script = `dd if=/dev/zero of=/data/file bs=1M count=${mib} 2>/dev/null; ${forever}`;
  const mount = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };
  return {
    containers: [box('main', script, { ...mount, ...container })],
    volumes: [{ name: 'data', emptyDir: more }],
  };
}

function limit(size: string): object {
  return { resources: { limits: { 'ephemeral-storage': size } } };
}

describe('limits of storage', () => {
  it('an emptyDir that is larger than it may be ends its pod', async () => {
    const large = await trial.pod(writing(3, { sizeLimit: '1Mi' }));
    const small = await trial.pod(writing(1, { sizeLimit: '2Mi' }));
    const status = await large.phase('Failed');
    const message = 'Usage of EmptyDir volume "data" exceeds the limit "1Mi". ';
    expect(status).toMatchObject({ reason: 'Evicted', message });
    expect(conditionOf(status, 'DisruptionTarget')).toBeUndefined();
    await large.event('Evicted', message);
    expect((await small.status()).phase).toBe('Running');
  });

  it('a container that writes more than it may ends its pod', async () => {
    const script = `dd if=/dev/zero of=/file bs=1M count=5 2>/dev/null; ${forever}`;
    const spec = (size: string): object => ({
      containers: [box('main', script, limit(size)), box('other', forever, limit('20Mi'))],
    });
    const above = await trial.pod(spec('2Mi'));
    const within = await trial.pod(spec('9Mi'));
    const { reason, message } = await above.phase('Failed');
    expect([reason, message]).toEqual([
      'Evicted',
      'Container main exceeded its local ephemeral storage limit "2Mi". ',
    ]);
    expect((await within.status()).phase).toBe('Running');
  });
});

describe('a disk that is short', () => {
  it('evicts the pod that uses the most of what it did not ask for; others go on, and new ones are refused until it is over', async () => {
    const modest = await trial.pod(writing(2));
    await modest.phase('Running');
    const request = { resources: { requests: { 'ephemeral-storage': '45Mi' } } };
    const asks = await trial.pod(writing(10, {}, request));
    await asks.phase('Running');
    const greedy = await trial.pod(writing(70));
    const status = await greedy.phase('Failed');
    expect(status.reason).toBe('Evicted');
    expect(status.message).toMatch(
      /^The node was low on resource: ephemeral-storage\. Threshold quantity: 50Mi, available: \d+Ki\. $/,
    );
    expect(conditionOf(status, 'DisruptionTarget')).toMatchObject({
      status: 'True',
      reason: 'TerminationByKubelet',
      message: status.message,
    });
    const late = await trial.pod(one(forever));
    expect(await late.phase('Failed')).toMatchObject({
      reason: 'Evicted',
      message: 'Pod was rejected: The node had condition: [DiskPressure]. ',
    });
    await world.until('the node is under no pressure', async () => {
      return (await world.condition('DiskPressure')) === 'False';
    });
    expect(world.kubelet.log).toContain('NodeHasDiskPressure');
    expect((await modest.status()).phase).toBe('Running');
    expect((await asks.status()).phase).toBe('Running');
    await trial.runningPod();
  });
});

describe('images', () => {
  it('that nobody uses go, those that containers have and that of sandboxes stay', async () => {
    await trial.runningPod();
    const { cri, runtime } = world;
    const names = async (): Promise<readonly string[]> => {
      const { images } = await cri.images.listImages({});
      return images.flatMap(({ repoTags }) => repoTags).toSorted();
    };
    const kept = ['docker.io/local/busybox:1', 'docker.io/local/pause:1'];
    expect(await names()).toEqual([...kept, ...unused.map(({ name }) => name)]);
    const removed: string[] = [];
    const told: string[] = [];
    const gc = new ImageGc({
      config: { highPercent: 1, lowPercent: 0, minAgeMs: 0, maxAgeMs: 0 },
      images: cri.images,
      runtime: cri.runtime,
      records: new ImageRecords(`${runtime.node.folder}/images.json`),
      wanted: () => [],
      isReady: () => true,
      readSpace: readDiskSpace,
      events: { tell: (_type, reason) => void told.push(reason) },
      removed: (reason) => void removed.push(reason),
      clock: systemClock,
      log: silentLog,
    });
    await expect(gc.collect(never)).rejects.toThrow('Failed to garbage collect');
    expect(await names()).toEqual(kept);
    expect([removed, told]).toEqual([['space', 'space', 'space'], ['FreeDiskSpaceFailed']]);
  });
});
