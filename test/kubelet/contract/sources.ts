/** Where else pods come from: a URL, the API server and a time without it; and what no source has. */
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import { TestPod } from './test-pod.ts';
import { StaticPod, forever, one } from './trial.ts';

export const sources: readonly Scenario[] = [
  {
    number: 8,
    title: 'a URL that answers with an error keeps its pods, and with nothing has none',
    alone: 'the kubelet is another one',
    async run(trial) {
      const { world } = trial;
      const urlPods = await trial.urlPods();
      const name = trial.name();
      urlPods.gives({ [name]: one(forever) });
      const found = await new StaticPod(world, name).mirrored();
      await found.running();
      urlPods.says(500, '');
      await world.until('it is told', () => world.kubelet.log.includes('answered 500'));
      await trial.kubeletWorks();
      expect(await found.isRunning()).toBe(true);
      expect(await found.starts('main')).toEqual([1]);
      urlPods.says(200, '');
      await world.until('nothing of it runs', async () => !(await found.isRunning()));
    },
  },
  {
    number: 9,
    title: 'a list of two pods from a URL: both run, with UIDs and mirrors of their own',
    alone: 'the kubelet is another one',
    async run(trial) {
      const { world } = trial;
      const urlPods = await trial.urlPods();
      const names = [trial.name(), trial.name()] as const;
      urlPods.gives({ [names[0]]: one(forever), [names[1]]: one(`: another; ${forever}`) });
      const pods = await Promise.all(
        names.map(async (name) => new StaticPod(world, name).mirrored()),
      );
      for (const pod of pods) await pod.running();
      expect(new Set(pods.map(({ uid }) => uid)).size).toBe(2);
      expect((await new StaticPod(world, names[0]).mirror())?.metadata.annotations).toMatchObject({
        'kubernetes.io/config.source': 'http',
      });
      urlPods.gives({ [names[1]]: one(`: another; ${forever}`) });
      await world.until('the first one has ended', async () => !(await pods[0]?.isRunning()));
      expect(await pods[1]?.isRunning()).toBe(true);
      urlPods.gives({});
      await world.until('the second one, too', async () => !(await pods[1]?.isRunning()));
    },
  },
  {
    number: 11,
    title: 'a status that others write is put right within seconds, and nothing is restarted',
    async run(trial) {
      const pod = await trial.pod(one(forever));
      const before = await pod.running();
      await pod.patch({ status: { phase: 'Pending' } }, '/status');
      const after = await pod.phase('Running');
      expect(after.containerStatuses).toEqual(before.containerStatuses);
      expect(await pod.starts('main')).toEqual([1]);
    },
  },
  {
    number: 13,
    title: 'the second of two pods of one name is told of, and dropped',
    alone: 'the kubelet is another one',
    async run(trial) {
      const name = trial.name();
      const pod = (script: string): object => ({ metadata: { name }, spec: one(script) });
      const items = [pod(forever), pod(`: the second; ${forever}`)];
      const list = { apiVersion: 'v1', kind: 'PodList', items };
      const pods = await trial.urlPods();
      pods.says(200, JSON.stringify(list));
      const { world } = trial;
      const mirror = { name: `${name}-${world.node}`, uid: '' };
      const known = new TestPod(world, mirror);
      await known.running();
      await known.event('FailedValidation', `due to duplicate pod name "${mirror.name}_default"`);
      const hash = (await known.read())?.metadata.annotations?.['kubernetes.io/config.hash'] ?? '';
      const first = new TestPod(world, { ...mirror, uid: hash });
      expect(await first.starts('main')).toEqual([1]);
      const { containers } = await world.cri.runtime.listContainers({
        filter: { labelSelector: { 'io.kubernetes.pod.name': mirror.name } },
      });
      expect(containers).toHaveLength(1);
      pods.gives({});
      await known.until('it is gone', async () => (await known.read()) === undefined);
    },
  },
  {
    number: 14,
    title: 'without the API server static pods begin, and nothing that runs is ended',
    alone: 'the kubelet is another one',
    async run(trial) {
      const { world } = trial;
      const running = await trial.runningPod();
      await trial.otherKubelet({ kubeconfig: world.cluster.unreachable(world.runtime.node) });
      const pod = await trial.staticPod(one(forever));
      const label = { 'io.kubernetes.pod.namespace': 'default' };
      await world.until('the static pod runs', async () => {
        const { containers } = await world.cri.runtime.listContainers({
          filter: { labelSelector: label, state: { state: 1 } },
        });
        return containers.some(
          ({ labels: own }) => own['io.kubernetes.pod.name'] === pod.mirrorName,
        );
      });
      expect(await running.isRunning()).toBe(true);
      expect(await pod.mirror()).toBeUndefined();
      await trial.usualKubelet();
      const found = await pod.mirrored();
      await found.running();
      expect(await found.starts('main')).toEqual([1]);
      expect(await running.starts('main')).toEqual([1]);
    },
  },
  {
    number: 16,
    title: 'what others run on the same runtime is left alone',
    long: true,
    async run(trial) {
      const { runtime } = trial.world.cri;
      const uid = trial.name();
      const config = {
        metadata: { name: uid, namespace: 'default', uid, attempt: 0 },
        labels: { 'io.kubernetes.pod.uid': uid },
        linux: { cgroupParent: trial.world.cgroup },
      };
      const { podSandboxId } = await runtime.runPodSandbox({ config });
      const ours = await trial.runningPod();
      await ours.remove();
      await ours.until(
        'all that is ours was cleared away',
        async () => (await ours.sandboxes()).length === 0,
        120,
      );
      const { status } = await runtime.podSandboxStatus({ podSandboxId });
      expect(status?.state).toBe(0);
      await runtime.removePodSandbox({ podSandboxId });
    },
  },
];
