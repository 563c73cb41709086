import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Container } from '../../../../src/kubelet/pod/container.ts';
import type { Volume } from '../../../../src/kubelet/pod/volume.ts';
import { containerConfig, sandboxConfig } from '../../../support/fake-cri/configs.ts';
import { container, pod } from '../runtime/made-pods.ts';
import { WorkerLab } from './worker-lab.ts';

/** The life of pods on a runtime in memory, with a driven clock (17 to 39 of docs/kubelet-scenarios.md). */

let lab: WorkerLab;

beforeEach(() => {
  lab = new WorkerLab();
});

afterEach(async () => {
  await lab.end();
});

function script(name: string, text: string, more: Partial<Container> = {}): Container {
  return container(name, { command: ['sh', '-c', text], terminationMessagePath: '', ...more });
}

const forever = 'trap "exit 0" TERM; sleep 1000000 & wait';

function phaseIs(phase: string): () => boolean {
  return () => lab.status().phase === phase;
}

test('a pod starts, is deleted, and gives back what it had', async () => {
  const web = pod({ containers: [script('app', forever)] });
  lab.put(web);
  await lab.untilState('running 0');
  expect(lab.events).toEqual([
    'Normal Pulled: Container image "busybox:1" already present on machine',
    'Normal Created: Container created',
    'Normal Started: Container started',
  ]);
  expect(lab.status().podIPs).toHaveLength(1);
  lab.delete(web, 30);
  await lab.until('finished', () => lab.workers.state('u1')?.kind === 'finished');
  expect(lab.events.at(-1)).toBe('Normal Killing: Stopping container app');
  expect(lab.fake.log.changes).toEqual([
    'RunPodSandbox',
    'CreateContainer',
    'StartContainer',
    'StopContainer',
    'StopPodSandbox',
  ]);
  expect(lab.tornDown).toEqual(['u1']);
  expect(lab.state()).toBe('Completed 0');
  lab.remove('u1');
  lab.housekeep();
  expect(lab.workers.uids()).toEqual([]);
});

test('pods at rest are looked at each minute, and the runtime is asked once for all of them', async () => {
  const uids = ['u1', 'u2', 'u3'];
  for (const uid of uids)
    lab.put(pod({ containers: [script('app', forever)] }, { uid, name: uid }));
  for (const uid of uids) await lab.untilState('running 0', 'app', uid);
  await lab.clock.advance(100_000);
  const [ensured, lists] = [lab.ensured.length, lab.fake.log.count('ListPodSandbox')];
  await lab.clock.advance(900_000);
  expect(lab.ensured.length - ensured).toBeGreaterThanOrEqual(3 * 10);
  expect(lab.fake.log.count('ListPodSandbox') - lists).toBe(15);
  // What has changed is read, and by the one that it is about.
  const before = lab.fake.log.count('ListPodSandbox');
  lab.put(
    pod({ containers: [script('app', forever)] }, { uid: 'u2', name: 'u2', labels: { a: 'b' } }),
  );
  await lab.until('synced', () => lab.fake.log.count('ListPodSandbox') > before);
  await lab.clock.advance(1000);
  expect(lab.fake.log.count('ListPodSandbox')).toBe(before + 1);
});

test.each([0, 1])(
  'what an upstream kubelet left is let be, though its source speaks late (attempt %i)',
  async (attempt) => {
    const cri = lab.fake.connect();
    lab.fake.images.add({ name: 'docker.io/local/busybox:1' });
    const config = sandboxConfig('u1', { attempt, logs: `${lab.folder}/logs/u1` });
    const { podSandboxId } = await cri.runtime.runPodSandbox({ config });
    const { containerId } = await cri.runtime.createContainer({
      podSandboxId,
      config: containerConfig('u1', forever, { name: 'app', attempt }),
      sandboxConfig: config,
    });
    await cri.runtime.startContainer({ containerId });
    // Lists are seldom by now, and the last one had nothing of a pod that nobody spoke for.
    await lab.clock.advance(12_000);
    const side = container('side', { image: 'nowhere/none:1', terminationMessagePath: '' });
    lab.put(pod({ containers: [script('app', forever), side] }, { name: 'pod-u1' }));
    await lab.untilState(`running ${attempt}`);
    const before = lab.fake.log.changes.length;
    // The image that is nowhere is tried again, before the next list.
    for (let at = 0; at < 80; at++) {
      await lab.clock.advance(1000);
      expect(lab.state()).toBe(`running ${attempt}`);
    }
    expect(new Set(lab.fake.log.changes.slice(before))).toEqual(new Set(['PullImage']));
  },
);

test('pods at rest are looked at at the same moments, of this process alone', async () => {
  await lab.clock.advance(1234);
  const uids = ['u1', 'u2', 'u3'];
  for (const uid of uids) {
    lab.put(pod({ containers: [script('app', forever)] }, { uid, name: uid }));
    await lab.untilState('running 0', 'app', uid);
    await lab.clock.advance(700);
  }
  await lab.clock.advance(100_000);
  const moments: number[] = [];
  for (let at = 0; at < 600; at++) {
    const before = lab.ensured.length;
    await lab.clock.advance(100);
    if (lab.ensured.length > before) moments.push(lab.ensured.length - before);
  }
  expect(moments).toEqual([3]);
});

test('a pod goes though its cgroup cannot be removed', async () => {
  const web = pod({ containers: [script('app', forever)] });
  lab.put(web);
  await lab.untilState('running 0');
  lab.removeCgroup = async () => {
    throw new Error('there is no bus');
  };
  lab.delete(web, 30);
  await lab.until('finished', () => lab.workers.state('u1')?.kind === 'finished');
  expect(lab.state()).toBe('Completed 0');
});

test('what becomes of a pod is metered', async () => {
  const seen = { 'kubernetes.io/config.seen': new Date(lab.clock.now() - 2000).toISOString() };
  const init = script('i', 'sleep 3');
  const app = script('app', forever, { image: 'absent:1' });
  lab.put(pod({ initContainers: [init], containers: [app] }, { annotations: seen }));
  await lab.pass('waits for its image', () => lab.metered.length >= 4, 20);
  expect(lab.metered.slice(0, 4)).toEqual([
    'worker 2',
    'starts init_container',
    'starts container',
    'failed container ErrImagePull',
  ]);
  lab.fake.images.offer({ name: 'docker.io/library/absent:1' });
  const seconds = await lab.pass('runs', () => lab.state() === 'running 0', 60);
  expect(seconds).toBeGreaterThan(5);
  const running = lab.metered.filter((line) => line.startsWith('running'));
  expect(running).toHaveLength(1);
  expect(Number(running[0]?.split(' ')[1])).toBeGreaterThan(10);
});

test('crash loops: at once, then after 10, 20, 40 seconds', async () => {
  lab.put(pod({ containers: [script('app', 'exit 1')] }));
  const waits: number[] = [];
  for (let restart = 1; restart <= 4; restart += 1) {
    waits.push(
      await lab.pass(`restart ${restart}`, () => lab.fake.log.count('StartContainer') > restart),
    );
  }
  expect(waits).toEqual([0, 10, 20, 40]);
  await lab.untilState('waiting CrashLoopBackOff');
  const message = 'back-off 1m20s restarting failed container=app pod=web_default(u1)';
  await lab.until(
    message,
    () => lab.status().containerStatuses?.[0]?.state.waiting?.message === message,
  );
  expect(lab.status().containerStatuses?.[0]?.lastState.terminated).toMatchObject({
    exitCode: 1,
    reason: 'Error',
  });
  expect(lab.events).toContain(
    'Warning BackOff: Back-off restarting failed container app in pod web_default(u1)',
  );
});

const endings = [
  ['Never', 'exit 3', 'Failed', 'Error 3'],
  ['Never', 'exit 0', 'Succeeded', 'Completed 0'],
  ['OnFailure', 'exit 0', 'Succeeded', 'Completed 0'],
] as const;

test.each(endings)(
  '%s, %s: %s, and the sandbox is stopped',
  async (restartPolicy, text, phase, state) => {
    lab.put(pod({ restartPolicy, containers: [script('app', text)] }));
    await lab.until('finished', () => lab.workers.state('u1')?.kind === 'finished');
    expect(lab.status().phase).toBe(phase);
    expect(lab.state()).toBe(state);
    expect(lab.fake.log.count('StartContainer')).toBe(1);
    expect([...lab.fake.sandboxes.values()].map(({ ready }) => ready)).toEqual([false]);
  },
);

test('init containers one by one, then the app', async () => {
  const initContainers = [script('i1', 'exit 0'), script('i2', 'exit 0')];
  lab.put(pod({ initContainers, containers: [script('app', forever)] }));
  await lab.pass('app runs', () => lab.state() === 'running 0', 10);
  const order = lab.fake.log.calls.filter(({ name }) => name === 'CreateContainer');
  const names = order.map(
    ({ request }) => (request as { config: { metadata: { name: string } } }).config.metadata.name,
  );
  expect(names).toEqual(['i1', 'i2', 'app']);
});

test('an init container that fails in a Never pod: the app is never created', async () => {
  lab.put(
    pod({
      restartPolicy: 'Never',
      initContainers: [script('i1', 'exit 1')],
      containers: [script('app', forever)],
    }),
  );
  await lab.pass('failed', phaseIs('Failed'), 10);
  expect(lab.state()).toBe('waiting PodInitializing');
  expect(lab.fake.log.count('CreateContainer')).toBe(1);
});

test('a sidecar goes before the app, and after it', async () => {
  const initContainers = [script('s', forever, { restartPolicy: 'Always' })];
  lab.put(
    pod({ restartPolicy: 'Never', initContainers, containers: [script('app', 'sleep 5; exit 0')] }),
  );
  await lab.pass('succeeded', phaseIs('Succeeded'), 30);
  await lab.pass('sidecar ended', () => lab.fake.container('web', 's')?.running === false, 10);
  expect(lab.events.filter((event) => event.includes('Killing'))).toEqual([
    'Normal Killing: Stopping container s',
  ]);
});

test('sidecars end after the app, the last one first', async () => {
  const always = { restartPolicy: 'Always' } as const;
  const slow = 'trap "sleep 2; exit 0" TERM; sleep 1000000 & wait';
  const initContainers = [script('s1', slow, always), script('s2', slow, always)];
  const web = pod({ initContainers, containers: [script('app', slow)] });
  lab.put(web);
  await lab.pass('app runs', () => lab.state() === 'running 0', 10);
  lab.delete(web, 30);
  await lab.pass('finished', () => lab.workers.state('u1')?.kind === 'finished', 40);
  const stops = lab.fake.log.calls.filter(({ name }) => name === 'StopContainer');
  const graces = stops.map(({ request }) => {
    const { containerId, timeout } = request as { containerId: string; timeout: bigint };
    return [lab.fake.containers.get(containerId)?.config.metadata?.name, timeout];
  });
  expect(graces).toEqual([
    ['app', 30n],
    ['s2', 28n],
    ['s1', 26n],
  ]);
});

describe('hooks', () => {
  test('preStop: its time is taken from the grace period', async () => {
    const lifecycle = { preStop: { sleep: { seconds: 5 } } };
    const web = pod({ containers: [script('app', forever, { lifecycle })] });
    lab.put(web);
    await lab.untilState('running 0');
    lab.delete(web, 30);
    await lab.pass('finished', () => lab.workers.state('u1')?.kind === 'finished', 40);
    expect(lab.fake.log.calls.find(({ name }) => name === 'StopContainer')?.request).toMatchObject({
      timeout: 25n,
    });
  });

  test('preStop that takes longer than there is: cut, told of, and two seconds are left', async () => {
    const lifecycle = { preStop: { sleep: { seconds: 10 } } };
    const web = pod({ containers: [script('app', forever, { lifecycle })] });
    lab.put(web);
    await lab.untilState('running 0');
    lab.delete(web, 1);
    await lab.pass('finished', () => lab.workers.state('u1')?.kind === 'finished', 5);
    expect(lab.events).toContain('Warning FailedPreStopHook: PreStopHook failed');
    expect(lab.fake.log.calls.find(({ name }) => name === 'StopContainer')?.request).toMatchObject({
      timeout: 2n,
    });
  });

  test('postStart that fails: the container is killed', async () => {
    const lifecycle = { postStart: { exec: { command: ['sh', '-c', 'exit 1'] } } };
    lab.put(pod({ containers: [script('app', forever, { lifecycle })] }));
    await lab.until('told', () =>
      lab.events.includes('Warning FailedPostStartHook: PostStartHook failed'),
    );
    await lab.until('killed', () => lab.fake.log.count('StopContainer') > 0);
    await lab.pass('waits', () => /PostStartHookError|CrashLoopBackOff/.test(lab.state()), 5);
    expect(lab.events).toContain('Normal Killing: FailedPostStartHook');
  });
});

test('less grace interrupts a kill under way', async () => {
  const stubborn = 'trap "" TERM; while true; do sleep 1000; done';
  const web = pod({ containers: [script('app', stubborn)] });
  lab.put(web);
  await lab.untilState('running 0');
  lab.delete(web, 300);
  await lab.until('stopping', () => lab.fake.log.count('StopContainer') === 1);
  lab.delete(web, 3);
  const seconds = await lab.pass(
    'finished',
    () => lab.workers.state('u1')?.kind === 'finished',
    20,
  );
  expect(seconds).toBeLessThanOrEqual(4);
  lab.delete(web, 100);
  expect(lab.workers.state('u1')?.kind).toBe('finished');
});

test('a pod that was on the node for too long fails', async () => {
  lab.put(
    pod({
      activeDeadlineSeconds: 10,
      restartPolicy: 'Always',
      containers: [script('app', forever)],
    }),
  );
  await lab.untilState('running 0');
  const seconds = await lab.pass('failed', phaseIs('Failed'), 20);
  expect(seconds).toBeGreaterThanOrEqual(9);
  expect(seconds).toBeLessThanOrEqual(11);
  expect(lab.status()).toMatchObject({
    reason: 'DeadlineExceeded',
    message: 'Pod was active on the node longer than the specified deadline',
  });
  await lab.pass('finished', () => lab.workers.state('u1')?.kind === 'finished', 40);
});

test('liveness: the container is killed and begun anew', async () => {
  lab.put(pod({ containers: [script('app', forever)] }));
  await lab.untilState('running 0');
  lab.probes.set(`${lab.fake.container('web', 'app')?.id} liveness`, 'failure');
  lab.workers.wake('u1');
  await lab.until('killed', () =>
    lab.events.includes('Normal Killing: Container app failed liveness probe, will be restarted'),
  );
  await lab.untilState('running 1');
  expect(lab.fake.log.count('StopContainer')).toBe(1);
});

test('another image: the container is replaced, whatever the policy', async () => {
  lab.fake.images.add({ name: 'docker.io/library/busybox:2' });
  const web = pod({ restartPolicy: 'Never', containers: [script('app', forever)] });
  lab.put(web);
  await lab.untilState('running 0');
  lab.put({
    ...web,
    spec: { ...web.spec, containers: [script('app', forever, { image: 'busybox:2' })] },
  });
  await lab.untilState('running 1');
  expect(lab.events).toContain(
    'Normal Killing: Container app definition changed, will be restarted',
  );
});

test('a sandbox that is stopped by others is made anew', async () => {
  lab.put(pod({ containers: [script('app', forever)] }));
  await lab.untilState('running 0');
  const [id = ''] = lab.fake.sandboxes.keys();
  await lab.fake.connect().runtime.stopPodSandbox({ podSandboxId: id });
  await lab.pass('runs again', () => lab.state() === 'running 1', 30);
  expect(lab.events).toContain(
    'Normal SandboxChanged: Pod sandbox changed, it will be killed and re-created.',
  );
  expect([...lab.fake.sandboxes.values()].map(({ config }) => config.metadata?.attempt)).toEqual([
    0, 1,
  ]);
});

test('a Never pod whose sandbox is lost before its app has run is initialised anew, and runs', async () => {
  const init = script('i', 'exit 0');
  const app = script('app', 'exit 0', { image: 'absent:1' });
  lab.put(pod({ restartPolicy: 'Never', initContainers: [init], containers: [app] }));
  await lab.until('waits for its image', () => lab.fake.log.count('PullImage') === 1);
  const [id = ''] = lab.fake.sandboxes.keys();
  await lab.fake.connect().runtime.stopPodSandbox({ podSandboxId: id });
  lab.fake.images.offer({ name: 'docker.io/library/absent:1' });
  await lab.pass('succeeded', phaseIs('Succeeded'), 60);
  expect(lab.fake.sandboxes.size).toBe(2);
  expect(lab.state('i')).toBe('Completed 0');
});

test('an image that cannot be pulled: ErrImagePull, then back-off, and it is there when the registry has it', async () => {
  lab.put(pod({ containers: [script('app', forever, { image: 'absent:1' })] }));
  await lab.untilState('waiting ErrImagePull');
  await lab.pass('back-off', () => lab.state() === 'waiting ImagePullBackOff', 15);
  expect(
    lab.events.some((event) =>
      event.startsWith(
        'Warning Failed: Failed to pull image "absent:1": rpc error: code = NotFound',
      ),
    ),
  ).toBe(true);
  expect(lab.events).toContain('Normal BackOff: Back-off pulling image "absent:1"');
  lab.fake.images.offer({ name: 'docker.io/library/absent:1' });
  await lab.pass('runs', () => lab.state() === 'running 0', 60);
});

test('a pod that is deleted while its image is pulled fails, and nothing of it was started', async () => {
  lab.fake.images.offer({ name: 'docker.io/library/big:1', pullMs: 60_000 });
  const initContainers = [script('init', 'exit 0', { image: 'big:1' })];
  const big = pod({ initContainers, containers: [script('app', forever)] });
  lab.put(big);
  await lab.until('it is pulled', () => lab.fake.log.count('PullImage') === 1);
  lab.delete(big, 30);
  await lab.pass('finished', () => lab.workers.state('u1')?.kind === 'finished', 70);
  expect(lab.status().phase).toBe('Failed');
  expect([lab.state('init'), lab.state()]).toEqual(Array(2).fill('waiting PodInitializing'));
  expect(lab.fake.log.count('CreateContainer')).toBe(0);
  expect([...lab.fake.sandboxes.values()].map(({ ready }) => ready)).toEqual([false]);
});

const waiting = [
  ['Never', 'absent:1', 'ErrImageNeverPull'],
  ['IfNotPresent', 'BUSYBOX:1', 'InvalidImageName'],
] as const;

test.each(waiting)('pull policy %s of %s: %s', async (imagePullPolicy, image, reason) => {
  lab.put(pod({ containers: [container('app', { image, imagePullPolicy })] }));
  await lab.untilState(`waiting ${reason}`);
  expect(lab.fake.log.count('PullImage')).toBe(0);
});

test("without a network only pods with the node's start", async () => {
  lab.networkProblem = 'cni plugin not initialized';
  lab.put(pod({ containers: [script('app', forever)] }));
  await lab.until('told', () =>
    lab.events.includes(
      'Warning NetworkNotReady: network is not ready: cni plugin not initialized',
    ),
  );
  expect(lab.fake.log.count('RunPodSandbox')).toBe(0);
  lab.put(
    pod({ hostNetwork: true, containers: [script('app', forever)] }, { uid: 'u2', name: 'own' }),
  );
  await lab.untilState('running 0', 'app', 'u2');
  lab.networkProblem = undefined;
  await lab.pass('runs', () => lab.state() === 'running 0', 5);
});

test('limits of a cgroup are not lowered below what runs: it is said what is up', async () => {
  lab.put(pod({ containers: [script('app', forever)] }));
  await lab.untilState('running 0');
  expect(lab.ensured[0]).toBe(false);
  lab.ensured.length = 0;
  lab.put(pod({ containers: [script('app', forever)] }, { labels: { x: 'y' } }));
  await lab.until('ensured', () => lab.ensured.length > 0);
  expect(lab.ensured[0]).toBe(true);
});

test('volumes that cannot be mounted hold a pod back, until they can', async () => {
  lab.volumesFail = true;
  lab.put(pod({ containers: [script('app', forever)] }));
  await lab.untilState('waiting ContainerCreating');
  expect(lab.fake.log.changes).toEqual([]);
  lab.volumesFail = false;
  await lab.pass('runs', () => lab.state() === 'running 0', 20);
});

test('a field that cannot be honoured: the pod waits, with one Event that names it', async () => {
  const volumes = [{ name: 'v', csi: {} } as Volume];
  const web = pod({ volumes, containers: [script('app', forever)] });
  lab.put(web);
  await lab.untilState('waiting UnsupportedField');
  await lab.clock.advance(200_000);
  expect(lab.events).toHaveLength(1);
  expect(lab.events[0]).toMatch(/^Warning UnsupportedField: spec.volumes\[0\].csi/);
  expect(lab.status().phase).toBe('Pending');
  expect(lab.fake.log.count('RunPodSandbox')).toBe(0);
});

test('a sandbox that cannot be made is tried again', async () => {
  lab.fake.networkBroken = 'no addresses left';
  lab.put(pod({ containers: [script('app', forever)] }));
  await lab.until('told', () =>
    lab.events.some((event) =>
      event.startsWith(
        'Warning FailedCreatePodSandBox: Failed to create pod sandbox: rpc error: code = Unknown',
      ),
    ),
  );
  expect(lab.fake.log.count('CreateContainer')).toBe(0);
  lab.fake.networkBroken = undefined;
  await lab.pass('runs', () => lab.state() === 'running 0', 20);
});

test('a pod that is rejected fails, and nothing of it is started', async () => {
  lab.workers.reject(pod(), { reason: 'OutOfcpu', message: 'Pod was rejected: no more cpu' });
  await lab.until('finished', () => lab.workers.state('u1')?.kind === 'finished');
  expect(lab.fake.log.changes).toEqual([]);
});

describe('static pods', () => {
  const source = { 'kubernetes.io/config.source': 'file' };

  test('of one name, the second waits for the end of the first', async () => {
    const first = pod(
      {
        containers: [script('app', 'trap "sleep 3; exit 0" TERM; sleep 1000000 & wait')],
      },
      { annotations: source },
    );
    lab.put(first);
    await lab.untilState('running 0');
    lab.remove('u1');
    lab.put(pod({ containers: [script('app', forever)] }, { uid: 'u2', annotations: source }));
    await lab.until('stopping', () => lab.fake.log.count('StopContainer') === 1);
    expect(lab.fake.log.count('RunPodSandbox')).toBe(1);
    await lab.pass('the second runs', () => lab.state('app', 'u2') === 'running 0', 10);
    expect(lab.fake.log.changes.slice(3, 6)).toEqual([
      'StopContainer',
      'StopPodSandbox',
      'RunPodSandbox',
    ]);
  });

  test('began when they began, and have restarted as often, also for an agent that begins anew', async () => {
    const crashing = script('app', 'sleep 5; exit 1');
    const ours = pod({ containers: [crashing] }, { annotations: source });
    lab.put(ours);
    await lab.pass('restarts', () => lab.state() === 'running 2', 60);
    const { startTime } = lab.status();
    await lab.restart();
    await lab.until('known again', () => lab.status().phase === 'Running');
    expect(lab.status()).toMatchObject({
      startTime,
      containerStatuses: [{ restartCount: 2, lastState: { terminated: { exitCode: 1 } } }],
    });
  });

  test('are as ready as their mirror says, until their probes say more', async () => {
    const ready = script('app', forever, { readinessProbe: { periodSeconds: 10 } as never });
    const hash = { ...source, 'kubernetes.io/config.hash': 'h' };
    const ours = pod({ containers: [ready] }, { annotations: hash });
    lab.put(ours);
    await lab.untilState('running 0');
    const [id = ''] = lab.fake.containers.keys();
    lab.probes.set(`${id} readiness`, 'success');
    lab.workers.wake('u1');
    const isReady = (): boolean => lab.status().containerStatuses?.[0]?.ready === true;
    await lab.until('ready', isReady);
    const told = {
      ...lab.status(),
      startTime: '2025-12-31T23:00:00Z',
    };
    lab.probes.clear();
    await lab.restart();
    await lab.until('known again', () => lab.status().phase === 'Running');
    expect(isReady()).toBe(false);
    const mirror = pod({}, { uid: 'm', annotations: { 'kubernetes.io/config.mirror': 'h' } });
    lab.mirrors.set('u1', { ...mirror, status: told });
    lab.seen({ ...ours, status: told });
    await lab.until('ready again', isReady);
    expect(lab.status()).toEqual(told);
    lab.probes.set(`${id} readiness`, 'failure');
    lab.workers.wake('u1');
    await lab.until('not ready', () => !isReady());
  });

  test.each(['while it ends', 'when it has ended'])(
    'what a shutdown that was called off has ended begins anew: %s',
    async (when) => {
      const web = pod({ containers: [script('app', forever)] }, { annotations: source });
      lab.put(web);
      await lab.untilState('running 0');
      const forced = { reason: 'Terminated', message: 'shutdown', isDisruption: true };
      lab.workers.kill('u1', { graceSeconds: 5, forced });
      const isOver = (): boolean => lab.workers.state('u1')?.kind === 'finished';
      if (when === 'when it has ended') await lab.pass('ended', isOver, 20);
      lab.workers.beginAnew('u1');
      await lab.pass('runs', () => lab.state() === 'running 1', 20);
      expect(lab.status()).toMatchObject({ phase: 'Running' });
      expect(lab.status()).not.toHaveProperty('reason');
      lab.workers.beginAnew('u1');
      expect(lab.workers.state('u1')).toEqual({ kind: 'syncing' });
    },
  );

  test('a UID that comes again while it ends is begun anew', async () => {
    const web = pod({ containers: [script('app', forever)] }, { annotations: source });
    lab.put(web);
    await lab.untilState('running 0');
    lab.remove('u1');
    lab.put(web);
    await lab.pass('a second sandbox', () => lab.fake.log.count('RunPodSandbox') === 2, 20);
    await lab.pass('runs', () => lab.state() === 'running 1', 20);
    expect(lab.fake.log.count('StopPodSandbox')).toBeGreaterThan(0);
  });
});
