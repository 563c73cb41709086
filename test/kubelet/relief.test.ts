// A real node that is short of memory, disk or files, where pods are evicted; and pods above their limits of storage.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { PodStatus } from '../../src/kubelet/pod/pod-status.ts';
import { containerdRuntime } from './contract/runtimes.ts';
import { conditionOf } from './contract/test-pod.ts';
import type { TestPod } from './contract/test-pod.ts';
import { Trial, box, forever, one } from './contract/trial.ts';
import { World } from './contract/world.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import { NodeMemory } from './node-memory.ts';

const mib = 1024 * 1024;
const cluster = new KubeletCluster(['n1']);
const [node = expect.fail()] = cluster.nodes;
const memory = new NodeMemory(node, 320 * mib);
let world: World;
let trial: Trial;

// Memory and a disk of the node's own: what it is short of is nobody else's.
beforeAll(async () => {
  await cluster.start([pauseImage(), busyboxImage()]);
  const disk = `${node.folder}/kubelet`;
  node.run('mkdir', '-p', disk);
  node.run('mount', '-t', 'tmpfs', '-o', 'size=140m,nr_inodes=4000,mode=755', 'tmpfs', disk);
  await memory.begin();
  world = new World(containerdRuntime(node), cluster, {
    configuration: {
      evictionHard: {
        'memory.available': '100Mi',
        'nodefs.available': '50Mi',
        'nodefs.inodesFree': '1500',
      },
      evictionPressureTransitionPeriod: '5s',
      nodeStatusUpdateFrequency: '1s',
      volumeStatsAggPeriod: '1s',
    },
  });
  await world.start();
});

afterAll(async () => {
  await world.stop();
  memory.end();
  await cluster.stop();
});

beforeEach(() => {
  trial = new Trial(world, 0);
});

afterEach(async () => {
  await trial.end();
});

/** Waits until it was evicted; answers its status. */
async function evicted(pod: TestPod): Promise<PodStatus> {
  const status = await pod.waitFor('it fails', ({ phase }) => phase === 'Failed', 90);
  expect(status.reason).toBe('Evicted');
  await pod.event('Evicted', status.message);
  return status;
}

/** For want of something of the node. */
async function evictedForNode(pod: TestPod, message: RegExp): Promise<void> {
  const status = await evicted(pod);
  expect(status.message).toMatch(message);
  expect(conditionOf(status, 'DisruptionTarget')).toMatchObject({
    status: 'True',
    reason: 'TerminationByKubelet',
    message: status.message,
  });
}

async function refused(pod: TestPod, pressure: string): Promise<void> {
  expect(await pod.phase('Failed')).toMatchObject({
    reason: 'Evicted',
    message: `Pod was rejected: The node had condition: [${pressure}]. `,
  });
}

/** The node has told of the pressure and what it did, and it is over. */
async function over(pressure: string, event: string, resource: string): Promise<void> {
  await world.until(`no ${pressure}`, async () => (await world.condition(pressure)) === 'False');
  const path = `/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D${node.name}`;
  await world.until(`the node tells ${event}, and of ${resource}`, async () => {
    const told = (await cluster.get<{ items: { reason: string; message: string }[] }>(path))?.items;
    const messages = (reason: string) =>
      (told ?? []).filter((each) => each.reason === reason).map(({ message }) => message);
    const reclaims = messages('EvictionThresholdMet');
    return messages(event).length > 0 && reclaims.includes(`Attempting to reclaim ${resource}`);
  });
}

async function isUp(...pods: readonly TestPod[]): Promise<void> {
  for (const pod of pods) expect((await pod.status()).phase).toBe('Running');
}

/** A pod that runs a script with a volume on the disk at /data, and waits. */
function onDisk(script: string, more: object = {}, container: object = {}): object {
  const mount = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };
  return {
    ...one(`${script}; ${forever}`, { ...mount, ...container }),
    volumes: [{ name: 'data', emptyDir: more }],
  };
}

function writing(size: number, more: object = {}, container: object = {}): object {
  const script = `dd if=/dev/zero of=/data/file bs=1M count=${size} 2>/dev/null`;
  return onDisk(script, more, container);
}

/** So many empty files beside one of so many MiB. */
function filling(count: number, size: number): object {
  const files = `for i in $(seq ${count}); do : > /data/$i; done`;
  return onDisk(`${files}; dd if=/dev/zero of=/data/large bs=1M count=${size} 2>/dev/null`);
}

/** A pod with a process that has so many MiB of memory. */
function keeping(size: number, resources: object = {}): object {
  return one(`{ head -c ${size}m /dev/zero; sleep 1000; } | tail -c ${size}m`, { resources });
}

function limit(size: string): object {
  return { resources: { limits: { 'ephemeral-storage': size } } };
}

describe('limits of storage', () => {
  it('an emptyDir that is larger than it may be ends its pod', async () => {
    const above = await trial.pod(writing(3, { sizeLimit: '1Mi' }));
    const within = await trial.pod(writing(1, { sizeLimit: '2Mi' }));
    const status = await evicted(above);
    expect(status.message).toBe('Usage of EmptyDir volume "data" exceeds the limit "1Mi". ');
    expect(conditionOf(status, 'DisruptionTarget')).toBeUndefined();
    await isUp(within);
  });

  it('a container that writes more than it may ends its pod', async () => {
    const script = `dd if=/dev/zero of=/file bs=1M count=5 2>/dev/null; ${forever}`;
    const spec = (size: string): object => ({
      containers: [box('main', script, limit(size)), box('other', forever, limit('20Mi'))],
    });
    const above = await trial.pod(spec('2Mi'));
    const within = await trial.pod(spec('9Mi'));
    expect((await evicted(above)).message).toBe(
      'Container main exceeded its local ephemeral storage limit "2Mi". ',
    );
    await isUp(within);
  });
});

describe('memory that is short', () => {
  it('evicts the pod that uses the most of what it did not ask for; those of class BestEffort are refused meanwhile, and no others', async () => {
    const asks = await trial.pod(keeping(120, { requests: { memory: '160Mi' } }));
    const modest = await trial.pod(keeping(5));
    await Promise.all([asks.running(), modest.running()]);
    await world.until('both have their memory', () => memory.usedBytes > 125 * mib);
    await evictedForNode(
      await trial.pod(keeping(110)),
      /^The node was low on resource: memory\. Threshold quantity: 100Mi, available: \d+[KM]i\. Container main was using \d+[KM]i, request is 0, has larger consumption of memory\. $/,
    );
    const [late, burstable] = await Promise.all([
      trial.pod(one(forever)),
      trial.pod(one(forever, { resources: { requests: { memory: '1Mi' } } })),
    ]);
    await refused(late, 'MemoryPressure');
    await burstable.running();
    await over('MemoryPressure', 'NodeHasInsufficientMemory', 'memory');
    await isUp(asks, modest);
    await trial.runningPod();
  });
});

describe('a disk that is short', () => {
  it('evicts the pod that uses the most of what it did not ask for; others go on, and new ones are refused until it is over', async () => {
    const asking = { resources: { requests: { 'ephemeral-storage': '45Mi' } } };
    const modest = await trial.pod(writing(2));
    const asks = await trial.pod(writing(10, {}, asking));
    await Promise.all([modest.running(), asks.running()]);
    await evictedForNode(
      await trial.pod(writing(90)),
      /^The node was low on resource: ephemeral-storage\. Threshold quantity: 50Mi, available: \d+[KM]i\. $/,
    );
    await refused(await trial.pod(one(forever)), 'DiskPressure');
    await over('DiskPressure', 'NodeHasDiskPressure', 'ephemeral-storage');
    await isUp(modest, asks);
    await trial.runningPod();
  });

  it('of files: evicts the pod that has the most, however small they are', async () => {
    const few = await trial.pod(filling(200, 20));
    await few.running();
    await evictedForNode(
      await trial.pod(filling(2400, 1)),
      /^The node was low on resource: inodes\. Threshold quantity: 1500, available: \d+k?\. $/,
    );
    await refused(await trial.pod(one(forever)), 'DiskPressure');
    await over('DiskPressure', 'NodeHasDiskPressure', 'inodes');
    await isUp(few);
    await trial.runningPod();
  });
});
