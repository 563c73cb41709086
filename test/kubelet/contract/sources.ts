/** Where pods come from: manifests on the node with their mirrors, the API server, and what no source has. */
import { mkdirSync, writeFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import { TestPod, isReady, statusOf } from './test-pod.ts';
import type { ApiPod } from './test-pod.ts';
import { StaticPod, forever, one } from './trial.ts';

export const sources: readonly Scenario[] = [
  {
    number: 1,
    title: 'a hidden manifest is none',
    async run(trial) {
      const pod = await trial.staticPod(one(forever));
      const { kubelet, runtime } = trial.world;
      const hidden = join(kubelet.manifests, `.${pod.file}`);
      const other = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'hidden' } };
      writeFileSync(hidden, JSON.stringify({ ...other, spec: one(forever) }));
      await (await pod.mirrored()).running();
      const path = `/api/v1/namespaces/default/pods/hidden-${runtime.node.name}`;
      expect(await trial.world.cluster.get(path)).toBeUndefined();
      rmSync(hidden);
    },
  },
  {
    number: 2,
    title: 'a folder of manifests that is not there is one without pods, until it is',
    alone: 'the kubelet is another one',
    async run(trial) {
      const { world } = trial;
      const staticPodPath = join(world.runtime.node.folder, trial.name());
      await trial.otherKubelet({ configuration: { staticPodPath } });
      await world.until('it is told', () => world.kubelet.log.includes('does not exist'));
      await trial.kubeletWorks();
      const name = trial.name();
      const mirror = `/api/v1/namespaces/default/pods/${name}-${world.node}`;
      mkdirSync(staticPodPath);
      try {
        const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: one(forever) };
        writeFileSync(join(staticPodPath, 'pod.json'), JSON.stringify(pod));
        await world.until('its pod runs', async () => {
          const found = await world.cluster.get<ApiPod>(mirror);
          return found !== undefined && isReady(found.status);
        });
      } finally {
        rmSync(staticPodPath, { recursive: true });
      }
      await world.until('its pod is gone', async () => {
        const found = await world.cluster.get(mirror);
        return found === undefined;
      });
    },
  },
  {
    number: 3,
    title: 'a manifest that is no YAML is told of, and the others run',
    async run(trial) {
      const { kubelet } = trial.world;
      const bad = `${trial.name()}.yaml`;
      kubelet.writeManifest(bad, 'spec: [');
      const pod = await trial.staticPod(one(forever));
      await (await pod.mirrored()).running();
      await trial.world.until('it is told', () => kubelet.log.includes(bad));
      rmSync(join(kubelet.manifests, bad));
    },
  },
  {
    number: 4,
    title: 'a manifest says little: the namespace is default, the UID of what it says',
    async run(trial) {
      const pod = await trial.staticPod(one(forever));
      const found = await pod.mirrored();
      expect(found.uid).toMatch(/^[0-9a-f]{32}$/);
      expect((await pod.mirror())?.metadata.annotations).toMatchObject({
        'kubernetes.io/config.source': 'file',
        'kubernetes.io/config.mirror': found.uid,
      });
      await found.running();
      expect(await found.starts('main')).toEqual([1]);
    },
  },
  {
    number: 5,
    title: 'a manifest that changes is another pod, which starts when the one before has ended',
    async run(trial) {
      const folder = trial.folder();
      const spec = (value: string): object => ({
        volumes: [{ name: 'out', hostPath: { path: folder.path } }],
        ...one(
          'echo begin $VALUE >> /out/order; trap "sleep 1; echo end $VALUE >> /out/order; exit 0" TERM; while true; do sleep 0.1; done',
          {
            env: [{ name: 'VALUE', value }],
            volumeMounts: [{ name: 'out', mountPath: '/out' }],
          },
        ),
      });
      const pod = await trial.staticPod({ terminationGracePeriodSeconds: 20, ...spec('a') });
      const first = await pod.mirrored();
      await first.running();
      await pod.write({ terminationGracePeriodSeconds: 20, ...spec('b') });
      const second = await pod.mirrored(first.uid);
      await trial.world.until('the other one has begun', () =>
        folder.read('order').includes('begin b'),
      );
      expect(await second.isRunning()).toBe(true);
      expect(folder.read('order')).toBe('begin a\nend a\nbegin b\n');
    },
  },
  {
    number: 6,
    title: 'a manifest with an UID and another image is the same pod, its container replaced',
    async run(trial) {
      const uid = `fixed-${trial.name()}`;
      const pod = await trial.staticPod(one(forever), { uid });
      const found = await pod.mirrored();
      expect(found.uid).toBe(uid);
      await found.running();
      await pod.write(one(forever, { image: 'docker.io/local/busybox:2' }), { uid });
      await trial.world.until(
        'it was restarted',
        async () => (await found.containers('main')).length === 2 && found.isRunning(),
      );
      await found.waitFor('that is told', (status) => statusOf(status, 'main')?.restartCount === 1);
      expect(await found.sandboxes()).toHaveLength(1);
    },
  },
  {
    number: 7,
    title: 'a manifest that is removed: its pod ends, and its folder goes',
    async run(trial) {
      const pod = await trial.staticPod(one(forever));
      const found = await pod.mirrored();
      await found.running();
      await pod.remove();
      const { world } = trial;
      await world.until('nothing of it runs', async () => !(await found.isRunning()));
      await world.until('its folder is gone', () => !world.podFolders().includes(found.uid));
    },
  },
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
    number: 10,
    title: 'a manifest that refers to a Secret is left out, and the others run',
    async run(trial) {
      const volumes = [{ name: 'data', secret: { secretName: 'any' } }];
      const bad = await trial.staticPod({ volumes, ...one(forever) });
      const good = await trial.staticPod(one(forever));
      await (await good.mirrored()).running();
      const { world } = trial;
      await world.until('it is told', () => world.kubelet.log.includes(bad.file));
      expect(await bad.mirror()).toBeUndefined();
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
  {
    number: 92,
    title: 'a mirror that somebody deletes is made anew, and its pod runs on',
    async run(trial) {
      const pod = await trial.staticPod(one(forever));
      const found = await pod.mirrored();
      await found.running();
      const { uid = '' } = (await pod.mirror())?.metadata ?? {};
      await found.delete(0);
      await trial.world.until('there is another mirror', async () => {
        const mirror = await pod.mirror();
        return mirror !== undefined && mirror.metadata.uid !== uid;
      });
      await found.running();
      expect(await found.starts('main')).toEqual([1]);
    },
  },
  {
    number: 93,
    title: 'the mirror of a manifest that changes has its new hash',
    async run(trial) {
      const pod = await trial.staticPod(one(forever));
      const first = await pod.mirrored();
      await first.running();
      await pod.write(one(`: another; ${forever}`));
      const second = await pod.mirrored(first.uid);
      expect((await pod.mirror())?.metadata.annotations).toMatchObject({
        'kubernetes.io/config.mirror': second.uid,
      });
      await second.running();
      await trial.world.until('the first one has ended', async () => !(await first.isRunning()));
    },
  },
];
