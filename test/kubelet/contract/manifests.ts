/** Pods of manifests on the node, and what stands for them at the API server. */
import { mkdirSync, writeFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import { isReady, statusOf } from './test-pod.ts';
import type { ApiPod } from './test-pod.ts';
import { forever, one } from './trial.ts';

export const manifests: readonly Scenario[] = [
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
      await trial.world.until('the other one has begun', async () => {
        return folder.read('order').includes('begin b') && (await second.isRunning());
      });
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
