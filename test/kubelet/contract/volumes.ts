/** What containers find where volumes are mounted. */
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import { box, forever, statusOf } from './world.ts';
import type { World } from './world.ts';

const configMaps = '/api/v1/namespaces/default/configmaps';

async function makeMap(world: World, name: string, data: object): Promise<void> {
  const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data };
  await world.cluster.control.must('POST', configMaps, object);
}

export const volumes: readonly Scenario[] = [
  {
    number: 55,
    title: 'an emptyDir is shared, outlives a container, and not its pod',
    async run(world) {
      const name = world.name('empty');
      const mounted = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };
      const { metadata } = await world.create(name, {
        volumes: [{ name: 'data', emptyDir: {} }],
        containers: [
          box(
            'writer',
            'echo run >> /data/runs; until test -e /data/end; do sleep 0.1; done; rm /data/end',
            mounted,
          ),
          box('reader', forever, mounted),
        ],
      });
      await world.running(name);
      expect(await world.exec(name, 'reader', 'cat', '/data/runs')).toBe('run\n');
      await world.exec(name, 'reader', 'touch', '/data/end');
      await world.waitFor(
        name,
        'the writer was restarted',
        (status) =>
          statusOf(status, 'writer')?.restartCount === 1 &&
          statusOf(status, 'writer')?.ready === true,
      );
      expect(await world.exec(name, 'reader', 'cat', '/data/runs')).toBe('run\nrun\n');
      await world.remove(name);
      await world.until('its folder is gone', () => !world.podFolders().includes(metadata.uid));
    },
  },
  {
    number: 57,
    title: 'a configMap: files by links that change at once, mode 0644, or just the items',
    async run(world) {
      const name = world.name('map');
      await makeMap(world, name, { one: '1', two: '2' });
      await world.create(name, {
        volumes: [
          { name: 'all', configMap: { name } },
          { name: 'some', configMap: { name, items: [{ key: 'two', path: 'a/b' }] } },
        ],
        containers: [
          box('main', forever, {
            volumeMounts: [
              { name: 'all', mountPath: '/all' },
              { name: 'some', mountPath: '/some' },
            ],
          }),
        ],
      });
      await world.running(name);
      expect(await world.exec(name, 'main', 'ls', '/all')).toBe('one\ntwo\n');
      expect(await world.exec(name, 'main', 'cat', '/all/one', '/some/a/b')).toBe('12');
      await world.exec(name, 'main', 'test', '-L', '/all/..data');
      await world.exec(name, 'main', 'test', '-L', '/all/one');
      await expect(world.exec(name, 'main', 'cat', '/some/one')).rejects.toThrow('No such file');
      await world.remove(name);
    },
  },
  {
    number: 58,
    title: 'an updated configMap reaches the files, and not what is mounted by subPath',
    async run(world) {
      const name = world.name('map-update');
      await makeMap(world, name, { key: 'old' });
      await world.create(name, {
        volumes: [{ name: 'map', configMap: { name } }],
        containers: [
          box('main', forever, {
            volumeMounts: [
              { name: 'map', mountPath: '/map' },
              { name: 'map', mountPath: '/single', subPath: 'key' },
            ],
          }),
        ],
      });
      await world.running(name);
      expect(await world.exec(name, 'main', 'cat', '/map/key', '/single')).toBe('oldold');
      const type = 'application/merge-patch+json';
      await world.cluster.control.must(
        'PATCH',
        `${configMaps}/${name}`,
        { data: { key: 'new' } },
        type,
      );
      await world.until(
        'the file has the new text',
        async () => (await world.exec(name, 'main', 'cat', '/map/key')) === 'new',
        120,
      );
      expect(await world.exec(name, 'main', 'cat', '/single')).toBe('old');
      await world.remove(name);
    },
  },
  {
    number: 59,
    title: 'a configMap that is not there holds the pod, with an event, until it comes',
    async run(world) {
      const name = world.name('map-missing');
      await world.create(name, {
        volumes: [{ name: 'map', configMap: { name } }],
        containers: [box('main', forever, { volumeMounts: [{ name: 'map', mountPath: '/map' }] })],
      });
      await world.waitForEvent(name, 'FailedMount', `configmap "${name}" not found`);
      const pod = await world.pod(name);
      expect(pod?.status.phase).toBe('Pending');
      expect(statusOf(pod?.status ?? {}, 'main')?.state.waiting).toMatchObject({
        reason: 'ContainerCreating',
      });
      await makeMap(world, name, { key: 'here' });
      await world.waitFor(
        name,
        'it runs',
        (status) => statusOf(status, 'main')?.ready === true,
        120,
      );
      expect(await world.exec(name, 'main', 'cat', '/map/key')).toBe('here');
      await world.remove(name);
    },
  },
];
