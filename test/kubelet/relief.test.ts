// A real node that is short: of disk, where pods are evicted; pods above their limits of storage; and images of which some go.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { readDiskSpace } from '../../src/host/disk-space.ts';
import { ImageGc } from '../../src/kubelet/housekeeping/image-gc.ts';
import { ImageRecords } from '../../src/kubelet/housekeeping/image-records.ts';
import type { PodStatus } from '../../src/kubelet/pod/pod-status.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { conditionOf } from './contract/test-pod.ts';
import { box, forever } from './contract/trial.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import type { KubeletProcess } from './kubelet-process.ts';
import { until } from './node-machine.ts';
import type { NodeMachine } from './node-machine.ts';

const cluster = new KubeletCluster(['n1']);
const pods = '/api/v1/namespaces/default/pods';
const never = new AbortController().signal;
const unused = ['a', 'b', 'c'].map((tag) =>
  busyboxImage(`docker.io/local/unused:${tag}`, { StopSignal: `SIG${tag}` }),
);
let node: NodeMachine;
let kubelet: KubeletProcess;

beforeAll(async () => {
  await cluster.start([pauseImage(), busyboxImage(), ...unused]);
  node = cluster.nodes[0] ?? expect.fail();
  // A disk of the node's own: what it is short of is nobody else's.
  const disk = `${node.folder}/kubelet`;
  node.run('mkdir', '-p', disk);
  node.run('mount', '-t', 'tmpfs', '-o', 'size=128m,mode=755', 'tmpfs', disk);
  kubelet = cluster.kubelet(node, {
    configuration: {
      evictionHard: { 'nodefs.available': '50Mi' },
      evictionPressureTransitionPeriod: '3s',
      nodeStatusUpdateFrequency: '1s',
      volumeStatsAggPeriod: '1s',
    },
  });
  kubelet.start();
  await seen('the node is Ready', async () => (await nodeCondition('Ready')) === 'True');
  await seen('the default account is there', async () => cluster.hasAccount());
});

afterAll(async () => {
  await kubelet.kill();
  await cluster.stop();
});

afterEach(async () => {
  for (const { metadata } of await left())
    await cluster.control.must('DELETE', `${pods}/${metadata.name}`);
  await seen('no pod is left', async () => (await left()).length === 0);
});

interface Named {
  readonly metadata: { readonly name: string };
}

async function left(): Promise<readonly Named[]> {
  return (await cluster.get<{ items: Named[] }>(pods))?.items ?? [];
}

/** Waits; a failure tells what the kubelet said. */
async function seen(what: string, condition: () => Promise<boolean>, seconds = 90): Promise<void> {
  const check = async (): Promise<boolean> => {
    if (kubelet.ended !== undefined) throw new Error(`the kubelet ${kubelet.ended}`);
    return condition();
  };
  try {
    await until(what, check, seconds);
  } catch (thrown) {
    throw new Error(`${String(thrown)}\n${kubelet.log.slice(-4000)}`, { cause: thrown });
  }
}

async function nodeCondition(type: string): Promise<string | undefined> {
  const found = await cluster.get<{ status: PodStatus }>(`/api/v1/nodes/${node.name}`);
  return conditionOf(found?.status ?? {}, type)?.status;
}

async function make(name: string, spec: object): Promise<void> {
  await cluster.control.must('POST', pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: { nodeName: node.name, terminationGracePeriodSeconds: 1, ...spec },
  });
}

async function statusOf(name: string): Promise<PodStatus> {
  return (await cluster.get<{ status: PodStatus }>(`${pods}/${name}`))?.status ?? {};
}

async function phase(name: string, wanted: string): Promise<PodStatus> {
  let status: PodStatus = {};
  await seen(`pod ${name} is ${wanted}`, async () => {
    status = await statusOf(name);
    return status.phase === wanted;
  });
  return status;
}

async function events(name: string): Promise<readonly string[]> {
  const path = `/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D${name}`;
  const found = await cluster.get<{ items: { reason: string; message: string }[] }>(path);
  return (found?.items ?? []).map(({ reason, message }) => `${reason}: ${message}`);
}

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
    await make('large', writing(3, { sizeLimit: '1Mi' }));
    await make('small', writing(1, { sizeLimit: '2Mi' }));
    const status = await phase('large', 'Failed');
    const message = 'Usage of EmptyDir volume "data" exceeds the limit "1Mi". ';
    expect(status).toMatchObject({ reason: 'Evicted', message });
    expect(conditionOf(status, 'DisruptionTarget')).toBeUndefined();
    await seen('its event is there', async () =>
      (await events('large')).includes(`Evicted: ${message}`),
    );
    expect((await statusOf('small')).phase).toBe('Running');
  });

  it('a container that writes more than it may ends its pod', async () => {
    const script = `dd if=/dev/zero of=/file bs=1M count=5 2>/dev/null; ${forever}`;
    const spec = (size: string): object => ({
      containers: [box('main', script, limit(size)), box('other', forever, limit('20Mi'))],
    });
    await make('above', spec('2Mi'));
    await make('within', spec('9Mi'));
    const { reason, message } = await phase('above', 'Failed');
    expect([reason, message]).toEqual([
      'Evicted',
      'Container main exceeded its local ephemeral storage limit "2Mi". ',
    ]);
    expect((await statusOf('within')).phase).toBe('Running');
  });
});

describe('a disk that is short', () => {
  it('evicts the pod that uses the most of what it did not ask for; others go on, and new ones are refused until it is over', async () => {
    const asks = { resources: { requests: { 'ephemeral-storage': '45Mi' } } };
    await make('modest', writing(2));
    await phase('modest', 'Running');
    await make('asks', writing(10, {}, asks));
    await phase('asks', 'Running');
    await make('greedy', writing(70));
    const status = await phase('greedy', 'Failed');
    expect(status.reason).toBe('Evicted');
    expect(status.message).toMatch(
      /^The node was low on resource: ephemeral-storage\. Threshold quantity: 50Mi, available: \d+Ki\. $/,
    );
    expect(conditionOf(status, 'DisruptionTarget')).toMatchObject({
      status: 'True',
      reason: 'TerminationByKubelet',
      message: status.message,
    });
    await make('late', { containers: [box('main', forever)] });
    const late = await phase('late', 'Failed');
    expect(late).toMatchObject({
      reason: 'Evicted',
      message: 'Pod was rejected: The node had condition: [DiskPressure]. ',
    });
    await seen('the node is under no pressure', async () => {
      return (await nodeCondition('DiskPressure')) === 'False';
    });
    expect(kubelet.log).toContain('NodeHasDiskPressure');
    expect((await statusOf('modest')).phase).toBe('Running');
    expect((await statusOf('asks')).phase).toBe('Running');
    await make('again', { containers: [box('main', forever)] });
    await phase('again', 'Running');
  });
});

describe('images', () => {
  it('that nobody uses go, those that containers have and that of sandboxes stay', async () => {
    await make('user', { containers: [box('main', forever)] });
    await phase('user', 'Running');
    const cri = node.connect();
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
      records: new ImageRecords(`${node.folder}/images.json`),
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
