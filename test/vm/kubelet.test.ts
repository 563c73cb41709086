// The kubelet on cgroup v2, which only the guest's kernel gives it: real containerd and runc, static pods, no API server.
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cgroupMount, cgroupVersion } from '../../src/host/cgroups.ts';
import { PodSandboxState } from '../../src/kubelet/cri/gen/api_pb.ts';
import type { Pod } from '../../src/kubelet/pod/pod.ts';
import { ask } from '../kubelet/ask.ts';
import { listCgroups } from '../kubelet/cgroups.ts';
import { busyboxImage, pauseImage } from '../kubelet/images.ts';
import { KubeletProcess, testCgroup } from '../kubelet/kubelet-process.ts';
import { NodeMachine, makeFabric, run, until } from '../kubelet/node-machine.ts';
import { whyNoSandbox } from '../kubelet/sandbox.ts';
import { program } from '../support/agent-process.ts';

const blocked =
  process.env['SWITCHYARD_VM'] === undefined
    ? 'needs the guest of npm run test:vm'
    : whyNoSandbox();
const mib = 1024 ** 2;

interface Summary {
  readonly pods: readonly {
    readonly memory?: { readonly workingSetBytes: number; readonly availableBytes: number };
    readonly containers: readonly object[];
  }[];
}

describe.skipIf(blocked !== undefined)(
  `a node with cgroup v2 (${blocked ?? 'in the guest'})`,
  () => {
    const node = new NodeMachine('n1', 1);
    const kubelet = new KubeletProcess(node, {
      program,
      configuration: { podPidsLimit: 100, readOnlyPort: 10_255, fileCheckFrequency: '1s' },
    });
    const root = join(testCgroup, 'n1/kubepods');

    beforeAll(async () => {
      run('mount', '-t', 'cgroup2', 'cgroup2', cgroupMount);
      mkdirSync('/var/lib/cni', { recursive: true });
      makeFabric();
      await node.start();
      node.importImages(pauseImage(), busyboxImage());
      kubelet.start();
    });

    afterAll(async () => {
      await kubelet.kill();
      await node.crash();
      node.remove();
    });

    /** Waits; a failure tells what both have said. */
    async function seen(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
      try {
        await until(
          what,
          () => {
            if (kubelet.ended !== undefined) throw new Error(`the kubelet ${kubelet.ended}`);
            return condition();
          },
          240,
        );
      } catch (thrown) {
        const said = [kubelet.log.slice(-4000), node.tail('containerd.log', 2000)];
        throw new Error([String(thrown), ...said].join('\n'), { cause: thrown });
      }
    }

    /** What the kubelet answers without a certificate; undefined: nothing yet. */
    async function answer<T>(path: string): Promise<T | undefined> {
      const text = await ask(node.address, 10_255, path);
      return text.startsWith('{') ? (JSON.parse(text) as T) : undefined;
    }

    async function pods(): Promise<readonly Pod[]> {
      return (await answer<{ items: Pod[] }>('/pods'))?.items ?? [];
    }

    const statusOf = async (name: string) =>
      (await pods()).find(({ metadata }) => metadata.name === `${name}-n1`)?.status
        .containerStatuses?.[0];

    const isUp = async (name: string): Promise<boolean> =>
      (await statusOf(name))?.state?.running !== undefined;

    function write(name: string, script: string, memory: string): void {
      const limits = { cpu: '500m', memory };
      const container = {
        name: 'main',
        image: 'docker.io/local/busybox:1',
        imagePullPolicy: 'Never',
        command: ['sh', '-c', script],
        resources: { requests: { cpu: '100m', memory: '8Mi' }, limits },
      };
      const spec = {
        terminationGracePeriodSeconds: 1,
        restartPolicy: 'Never',
        containers: [container],
      };
      kubelet.writeManifest(
        `${name}.json`,
        JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec }),
      );
    }

    /** That of the container, and that of its pod. */
    function cgroups(id: string): readonly string[] {
      const own = listCgroups(root).filter((path) => path.endsWith(`/${id}`));
      return own.flatMap((path) => [path, join(path, '..')]);
    }

    const idOf = async (name: string): Promise<string> =>
      (await statusOf(name))?.containerID?.replace('containerd://', '') ?? '';

    test('runs a pod, with its limits in the one tree', async () => {
      expect(await cgroupVersion()).toBe(2);
      write('web', 'trap "exit 0" TERM; sleep 100000 & wait', '64Mi');
      await seen('the pod is up', async () => isUp('web'));
      const limits = cgroups(await idOf('web')).map((path) =>
        ['cpu.max', 'memory.max', 'cpu.weight'].map((file) =>
          readFileSync(join(path, file), 'utf8').trim(),
        ),
      );
      const each = ['50000 100000', String(64 * mib), '4'];
      expect(limits).toEqual([each, each]);
      const [, pod = ''] = cgroups(await idOf('web'));
      expect(readFileSync(join(pod, 'pids.max'), 'utf8')).toBe('100\n');
    });

    test('tells what it uses', async () => {
      let pod: Summary['pods'][number] | undefined;
      await seen('it is measured', async () => {
        [pod] = (await answer<Summary>('/stats/summary'))?.pods ?? [];
        // What was read before its container ran is told for some seconds.
        return pod?.memory !== undefined && pod.containers.length > 0;
      });
      const some: unknown = expect.toSatisfy((value: number) => value > 0);
      expect(pod).toMatchObject({
        podRef: { name: 'web-n1' },
        cpu: { usageCoreNanoSeconds: some },
        memory: { rssBytes: some },
        containers: [{ cpu: { usageCoreNanoSeconds: some }, memory: { rssBytes: some } }],
        // sh, sleep, and what keeps the sandbox.
        process_stats: { process_count: 3 },
      });
      const { workingSetBytes, availableBytes } = pod?.memory ?? {
        workingSetBytes: 0,
        availableBytes: 0,
      };
      expect(workingSetBytes + availableBytes).toBe(64 * mib);
    });

    test('knows of a container that had not enough memory', async () => {
      write('greedy', 'tail /dev/zero', '16Mi');
      await seen('its end is known', async () => {
        return (await statusOf('greedy'))?.state?.terminated !== undefined;
      });
      expect((await statusOf('greedy'))?.state?.terminated).toMatchObject({
        reason: 'OOMKilled',
        exitCode: 137,
      });
      rmSync(join(kubelet.manifests, 'greedy.json'));
    });

    test('leaves the pod alone when the agent is another', async () => {
      const before = await idOf('web');
      await kubelet.stop();
      kubelet.start();
      await seen('it is known again', async () => isUp('web'));
      expect(await idOf('web')).toBe(before);
      expect(await statusOf('web')).toMatchObject({ restartCount: 0 });
    });

    test('leaves no cgroup of a pod that is gone', async () => {
      rmSync(join(kubelet.manifests, 'web.json'));
      await seen('no pod is left', async () => (await pods()).length === 0);
      // Names of pods' and of containers' have their ids.
      await seen(
        'no cgroup is left',
        () => !listCgroups('').some((path) => /[0-9a-f]{32}/.test(path)),
      );
      expect(existsSync(join(cgroupMount, root))).toBe(true);
      // What is left of the pod is a record, for a minute (test/unit/kubelet/housekeeping).
      await seen('no sandbox runs', async () => {
        const { items } = await node.connect().runtime.listPodSandbox({});
        return items.every(({ state }) => state === PodSandboxState.SANDBOX_NOTREADY);
      });
    });
  },
);
