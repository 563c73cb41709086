/** What becomes of containers that end: restart policies, init containers, sidecars. */
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import { conditionOf, isReady, statusOf } from './test-pod.ts';
import { box, forever, one } from './trial.ts';

const shared = {
  volumes: [{ name: 'shared', emptyDir: {} }],
};
const mounted = { volumeMounts: [{ name: 'shared', mountPath: '/shared' }] };
const never = { restartPolicy: 'Never' };

export const lifecycle: readonly Scenario[] = [
  {
    number: 17,
    title: 'Always, and it exits with 0 again and again: restarted at once, then with back-off',
    async run(trial) {
      const pod = await trial.pod(one('exit 0'));
      const status = await pod.waiting('CrashLoopBackOff');
      expect(statusOf(status, 'main')).toMatchObject({
        restartCount: 1,
        ready: false,
        lastState: { terminated: { reason: 'Completed', exitCode: 0 } },
        state: {
          waiting: {
            message: `back-off 10s restarting failed container=main pod=${pod.name}_default(${pod.uid})`,
          },
        },
      });
      expect(status.phase).toBe('Running');
      await pod.event('BackOff', 'Back-off restarting failed container main in pod');
      await pod.restarted(2);
    },
  },
  {
    number: 18,
    title: 'OnFailure, and it exits with 0: Succeeded, and the sandbox is stopped',
    async run(trial) {
      const pod = await trial.pod({ restartPolicy: 'OnFailure', ...one('exit 0') });
      const status = await pod.phase('Succeeded');
      expect(conditionOf(status, 'Ready')).toMatchObject({
        status: 'False',
        reason: 'PodCompleted',
      });
      expect(statusOf(status, 'main')).toMatchObject({ restartCount: 0 });
      await pod.until('the sandbox is stopped', async () =>
        (await pod.sandboxes()).every(({ ready }) => !ready),
      );
    },
  },
  {
    number: 19,
    title: 'Never, and it exits with 3: Failed, once',
    async run(trial) {
      const pod = await trial.pod({ ...never, ...one('exit 3') });
      const status = await pod.phase('Failed');
      expect(statusOf(status, 'main')).toMatchObject({
        restartCount: 0,
        state: { terminated: { exitCode: 3, reason: 'Error' } },
      });
      expect(await pod.starts('main')).toEqual([1]);
    },
  },
  {
    number: 20,
    title: 'one of two containers ended for good: the pod runs, and is not ready',
    async run(trial) {
      const pod = await trial.pod({
        ...never,
        containers: [box('a', 'exit 0'), box('b', forever)],
      });
      const status = await pod.waitFor(
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
    },
  },
  {
    number: 21,
    title: 'one that ran for more than twice the longest wait is restarted at once',
    alone: 'the kubelet is another one',
    async run(trial) {
      const { world } = trial;
      const crashLoopBackOff = { maxContainerRestartPeriod: '5s' };
      await trial.otherKubelet({ configuration: { crashLoopBackOff } });
      // Two ends one after the other, then one that is told when to end, then none.
      const fourth = `if test -e /shared/third; then ${forever}; fi`;
      const third =
        'if test -e /shared/second; then touch /shared/third; until test -e /shared/end; do sleep 0.1; done; exit 1; fi';
      const second = 'if test -e /shared/first; then touch /shared/second; exit 1; fi';
      const script = `${fourth}; ${third}; ${second}; touch /shared/first; exit 1`;
      const pod = await trial.pod({ ...shared, ...one(script, mounted) });
      const lives = await pod.waitFor('it was restarted twice', (status) => {
        const said = statusOf(status, 'main');
        return said?.restartCount === 2 && said.state.running !== undefined;
      });
      const waits = await pod.told('BackOff');
      expect(waits).toBeGreaterThan(0);
      const begun = Date.parse(statusOf(lives, 'main')?.state.running?.startedAt ?? '');
      await world.until('it has run for a while', () => Date.now() > begun + 12_000);
      await pod.exec('main', 'touch', '/shared/end');
      await pod.waitFor('it was restarted three times', (status) => {
        const said = statusOf(status, 'main');
        return said?.restartCount === 3 && said.state.running !== undefined;
      });
      await pod.until('that is told', async () => (await pod.told('Started')) === 4);
      expect(await pod.told('BackOff')).toBe(waits);
    },
  },
  {
    number: 22,
    title: 'init containers run one after the other, and the rest waits for them',
    async run(trial) {
      const pod = await trial.pod({
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
      const between = await pod.waitFor(
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
      await pod.exec('init2', 'touch', '/shared/go');
      await pod.running();
      expect(await pod.exec('app', 'cat', '/shared/order')).toBe('init1\ninit2\napp\n');
    },
  },
  {
    number: 23,
    title: 'an init container fails for good: Failed, and no other is ever made',
    async run(trial) {
      const pod = await trial.pod({
        ...never,
        initContainers: [box('init', 'exit 1')],
        containers: [box('app', forever)],
      });
      const status = await pod.phase('Failed');
      expect(statusOf(status, 'app')?.state.waiting).toMatchObject({ reason: 'PodInitializing' });
      expect(await pod.containers('app')).toEqual([]);
    },
  },
  {
    number: 24,
    title: 'an init container that fails is tried again with back-off',
    async run(trial) {
      const pod = await trial.pod({ initContainers: [box('init', 'exit 1')], ...one(forever) });
      const status = await pod.waiting('CrashLoopBackOff', 'init');
      expect(status.phase).toBe('Pending');
      expect(statusOf(status, 'init')).toMatchObject({
        restartCount: 1,
        lastState: { terminated: { exitCode: 1 } },
      });
    },
  },
  {
    number: 25,
    title: 'what follows a sidecar waits until its startup probe has succeeded',
    async run(trial) {
      const startupProbe = {
        exec: { command: ['test', '-e', '/shared/ok'] },
        periodSeconds: 1,
        timeoutSeconds: 10,
        failureThreshold: 60,
      };
      const sidecar = { ...mounted, restartPolicy: 'Always', startupProbe };
      const pod = await trial.pod({
        ...shared,
        ...never,
        initContainers: [
          box('sidecar', `sleep 2; touch /shared/ok; ${forever}`, sidecar),
          // Ends the pod if it comes too early.
          box('after', 'test -e /shared/ok', mounted),
        ],
        ...one(forever),
      });
      const status = await pod.running();
      expect(statusOf(status, 'after')).toMatchObject({
        restartCount: 0,
        state: { terminated: { exitCode: 0 } },
      });
      expect(statusOf(status, 'sidecar')).toMatchObject({ started: true, ready: true });
    },
  },
  {
    number: 26,
    title: 'a sidecar that exits is restarted, and nothing else is',
    async run(trial) {
      const pod = await trial.pod({
        ...never,
        initContainers: [box('sidecar', 'sleep 2', { restartPolicy: 'Always' })],
        ...one(forever),
      });
      const status = await pod.restarted(1, 'sidecar');
      expect(statusOf(status, 'main')).toMatchObject({ restartCount: 0 });
      expect(await pod.starts('main')).toEqual([1]);
    },
  },
  {
    number: 27,
    title: 'a sidecar does not keep a pod alive whose work is done',
    async run(trial) {
      const pod = await trial.pod({
        ...never,
        initContainers: [box('sidecar', forever, { restartPolicy: 'Always' })],
        ...one('sleep 1'),
      });
      const status = await pod.phase('Succeeded');
      expect(statusOf(status, 'main')?.state.terminated).toMatchObject({ exitCode: 0 });
      await pod.waitFor(
        'the sidecar has ended',
        (each) => statusOf(each, 'sidecar')?.state.terminated !== undefined,
      );
    },
  },
  {
    number: 37,
    title: 'another image: the container is replaced once, though the policy is Never',
    async run(trial) {
      const pod = await trial.pod({ ...never, ...one(forever) });
      await pod.running();
      const image = 'docker.io/local/busybox:2';
      await pod.patch({ spec: { containers: [{ name: 'main', image }] } });
      const status = await pod.waitFor(
        'the other one runs',
        (each) => statusOf(each, 'main')?.image === image && isReady(each),
      );
      expect(statusOf(status, 'main')).toMatchObject({ restartCount: 1 });
      await pod.event('Killing', 'Container main definition changed, will be restarted');
      expect(await pod.starts('main')).toEqual([1, 1]);
    },
  },
  {
    number: 38,
    title: 'a sandbox that somebody stops is made anew, and the pod begins from its start',
    async run(trial) {
      const init = [box('init', 'echo init >> /shared/runs', mounted)];
      const pod = await trial.pod({ ...shared, initContainers: init, ...one(forever, mounted) });
      const { podIP } = await pod.running();
      const [sandbox] = await pod.sandboxes();
      await trial.world.cri.runtime.stopPodSandbox({ podSandboxId: sandbox?.id ?? '' });
      await pod.event('SandboxChanged');
      await pod.restarted(1);
      const status = await pod.running();
      expect(status.podIP).not.toBe(podIP);
      expect((await pod.sandboxes()).find(({ ready }) => ready)).toMatchObject({ attempt: 1 });
      expect(await pod.exec('main', 'cat', '/shared/runs')).toBe('init\ninit\n');
    },
  },
  {
    number: 85,
    title: 'conditions of a pod that starts: scheduled, initialised, its sandbox there, ready',
    async run(trial) {
      const pod = await trial.pod(one(forever));
      const status = await pod.running();
      const types = ['PodScheduled', 'Initialized', 'PodReadyToStartContainers', 'ContainersReady'];
      for (const type of types) expect(conditionOf(status, type)).toMatchObject({ status: 'True' });
      expect(status).toMatchObject({ phase: 'Running', qosClass: 'BestEffort' });
      expect(status.podIP).toMatch(/^(?:10\.244|127)\./);
      expect(statusOf(status, 'main')).toMatchObject({
        started: true,
        ready: true,
        restartCount: 0,
      });
    },
  },
];
