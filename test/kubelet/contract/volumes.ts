/** What containers find where volumes are mounted: emptyDir, hostPath, configMap, and what their paths may be. */
import { existsSync, statSync } from 'node:fs';
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import { statusOf } from './test-pod.ts';
import { box, forever, one } from './trial.ts';
import type { Trial } from './trial.ts';

/**
 * Less than the minute after which the kubelet looks at a pod anyway that has settled: what reaches one sooner was seen by a watch. One
 * that has failed is tried again every ten to fifteen seconds.
 */
const soonSeconds = 40;

/** Less than the ten seconds after which a pod is looked at again at the soonest that could not start. */
const beforeRetrySeconds = 8;

/** A pod of one container with this one volume at `/data`. */
function holding(source: object, script = forever, more: object = {}): object {
  return {
    volumes: [{ name: 'data', ...source }],
    ...one(script, { volumeMounts: [{ name: 'data', mountPath: '/data', ...more }] }),
  };
}

/** The line of the node's mount table for a volume of this pod. */
function mountOf({ world }: Trial, uid: string, volume: string): string | undefined {
  const table = world.runtime.node.run('cat', '/proc/self/mountinfo').split('\n');
  return table.find((line) => line.includes(`/pods/${uid}/`) && line.includes(`/${volume} `));
}

/** Reads `/data/key` over and over: what it saw, and each time that it could not. */
const reader =
  'while true; do cat /data/key >> /tmp/seen 2>> /tmp/failed; echo >> /tmp/seen; sleep 0.05; done';

export const volumes: readonly Scenario[] = [
  {
    number: 55,
    title: 'an emptyDir is shared, outlives a container, and not its pod',
    async run(trial) {
      const mounted = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };
      const script =
        'echo run >> /data/runs; until test -e /data/end; do sleep 0.1; done; rm /data/end';
      const pod = await trial.pod({
        volumes: [{ name: 'data', emptyDir: {} }],
        containers: [box('writer', script, mounted), box('reader', forever, mounted)],
      });
      await pod.running();
      expect(await pod.exec('reader', 'cat', '/data/runs')).toBe('run\n');
      await pod.exec('reader', 'touch', '/data/end');
      await pod.waitFor(
        'the writer was restarted',
        (status) =>
          statusOf(status, 'writer')?.restartCount === 1 &&
          statusOf(status, 'writer')?.ready === true,
      );
      expect(await pod.exec('reader', 'cat', '/data/runs')).toBe('run\nrun\n');
      await pod.remove();
      const { world } = trial;
      await world.until('its folder is gone', () => !world.podFolders().includes(pod.uid));
    },
  },
  {
    number: 56,
    title: 'an emptyDir in memory is a tmpfs of its size, for everybody to write',
    async run(trial) {
      const pod = await trial.pod(holding({ emptyDir: { medium: 'Memory', sizeLimit: '64Mi' } }));
      await pod.running();
      const line = mountOf(trial, pod.uid, 'data');
      expect(line).toMatch(/ - tmpfs .*size=65536k/);
      const path = line?.split(' ')[4] ?? '';
      expect(trial.world.runtime.node.run('stat', '-c', '%a', path)).toBe('777\n');
      await pod.remove();
      expect(mountOf(trial, pod.uid, 'data')).toBeUndefined();
    },
  },
  {
    number: 57,
    title: 'a configMap: files by links that change at once, mode 0644, or just the items',
    async run(trial) {
      const name = trial.name();
      await trial.configMap(name, { one: '1', two: '2' });
      const volumeMounts = [
        { name: 'all', mountPath: '/all' },
        { name: 'some', mountPath: '/some' },
      ];
      const pod = await trial.pod({
        volumes: [
          { name: 'all', configMap: { name } },
          { name: 'some', configMap: { name, items: [{ key: 'two', path: 'a/b' }] } },
        ],
        ...one(forever, { volumeMounts }),
      });
      await pod.running();
      expect(await pod.exec('main', 'ls', '/all')).toBe('one\ntwo\n');
      expect(await pod.exec('main', 'cat', '/all/one', '/some/a/b')).toBe('12');
      expect(await pod.exec('main', 'stat', '-L', '-c', '%a', '/all/one')).toBe('644\n');
      await pod.exec('main', 'test', '-L', '/all/..data');
      await pod.exec('main', 'test', '-L', '/all/one');
      await expect(pod.exec('main', 'cat', '/some/one')).rejects.toThrow('No such file');
    },
  },
  {
    number: 58,
    title: 'an updated configMap reaches the files at once, and not what is mounted by subPath',
    async run(trial) {
      const name = trial.name();
      await trial.configMap(name, { key: 'old' });
      const volumeMounts = [
        { name: 'data', mountPath: '/data' },
        { name: 'data', mountPath: '/single', subPath: 'key' },
      ];
      const pod = await trial.pod({
        volumes: [{ name: 'data', configMap: { name } }],
        ...one(reader, { volumeMounts }),
      });
      await pod.running();
      expect(await pod.exec('main', 'cat', '/single')).toBe('old');
      await trial.merge('configmaps', name, { data: { key: 'new' } });
      await pod.until(
        'the file has the new text',
        async () => (await pod.exec('main', 'cat', '/data/key')) === 'new',
        soonSeconds,
      );
      expect(await pod.exec('main', 'cat', '/single')).toBe('old');
      const seen = (await pod.exec('main', 'cat', '/tmp/seen')).trim().split('\n');
      expect(seen.slice(0, -1).filter((text) => text !== 'old' && text !== 'new')).toEqual([]);
      expect(await pod.exec('main', 'cat', '/tmp/failed')).toBe('');
    },
  },
  {
    number: 59,
    title: 'a configMap that is not there holds the pod, with an event, until it comes',
    async run(trial) {
      const name = trial.name();
      const pod = await trial.pod(holding({ configMap: { name } }));
      await pod.event('FailedMount', `configmap "${name}" not found`);
      const status = await pod.waiting('ContainerCreating');
      expect(status.phase).toBe('Pending');
      // Right after one look at it the next is ten seconds away: the volume is there before only for what watches.
      await pod.until('it was looked for again', async () => (await pod.told('FailedMount')) >= 2);
      await trial.configMap(name, { key: 'here' });
      const { folder } = trial.world.runtime.node;
      const file = `${folder}/kubelet/pods/${pod.uid}/volumes/kubernetes.io~configmap/data/key`;
      await pod.until('its file is there', async () => existsSync(file), beforeRetrySeconds);
      await pod.running();
      expect(await pod.exec('main', 'cat', '/data/key')).toBe('here');
    },
  },
  {
    number: 60,
    title: 'an optional secret that is not there is an empty volume, and is there when it comes',
    async run(trial) {
      const secretName = trial.name();
      const pod = await trial.pod(holding({ secret: { secretName, optional: true } }));
      await pod.running();
      expect(await pod.exec('main', 'ls', '/data')).toBe('');
      await trial.secret(secretName, { key: 'hidden' });
      await pod.until(
        'its file is there',
        async () => (await pod.exec('main', 'ls', '/data')) === 'key\n',
        soonSeconds,
      );
      expect(await pod.exec('main', 'cat', '/data/key')).toBe('hidden');
    },
  },
  {
    number: 61,
    title: 'modes and fsGroup: a user of the group reads what is 0400',
    async run(trial) {
      const secretName = trial.name();
      await trial.secret(secretName, { key: 'hidden' });
      const pod = await trial.pod({
        securityContext: { runAsUser: 1000, fsGroup: 1001 },
        ...holding({ secret: { secretName, defaultMode: 0o400 } }),
      });
      await pod.running();
      expect(await pod.exec('main', 'stat', '-L', '-c', '%a %g', '/data/key')).toBe('440 1001\n');
      expect(await pod.exec('main', 'cat', '/data/key')).toBe('hidden');
    },
  },
  {
    number: 62,
    title: 'a hostPath is checked for what it has to be, or made',
    async run(trial) {
      const { path } = trial.folder();
      const made = `${path}/made`;
      const good = await trial.pod(
        holding({ hostPath: { path: made, type: 'DirectoryOrCreate' } }),
      );
      const bad = await trial.pod(
        holding({ hostPath: { path: `${path}/none`, type: 'Directory' } }),
      );
      await bad.event('FailedMount', `hostPath type check failed: ${path}/none is not a directory`);
      await good.running();
      expect(statSync(made).mode & 0o777).toBe(0o755);
      expect(statusOf(await bad.status(), 'main')?.state.waiting).toMatchObject({
        reason: 'ContainerCreating',
      });
    },
  },
  {
    number: 66,
    title: 'subPathExpr: a folder of the pod’s name; what is missing holds the container',
    async run(trial) {
      const env = [
        { name: 'NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
        { name: 'LATER', valueFrom: { fieldRef: { fieldPath: "metadata.annotations['later']" } } },
      ];
      const spec = (subPathExpr: string): object => ({
        volumes: [{ name: 'data', emptyDir: {} }],
        ...one(`echo here > /data/file; ${forever}`, {
          env,
          volumeMounts: [{ name: 'data', mountPath: '/data', subPathExpr }],
        }),
      });
      const pod = await trial.pod(spec('$(NAME)'));
      const later = await trial.pod(spec('$(LATER)/x'));
      await pod.running();
      const volume = `${trial.world.runtime.node.folder}/kubelet/pods/${pod.uid}/volumes/kubernetes.io~empty-dir/data`;
      expect(statSync(`${volume}/${pod.name}/file`).isFile()).toBe(true);
      await later.waiting('CreateContainerConfigError');
      await later.patch({ metadata: { annotations: { later: 'now' } } });
      await later.waitFor('it runs', (each) => statusOf(each, 'main')?.ready === true, soonSeconds);
    },
  },
  {
    number: 67,
    title: 'a subPath that leads out of its volume is refused',
    async run(trial) {
      const mounted = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };
      const pod = await trial.pod({
        initContainers: [box('link', 'ln -s /etc /data/out', mounted)],
        ...holding({ emptyDir: {} }, forever, { subPath: 'out' }),
      });
      const status = await pod.waiting('CreateContainerConfigError');
      expect(statusOf(status, 'main')?.state.waiting?.message).toMatch(/subPath|subpath/);
      await pod.event('Failed');
      expect(await pod.containers('main')).toEqual([]);
    },
  },
  {
    number: 68,
    title: 'a secret lies in memory, and is gone with its pod',
    async run(trial) {
      const secretName = trial.name();
      await trial.secret(secretName, { key: 'hidden' });
      const pod = await trial.pod(holding({ secret: { secretName } }));
      await pod.running();
      expect(mountOf(trial, pod.uid, 'data')).toContain(' - tmpfs ');
      await pod.remove();
      expect(mountOf(trial, pod.uid, 'data')).toBeUndefined();
      const { world } = trial;
      await world.until('its folder is gone', () => !world.podFolders().includes(pod.uid));
    },
  },
];
