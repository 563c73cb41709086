// What is measured of pods and containers at a moment, whom it is asked of, and how fast CPUs are used of late.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CgroupReader } from '../../../../src/host/cgroup-usage.ts';
import type { RuntimePod } from '../../../../src/kubelet/runtime/runtime-pod.ts';
import type { CgroupSettings } from '../../../../src/kubelet/runtime/settings.ts';
import { PodReadings } from '../../../../src/kubelet/stats/pod-readings.ts';
import { Stats } from '../../../../src/kubelet/stats/stats.ts';
import type { Figures } from '../../../../src/kubelet/stats/stats.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';
import { runtimeContainer, runtimePod, runtimeSandbox } from '../support/runtime-pods.ts';
import { eth0, figures } from './figures.ts';

let root = '';

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'switchyard-figures-'));
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

/** A cgroup of version 2 that has used CPUs for so long. */
async function group(path: string, seconds: number, procs = ''): Promise<void> {
  const files = {
    'cgroup.procs': procs,
    'cpu.stat': `usage_usec ${seconds * 1e6}\n`,
    'memory.current': '1000\n',
  };
  for (const [name, content] of Object.entries(files)) {
    const file = join(root, path, name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
  }
}

class Lab {
  readonly clock = new VirtualClock();
  pods: readonly RuntimePod[] = [];
  asked = 0;
  readonly stats: Stats;

  constructor(settings: Partial<CgroupSettings> = {}) {
    this.stats = new Stats({
      readings: new PodReadings({
        pods: () => this.pods,
        cgroups: new CgroupReader({ version: 2, mount: root }),
        settings: { root: '/', driver: 'cgroupfs', perQos: true, ...settings },
        clock: this.clock,
        readNetwork: async (pid) => Promise.resolve([{ ...eth0, receivedBytes: Number(pid) }]),
      }),
      volumes: { of: async () => Promise.resolve(new Map()), keepOnly: () => {} },
      claims: { all: async () => Promise.resolve([]) },
      runtime: {
        listContainerStats: async () => this.#answer([stats]),
        listPodSandboxStats: async () => this.#answer([]),
      },
      readNode: async () => Promise.resolve(figures.node),
      clock: this.clock,
    });
  }

  async #answer(list: readonly object[]): Promise<never> {
    this.asked++;
    return Promise.resolve({ stats: list } as never);
  }

  async pod(): Promise<Figures['pods'][number]> {
    const [pod] = (await this.stats.figures()).pods;
    if (pod === undefined) throw new Error('no pod was measured');
    return pod;
  }
}

/** What the runtime says of container `a`. */
const stats = {
  attributes: { id: 'a' },
  cpu: { timestamp: 5_000_000_000n, usageCoreNanoSeconds: { value: 3_000_000_000n } },
};

const pod = (network: 'pod' | 'node' = 'pod'): RuntimePod =>
  runtimePod({
    sandboxes: [runtimeSandbox({ network })],
    containers: [runtimeContainer({ id: 'a' }), runtimeContainer({ id: 'b', state: 'exited' })],
  });

test('where all cgroups can be read the runtime is not asked', async () => {
  await group('kubepods/besteffort/poduid-1', 2);
  await group('kubepods/besteffort/poduid-1/a', 1);
  await group('kubepods/besteffort/poduid-1/box', 0, '42\n');
  const lab = new Lab();
  lab.pods = [pod()];
  const { whole, containers, cgroup, network } = await lab.pod();
  expect(whole.cpu?.seconds).toBe(2);
  expect(containers.map((each) => [each.container.id, each.whole.cpu?.seconds])).toEqual([
    ['a', 1],
  ]);
  expect(cgroup?.path).toBe('/kubepods/besteffort/poduid-1');
  expect(network).toMatchObject([{ name: 'eth0', receivedBytes: 42 }]);
  expect(lab.asked).toBe(0);
});

test('cgroups of systemd have other names', async () => {
  const slice = 'kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poduid_1.slice';
  await group(slice, 2);
  await group(`${slice}/cri-containerd-a.scope`, 1);
  const lab = new Lab({ driver: 'systemd' });
  lab.pods = [pod()];
  const { whole, containers } = await lab.pod();
  expect([whole.cpu?.seconds, containers[0]?.whole.cpu?.seconds]).toEqual([2, 1]);
});

test('without cgroups of pods the runtime is asked, at the moment that it says', async () => {
  const lab = new Lab({ perQos: false });
  lab.pods = [pod()];
  const { whole, containers } = await lab.pod();
  expect(containers[0]?.whole.cpu).toMatchObject({ seconds: 3, atMs: 5000 });
  expect(whole.cpu).toMatchObject({ seconds: 3, atMs: 5000 });
  expect(whole.memory).toBeUndefined();
  expect(lab.asked).toBe(2);
});

test('the network of a pod in that of the node is not the pod’s', async () => {
  await group('kubepods/poduid-1', 2);
  await group('kubepods/poduid-1/box', 0, '42\n');
  const lab = new Lab();
  lab.pods = [pod('node')];
  expect((await lab.pod()).network).toBeUndefined();
});

test('how many CPUs are used is known from the second reading on, and anew after a restart', async () => {
  const own = 'kubepods/poduid-1';
  await group(own, 2);
  await group(`${own}/a`, 10);
  const lab = new Lab();
  lab.pods = [pod()];
  const rate = async (): Promise<readonly (number | undefined)[]> => {
    const { whole, containers } = await lab.pod();
    return [whole.cpu?.nanoCores, containers[0]?.whole.cpu?.nanoCores];
  };
  expect(await rate()).toEqual([undefined, undefined]);
  await group(own, 7);
  await group(`${own}/a`, 1);
  await lab.clock.advance(10_000);
  expect(await rate()).toEqual([500_000_000, undefined]);
  await group(`${own}/a`, 11);
  await lab.clock.advance(10_000);
  expect(await rate()).toEqual([0, 1_000_000_000]);
});
