/** What probes make of containers, and how many records and logs of them are kept. */
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import { box, forever, isReady, statusOf } from './world.ts';
import type { World } from './world.ts';

const noNetwork = 'its pods have no network';
const file = '/tmp/good';
const asLongAsThere = { exec: { command: ['cat', file] } };
/** Makes the file, and waits. */
const good = `touch ${file}; ${forever}`;
/** What busybox serves, and everything else is a 404. */
const web = 'httpd -f -p 8080 -h /www';

async function restarts(world: World, name: string, count: number): Promise<void> {
  await world.waitFor(
    name,
    `restarted ${count} times`,
    (status) => statusOf(status, 'main')?.restartCount === count,
  );
}

function ask(path: string): object {
  return { httpGet: { path, port: 'web' }, periodSeconds: 1 };
}

export const probing: readonly Scenario[] = [
  {
    number: 69,
    title: 'without a probe: ready as soon as it runs',
    async run(world) {
      const name = world.name('plain');
      await world.create(name, { containers: [box('main', forever)] });
      const status = await world.running(name);
      expect(statusOf(status, 'main')).toMatchObject({ ready: true, started: true });
      await world.remove(name);
    },
  },
  {
    number: 70,
    title: 'readiness comes after its delay, and goes without a restart',
    async run(world) {
      const name = world.name('readiness');
      const readinessProbe = {
        ...asLongAsThere,
        initialDelaySeconds: 3,
        periodSeconds: 1,
        failureThreshold: 2,
      };
      await world.create(name, { containers: [box('main', good, { readinessProbe })] });
      const { containerStatuses, conditions } = await world.running(name);
      const startedAt = Date.parse(containerStatuses?.[0]?.state.running?.startedAt ?? '');
      const readyAt = conditions?.find(({ type }) => type === 'Ready')?.lastTransitionTime ?? '';
      expect(Date.parse(readyAt) - startedAt).toBeGreaterThanOrEqual(3_000);
      await world.exec(name, 'main', 'rm', file);
      await world.waitForEvent(name, 'Unhealthy', /^Readiness probe failed: .*No such file/);
      const unready = await world.waitFor(name, 'not ready', (status) => !isReady(status));
      expect(statusOf(unready, 'main')).toMatchObject({ restartCount: 0, ready: false });
      await world.exec(name, 'main', 'touch', file);
      await world.running(name);
      await world.remove(name);
    },
  },
  {
    number: 71,
    title: 'a liveness probe that fails has the container killed and restarted',
    async run(world) {
      const name = world.name('liveness');
      const livenessProbe = { ...asLongAsThere, periodSeconds: 1, failureThreshold: 2 };
      const readinessProbe = { ...asLongAsThere, periodSeconds: 1 };
      const more = { livenessProbe, readinessProbe };
      await world.create(name, { containers: [box('main', good, more)] });
      await world.running(name);
      await world.exec(name, 'main', 'rm', file);
      await world.waitForEvent(name, 'Unhealthy', 'Liveness probe failed: ');
      await world.waitForEvent(name, 'Killing', 'failed liveness probe');
      await restarts(world, name, 1);
      const status = await world.running(name);
      expect(statusOf(status, 'main')?.lastState.terminated).toBeDefined();
      await world.remove(name);
    },
  },
  {
    number: 73,
    title: 'a web server that answers with 404 is not alive',
    notInMemory: noNetwork,
    async run(world) {
      const name = world.name('http');
      const more = {
        ports: [{ name: 'web', containerPort: 8080 }],
        readinessProbe: ask('/index.html'),
        livenessProbe: { ...ask('/none'), failureThreshold: 1, initialDelaySeconds: 3 },
      };
      await world.create(name, { containers: [box('main', web, more)] });
      await world.running(name);
      const words = 'Liveness probe failed: HTTP probe failed with statuscode: 404';
      await world.waitForEvent(name, 'Unhealthy', words);
      await restarts(world, name, 1);
      await world.remove(name);
    },
  },
  {
    number: 74,
    title: 'a startup probe that fails to its threshold kills, and no liveness probe ran before',
    async run(world) {
      const name = world.name('startup');
      const never = { exec: { command: ['false'] }, periodSeconds: 1, failureThreshold: 3 };
      const more = { startupProbe: never, livenessProbe: { ...never, failureThreshold: 1 } };
      await world.create(name, { containers: [box('main', forever, more)] });
      await world.waitForEvent(name, 'Killing', 'failed startup probe');
      const unhealthy = (await world.events(name)).filter(({ reason }) => reason === 'Unhealthy');
      expect(unhealthy.map(({ message }) => message.split(' ', 1)[0])).toEqual(['Startup']);
      await restarts(world, name, 1);
      await world.remove(name);
    },
  },
  {
    number: 76,
    title: 'a probe that takes too long has failed',
    async run(world) {
      const name = world.name('slow');
      const readinessProbe = { exec: { command: ['sleep', '30'] }, periodSeconds: 1 };
      await world.create(name, { containers: [box('main', forever, { readinessProbe })] });
      await world.waitForEvent(name, 'Unhealthy', 'Readiness probe failed: command timed out');
      await world.remove(name);
    },
  },
  {
    number: 77,
    title: 'a kubelet that comes back leaves a ready pod ready',
    async run(world) {
      const name = world.name('stays');
      const readinessProbe = { ...asLongAsThere, periodSeconds: 1 };
      const livenessProbe = { ...asLongAsThere, periodSeconds: 1 };
      const more = { readinessProbe, livenessProbe, startupProbe: livenessProbe };
      const { metadata } = await world.create(name, { containers: [box('main', good, more)] });
      await world.running(name);
      // What has run for less than ten seconds is probed anew.
      const oldEnough = Date.now() + 12_000;
      await world.until('it has run for a while', () => Date.now() > oldEnough);
      const before = (await world.pod(name))?.status;
      await world.withoutKubelet(async () => {
        await world.kubelet.kill();
        world.restartKubelet();
      });
      const other = world.name('after');
      await world.create(other, { containers: [box('main', forever)] });
      await world.running(other);
      await world.exec(name, 'main', 'rm', file);
      await restarts(world, name, 1);
      const ready = before?.conditions?.find(({ type }) => type === 'Ready');
      const after = (await world.pod(name))?.status;
      expect(ready?.status).toBe('True');
      expect(after?.startTime).toBe(before?.startTime);
      expect((await world.pod(name))?.metadata.uid).toBe(metadata.uid);
      await world.remove(name);
      await world.remove(other);
    },
  },
  {
    number: 101,
    title: 'of many ends of a container one record is kept beside the one that runs',
    async run(world) {
      const name = world.name('records');
      const volumes = [{ name: 'kept', emptyDir: {} }];
      const third = `if test -e /kept/second; then ${forever}; fi`;
      const second = 'if test -e /kept/first; then touch /kept/second; exit 1; fi';
      const script = `${third}; ${second}; touch /kept/first; exit 1`;
      const more = { volumeMounts: [{ name: 'kept', mountPath: '/kept' }] };
      const { metadata } = await world.create(name, {
        volumes,
        containers: [box('main', script, more)],
      });
      await restarts(world, name, 2);
      await world.running(name);
      await world.until(
        'two records are left',
        async () => (await world.containers(metadata.uid)).length === 2,
        90,
      );
      const states = (await world.containers(metadata.uid)).map(({ state }) => state);
      expect(states.toSorted((a, b) => a - b)).toEqual([1, 2]);
      await world.remove(name);
    },
  },
];
