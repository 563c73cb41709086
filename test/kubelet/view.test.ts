// The view of the runtime on real containerd: its lists as pods, and the end of a container known by the event stream.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { meteredCri } from '../../src/kubelet/cri/metered.ts';
import { newest } from '../../src/kubelet/runtime/runtime-pod.ts';
import { RuntimeView } from '../../src/kubelet/runtime/view.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { recordingLog } from '../unit/informer/widgets.ts';
import { containerConfig, sandboxConfig } from '../support/fake-cri/configs.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { NodeMachine, makeFabric, until } from './node-machine.ts';

const node = new NodeMachine('n1', 1);
const stop = new AbortController();

beforeAll(async () => {
  makeFabric();
  await node.start();
  node.importImages(pauseImage(), busyboxImage());
});

afterAll(async () => {
  stop.abort();
  await node.crash();
  node.remove();
});

async function runPod(
  uid: string,
  script: string,
): Promise<{ sandbox: string; container: string }> {
  const { runtime } = node.connect();
  const prefix = process.env['SWITCHYARD_TEST_CGROUP'] ?? '';
  const config = {
    ...sandboxConfig(uid, { owner: 'n1', logs: `/var/log/pods/${uid}` }),
    linux: { cgroupParent: `/${prefix}/n1/pod${uid}` },
  };
  const { podSandboxId } = await runtime.runPodSandbox({ config });
  const { containerId } = await runtime.createContainer({
    podSandboxId,
    config: containerConfig(uid, script, { owner: 'n1' }),
    sandboxConfig: config,
  });
  await runtime.startContainer({ containerId });
  return { sandbox: podSandboxId, container: containerId };
}

describe('a pod on real containerd', () => {
  it('has an address, its states, and an end with its reason', async () => {
    const changed: string[] = [];
    const view = new RuntimeView({
      cri: node.connect(),
      clock: systemClock,
      log: silentLog,
      owner: 'n1',
      adopt: () => false,
      changed: (uid) => changed.push(uid),
      // Long: what is told in time is told by an event.
      relistMs: 60_000,
    });
    const running = view.run(stop.signal);
    const { sandbox, container } = await runPod('a', 'sleep 1; exit 3');
    const pod = await view.relist();
    expect(pod.get('a')).toMatchObject({ name: 'pod-a', namespace: 'default' });
    expect(pod.get('a')?.sandboxes).toMatchObject([
      { id: sandbox, state: 'ready', network: 'pod' },
    ]);
    expect(pod.get('a')?.sandboxes[0]?.ips[0]).toMatch(/^10\.244\.1\./);
    expect(newest(pod.get('a'), 'main')).toMatchObject({ id: container, state: 'running' });
    await until('the exit is known', () => newest(view.pods.get('a'), 'main')?.state === 'exited');
    expect(newest(view.pods.get('a'), 'main')).toMatchObject({
      exitCode: 3,
      reason: 'Error',
      image: 'docker.io/local/busybox:1',
      logPath: '/var/log/pods/a/main/0.log',
    });
    // Imported, not pulled: it has no digest of a repository.
    expect(newest(view.pods.get('a'), 'main')?.imageRef).toMatch(/^sha256:/);
    expect(changed.filter((uid) => uid === 'a')).toHaveLength(2);
    await node.connect().runtime.removePodSandbox({ podSandboxId: sandbox });
    expect((await view.relist()).size).toBe(0);
    stop.abort();
    await running;
  });

  it('begins, ends and is removed as events tell, while nothing is listed without one', async () => {
    let aheadMs = 0;
    let listedAtMs = 0;
    const ended = new AbortController();
    const cri = meteredCri(node.connect(), (name) => {
      if (name === 'ListPodSandbox') listedAtMs = performance.now();
    });
    const log = recordingLog();
    const view = new RuntimeView({
      cri,
      clock: { ...systemClock, monotonic: () => systemClock.monotonic() + aheadMs },
      log: log.log,
      owner: 'n1',
      adopt: () => false,
      changed: () => {},
      relistMs: 50,
      seldomMs: 3_600_000,
    });
    const running = view.run(ended.signal);
    await until('its events are told', () =>
      log.lines.some((line) => line.includes('tells of its events')),
    );
    // Past the time after a change in which lists go on.
    aheadMs += 60_000;
    await until('nothing is listed', () => performance.now() - listedAtMs > 1000);
    const { sandbox, container } = await runPod('c', 'sleep 1000');
    const state = (): string | undefined => newest(view.pods.get('c'), 'main')?.state;
    await until('it is known to run', () => state() === 'running');
    for (const [what, act, wanted] of [
      [
        'its end is known',
        async () => cri.runtime.stopContainer({ containerId: container, timeout: 0n }),
        'exited',
      ],
      [
        'its removal is known',
        async () => cri.runtime.removeContainer({ containerId: container }),
        undefined,
      ],
    ] as const) {
      aheadMs += 60_000;
      await until('nothing is listed', () => performance.now() - listedAtMs > 1000);
      await act();
      await until(what, () => state() === wanted);
    }
    await cri.runtime.removePodSandbox({ podSandboxId: sandbox });
    await until('the removal of its sandbox is known', () => !view.pods.has('c'));
    ended.abort();
    await running;
  });

  it('is found again after containerd was killed', async () => {
    const { sandbox } = await runPod('b', 'sleep 1000');
    const view = new RuntimeView({
      cri: node.connect(),
      clock: systemClock,
      log: silentLog,
      owner: 'n1',
      adopt: () => false,
      changed: () => {},
    });
    expect(newest((await view.relist()).get('b'), 'main')).toMatchObject({ state: 'running' });
    await node.stopContainerd();
    await expect(view.relist()).rejects.toThrow(/no container runtime answers/);
    await node.startContainerd();
    expect(newest((await view.relist()).get('b'), 'main')).toMatchObject({ state: 'running' });
    await node.connect().runtime.removePodSandbox({ podSandboxId: sandbox });
  });
});
