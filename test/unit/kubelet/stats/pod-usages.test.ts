// What each pod uses of memory and disk: by its cgroup, by what the runtime says, by what lies in its folders.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CgroupReader } from '../../../../src/host/cgroup-usage.ts';
import type { PodUsage } from '../../../../src/kubelet/ports/pod-usage.ts';
import type { RuntimePod } from '../../../../src/kubelet/runtime/runtime-pod.ts';
import { PodReadings } from '../../../../src/kubelet/stats/pod-readings.ts';
import { Stats } from '../../../../src/kubelet/stats/stats.ts';
import { VolumeSizes } from '../../../../src/kubelet/stats/volume-sizes.ts';
import { PodDirectories } from '../../../../src/kubelet/volumes/pod-directories.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';
import { runtimeContainer, runtimePod, runtimeSandbox } from '../support/runtime-pods.ts';

let root = '';

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'switchyard-stats-'));
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

async function put(files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
}

/** Files of a cgroup of version 2 with so much memory. */
function group(path: string, bytes: number): Readonly<Record<string, string>> {
  return {
    [`cgroup/node-7/kubepods/${path}/cgroup.procs`]: '',
    [`cgroup/node-7/kubepods/${path}/memory.current`]: `${bytes}\n`,
    [`cgroup/node-7/kubepods/${path}/cpu.stat`]: 'usage_usec 2000000\n',
    [`cgroup/node-7/kubepods/${path}/pids.current`]: '4\n',
  };
}

class Lab {
  readonly clock = new VirtualClock();
  readonly asked: string[] = [];
  pods: readonly RuntimePod[] = [];
  containers: readonly object[] | undefined = [];
  sandboxes: readonly object[] | undefined;
  readonly volumes = new VolumeSizes({
    directories: new PodDirectories(join(root, 'kubelet')),
    clock: this.clock,
    everyMs: 60_000,
  });
  readonly stats = new Stats({
    readings: new PodReadings({
      pods: () => this.pods,
      cgroups: new CgroupReader({ version: 2, mount: join(root, 'cgroup') }),
      settings: { root: '/node-7', driver: 'cgroupfs', perQos: true },
      clock: this.clock,
    }),
    volumes: this.volumes,
    claims: { all: async () => Promise.resolve([]) },
    runtime: {
      listContainerStats: async () => this.#answer('containers', this.containers),
      listPodSandboxStats: async () => this.#answer('sandboxes', this.sandboxes),
    },
    clock: this.clock,
    readNode: async () => Promise.reject(new Error('not asked for')),
  });

  async #answer(what: string, stats: readonly object[] | undefined): Promise<never> {
    this.asked.push(what);
    if (stats === undefined) throw new Error('no such call');
    return Promise.resolve({ stats } as never);
  }
}

async function usageOf({ stats }: Lab, uid: string): Promise<PodUsage> {
  const usage = (await stats.podUsages()).get(uid);
  if (usage === undefined) throw new Error(`nothing is known of ${uid}`);
  return usage;
}

const bytesOf = (value: number) => ({ value: BigInt(value) });
const memory = (bytes: number) => ({ workingSetBytes: bytesOf(bytes), timestamp: 0n });

test('memory is that of the pod’s cgroup, disk that of layers, logs and volumes on disk', async () => {
  await put({
    ...group('burstable/poduid-1', 5000),
    'logs/app/0.log': 'x'.repeat(10_000),
    'logs/app/0.log.20260101-000000.gz': 'x'.repeat(5000),
    'kubelet/pods/uid-1/volumes/kubernetes.io~empty-dir/data/file': 'x'.repeat(100_000),
    'kubelet/pods/uid-1/volumes/kubernetes.io~csi/other/file': 'x'.repeat(100_000),
  });
  const lab = new Lab();
  const app = runtimeContainer({ id: 'a', logPath: join(root, 'logs/app/0.log') });
  lab.pods = [runtimePod({ containers: [app] })];
  lab.containers = [
    {
      attributes: { id: 'a' },
      writableLayer: { usedBytes: bytesOf(7000), inodesUsed: bytesOf(3) },
    },
  ];
  const usage = await usageOf(lab, 'uid-1');
  expect(usage).toMatchObject({ name: 'web', memoryBytes: 5000, processes: 4 });
  const { layer, logs } = usage.containers.get('app') ?? {};
  expect([layer, logs?.inodes]).toEqual([{ bytes: 7000, inodes: 3 }, 2]);
  expect([...usage.volumes.keys()]).toEqual(['data']);
  const data = usage.volumes.get('data');
  expect(data).toMatchObject({ inMemory: false, inodes: 2 });
  const [logBytes = 0, dataBytes = 0] = [logs?.bytes, data?.bytes];
  expect(dataBytes).toBeGreaterThanOrEqual(100_000);
  expect(usage.disk).toEqual({ bytes: 7000 + logBytes + dataBytes, inodes: 3 + 2 + 2 });
  expect(lab.asked).toEqual(['containers']);
});

test('a pod without a cgroup that is known uses what the runtime says of it, or else of its containers', async () => {
  const lab = new Lab();
  const [one, two] = ['a', 'b'].map((id) => runtimeContainer({ id, name: id }));
  lab.pods = [
    runtimePod({ containers: [one, two].flatMap((each) => each ?? []) }),
    runtimePod({ uid: 'uid-2', sandboxes: [runtimeSandbox({ id: 'box-2' })], containers: [] }),
  ];
  lab.containers = [
    { attributes: { id: 'a' }, memory: memory(100) },
    { attributes: { id: 'b' }, memory: memory(50) },
  ];
  const sumOnly = await lab.stats.podUsages();
  expect(sumOnly.get('uid-1')?.memoryBytes).toBe(150);
  expect(sumOnly.get('uid-2')?.memoryBytes).toBeUndefined();

  lab.sandboxes = [{ attributes: { id: 'box' }, linux: { memory: memory(170) } }];
  await lab.clock.advance(11_000);
  expect((await lab.stats.podUsages()).get('uid-1')?.memoryBytes).toBe(170);
});

test('a runtime that measures nothing leaves what is read here', async () => {
  await put(group('poduid-1', 5000));
  const lab = new Lab();
  lab.pods = [runtimePod()];
  lab.containers = undefined;
  const usage = await usageOf(lab, 'uid-1');
  expect(usage).toMatchObject({ memoryBytes: 5000, disk: { bytes: 0, inodes: 0 } });
  expect(usage.containers.get('app')).toEqual({ layer: undefined, logs: undefined });
});

test('pods whose sandbox is gone are left out', async () => {
  const lab = new Lab();
  lab.pods = [runtimePod({ sandboxes: [runtimeSandbox({ state: 'notReady' })] })];
  expect((await lab.stats.podUsages()).size).toBe(0);
});

test('who asks within ten seconds, or at once, shares a reading; volumes are walked once a minute', async () => {
  const file = 'kubelet/pods/uid-1/volumes/kubernetes.io~empty-dir/data/file';
  await put({ ...group('poduid-1', 5000), [file]: 'x' });
  const lab = new Lab();
  lab.pods = [runtimePod()];
  const inodes = async (): Promise<number | undefined> =>
    (await lab.stats.podUsages()).get('uid-1')?.volumes.get('data')?.inodes;
  expect(await Promise.all([inodes(), inodes()])).toEqual([2, 2]);
  await put({ ...group('poduid-1', 6000), [`${file}-2`]: 'x' });
  await lab.clock.advance(9000);
  await inodes();
  expect(lab.asked).toEqual(['containers']);
  await lab.clock.advance(2000);
  expect((await lab.stats.podUsages()).get('uid-1')?.memoryBytes).toBe(6000);
  expect(await inodes()).toBe(2);
  expect(lab.asked).toEqual(['containers', 'containers']);
  await lab.clock.advance(50_000);
  expect(await inodes()).toBe(3);
});
