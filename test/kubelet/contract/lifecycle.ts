/** What becomes of containers that end: restart policies, init containers, sidecars. */
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import { box, conditionOf, forever, isReady, statusOf } from './world.ts';

const shared = {
  volumes: [{ name: 'shared', emptyDir: {} }],
};
const mounted = { volumeMounts: [{ name: 'shared', mountPath: '/shared' }] };

export const lifecycle: readonly Scenario[] = [
  {
    number: 17,
    title: 'Always, and it exits with 0 again and again: restarted at once, then with back-off',
    async run(world) {
      const name = world.name('loop');
      const { metadata } = await world.create(name, { containers: [box('main', 'exit 0')] });
      const status = await world.waitFor(
        name,
        'CrashLoopBackOff after the first restart',
        (each) => statusOf(each, 'main')?.state.waiting?.reason === 'CrashLoopBackOff',
      );
      expect(statusOf(status, 'main')).toMatchObject({
        restartCount: 1,
        ready: false,
        lastState: { terminated: { reason: 'Completed', exitCode: 0 } },
        state: {
          waiting: {
            message: `back-off 10s restarting failed container=main pod=${name}_default(${metadata.uid})`,
          },
        },
      });
      expect(status.phase).toBe('Running');
      await world.waitForEvent(name, 'BackOff', 'Back-off restarting failed container main in pod');
      await world.waitFor(
        name,
        'a second restart',
        (each) => statusOf(each, 'main')?.restartCount === 2,
      );
      await world.remove(name);
    },
  },
  {
    number: 18,
    title: 'OnFailure, and it exits with 0: Succeeded, and the sandbox is stopped',
    async run(world) {
      const name = world.name('done');
      const spec = { restartPolicy: 'OnFailure', containers: [box('main', 'exit 0')] };
      const { metadata } = await world.create(name, spec);
      const status = await world.phase(name, 'Succeeded');
      expect(conditionOf(status, 'Ready')).toMatchObject({
        status: 'False',
        reason: 'PodCompleted',
      });
      expect(statusOf(status, 'main')).toMatchObject({ restartCount: 0 });
      await world.until('the sandbox is stopped', async () =>
        (await world.sandboxes(metadata.uid)).every(({ ready }) => !ready),
      );
      await world.remove(name);
    },
  },
  {
    number: 19,
    title: 'Never, and it exits with 3: Failed, once',
    async run(world) {
      const name = world.name('failed');
      const spec = { restartPolicy: 'Never', containers: [box('main', 'exit 3')] };
      const { metadata } = await world.create(name, spec);
      const status = await world.phase(name, 'Failed');
      expect(statusOf(status, 'main')).toMatchObject({
        restartCount: 0,
        state: { terminated: { exitCode: 3, reason: 'Error' } },
      });
      const [container] = await world.containers(metadata.uid);
      expect(world.starts.count(container?.id ?? '')).toBe(1);
      await world.remove(name);
    },
  },
  {
    number: 20,
    title: 'one of two containers ended for good: the pod runs, and is not ready',
    async run(world) {
      const name = world.name('half');
      const containers = [box('a', 'exit 0'), box('b', forever)];
      await world.create(name, { restartPolicy: 'Never', containers });
      const status = await world.waitFor(
        name,
        'a has ended and b runs',
        (each) =>
          statusOf(each, 'a')?.state.terminated !== undefined &&
          statusOf(each, 'b')?.state.running !== undefined,
      );
      expect(status.phase).toBe('Running');
      expect(conditionOf(status, 'ContainersReady')).toMatchObject({
        status: 'False',
        reason: 'ContainersNotReady',
        message: 'containers with unready status: [a]',
      });
      await world.remove(name);
    },
  },
  {
    number: 22,
    title: 'init containers run one after the other, and the rest waits for them',
    async run(world) {
      const name = world.name('init');
      await world.create(name, {
        ...shared,
        initContainers: [
          box('init1', 'echo init1 >> /shared/order', mounted),
          box(
            'init2',
            'echo init2 >> /shared/order; until test -e /shared/go; do sleep 0.1; done',
            mounted,
          ),
        ],
        containers: [box('app', `echo app >> /shared/order; ${forever}`, mounted)],
      });
      const between = await world.waitFor(
        name,
        'init2 runs',
        (each) => statusOf(each, 'init2')?.state.running !== undefined,
      );
      expect(between.phase).toBe('Pending');
      expect(statusOf(between, 'init1')?.state.terminated).toMatchObject({ reason: 'Completed' });
      expect(statusOf(between, 'app')?.state.waiting).toMatchObject({ reason: 'PodInitializing' });
      expect(conditionOf(between, 'Initialized')).toMatchObject({
        status: 'False',
        reason: 'ContainersNotInitialized',
        message: 'containers with incomplete status: [init2]',
      });
      await world.exec(name, 'init2', 'touch', '/shared/go');
      await world.running(name);
      expect(await world.exec(name, 'app', 'cat', '/shared/order')).toBe('init1\ninit2\napp\n');
      await world.remove(name);
    },
  },
  {
    number: 23,
    title: 'an init container fails for good: Failed, and no other is ever made',
    async run(world) {
      const name = world.name('init-failed');
      const { metadata } = await world.create(name, {
        restartPolicy: 'Never',
        initContainers: [box('init', 'exit 1')],
        containers: [box('app', forever)],
      });
      const status = await world.phase(name, 'Failed');
      expect(statusOf(status, 'app')?.state.waiting).toMatchObject({ reason: 'PodInitializing' });
      expect((await world.containers(metadata.uid)).map((each) => each.name)).not.toContain('app');
      await world.remove(name);
    },
  },
  {
    number: 24,
    title: 'an init container that fails is tried again with back-off',
    async run(world) {
      const name = world.name('init-again');
      await world.create(name, {
        initContainers: [box('init', 'exit 1')],
        containers: [box('app', forever)],
      });
      const status = await world.waitFor(
        name,
        'the init container waits',
        (each) => statusOf(each, 'init')?.state.waiting?.reason === 'CrashLoopBackOff',
      );
      expect(status.phase).toBe('Pending');
      expect(statusOf(status, 'init')).toMatchObject({
        restartCount: 1,
        lastState: { terminated: { exitCode: 1 } },
      });
      await world.remove(name);
    },
  },
  {
    number: 25,
    title: 'what follows a sidecar waits until its startup probe has succeeded',
    async run(world) {
      const name = world.name('sidecar-probe');
      const startupProbe = {
        exec: { command: ['test', '-e', '/shared/ok'] },
        periodSeconds: 1,
        failureThreshold: 60,
      };
      await world.create(name, {
        ...shared,
        restartPolicy: 'Never',
        initContainers: [
          box('sidecar', `sleep 2; touch /shared/ok; ${forever}`, {
            ...mounted,
            restartPolicy: 'Always',
            startupProbe,
          }),
          // Ends the pod if it comes too early.
          box('after', 'test -e /shared/ok', mounted),
        ],
        containers: [box('app', forever)],
      });
      const status = await world.running(name);
      expect(statusOf(status, 'after')).toMatchObject({
        restartCount: 0,
        state: { terminated: { exitCode: 0 } },
      });
      expect(statusOf(status, 'sidecar')).toMatchObject({ started: true, ready: true });
      await world.remove(name);
    },
  },
  {
    number: 26,
    title: 'a sidecar that exits is restarted, and nothing else is',
    async run(world) {
      const name = world.name('sidecar-exit');
      const { metadata } = await world.create(name, {
        restartPolicy: 'Never',
        initContainers: [box('sidecar', 'sleep 2', { restartPolicy: 'Always' })],
        containers: [box('app', forever)],
      });
      const status = await world.waitFor(
        name,
        'the sidecar runs again',
        (each) => (statusOf(each, 'sidecar')?.restartCount ?? 0) > 0,
      );
      expect(statusOf(status, 'app')).toMatchObject({ restartCount: 0 });
      const apps = (await world.containers(metadata.uid)).filter((each) => each.name === 'app');
      expect(apps.map(({ id }) => world.starts.count(id))).toEqual([1]);
      await world.remove(name);
    },
  },
  {
    number: 27,
    title: 'a sidecar does not keep a pod alive whose work is done',
    async run(world) {
      const name = world.name('sidecar-end');
      await world.create(name, {
        restartPolicy: 'Never',
        initContainers: [box('sidecar', forever, { restartPolicy: 'Always' })],
        containers: [box('app', 'sleep 1')],
      });
      const status = await world.phase(name, 'Succeeded');
      expect(statusOf(status, 'app')?.state.terminated).toMatchObject({ exitCode: 0 });
      await world.waitFor(
        name,
        'the sidecar has ended',
        (each) => statusOf(each, 'sidecar')?.state.terminated !== undefined,
      );
      await world.remove(name);
    },
  },
  {
    number: 85,
    title: 'conditions of a pod that starts: scheduled, initialised, its sandbox there, ready',
    async run(world) {
      const name = world.name('conditions');
      await world.create(name, { containers: [box('main', forever)] });
      const status = await world.waitFor(name, 'it is ready', isReady);
      const types = ['PodScheduled', 'Initialized', 'PodReadyToStartContainers', 'ContainersReady'];
      for (const type of types) expect(conditionOf(status, type)).toMatchObject({ status: 'True' });
      expect(status).toMatchObject({ phase: 'Running', qosClass: 'BestEffort' });
      expect(status.podIP).toMatch(/^(?:10\.244|127)\./);
      expect(statusOf(status, 'main')).toMatchObject({
        started: true,
        ready: true,
        restartCount: 0,
      });
      await world.remove(name);
    },
  },
];
