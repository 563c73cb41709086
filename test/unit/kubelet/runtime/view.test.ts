// What the view tells of the runtime: whose pods, in which order, fresh when asked, and told of when they change.
import { rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newest } from '../../../../src/kubelet/runtime/runtime-pod.ts';
import { RuntimeView } from '../../../../src/kubelet/runtime/view.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { containerConfig, sandboxConfig } from '../../../support/fake-cri/configs.ts';
import { FakeRuntime } from '../../../support/fake-cri/fake-runtime.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';

let folder: string;
let clock: VirtualClock;
let runtime: FakeRuntime;
let changed: string[];
let known: Set<string>;
let view: RuntimeView;
let stop: AbortController;

beforeEach(() => {
  folder = ownFolder('switchyard-view');
  clock = new VirtualClock();
  clock.setDate(Date.UTC(2026, 0, 1));
  runtime = new FakeRuntime({ clock, folder });
  runtime.images.add({ name: 'docker.io/local/busybox:1' });
  changed = [];
  known = new Set();
  stop = new AbortController();
  view = new RuntimeView({
    cri: runtime.connect(),
    clock,
    log: silentLog,
    owner: 'n1',
    adopt: (uid) => known.has(uid),
    changed: (uid) => changed.push(uid),
  });
});

afterEach(async () => {
  stop.abort();
  await clock.advance(0);
  runtime.reboot();
  rmSync(folder, { recursive: true, force: true });
});

async function runPod(uid: string, script: string, owner?: string, attempt = 0): Promise<string> {
  const cri = runtime.connect();
  const own = owner === undefined ? {} : { owner };
  const config = sandboxConfig(uid, { ...own, attempt, logs: `${folder}/logs/${uid}` });
  const { podSandboxId } = await cri.runtime.runPodSandbox({ config });
  const { containerId } = await cri.runtime.createContainer({
    podSandboxId,
    config: containerConfig(uid, script, { ...own, attempt }),
    sandboxConfig: config,
  });
  await cri.runtime.startContainer({ containerId });
  return containerId;
}

describe('whose pods it has', () => {
  it('its own node’s; not another’s, and not what nobody labelled', async () => {
    await runPod('own', 'sleep 100', 'n1');
    await runPod('other', 'sleep 100', 'n2');
    await runPod('nobody', 'sleep 100');
    expect([...(await view.relist()).keys()]).toEqual(['own']);
    expect(await view.pod('other')).toBeUndefined();
  });

  it('what an upstream kubelet left, once a source has its UID', async () => {
    const id = await runPod('left', 'sleep 100');
    await view.relist();
    expect(view.pods.size).toBe(0);
    known.add('left');
    expect((await view.pod('left'))?.containers.map((container) => container.id)).toEqual([id]);
    await view.relist();
    expect(changed).toEqual(['left']);
  });
});

describe('a pod', () => {
  it('has its sandboxes and containers newest first, with the details no list has', async () => {
    const first = await runPod('a', 'exit 3', 'n1');
    await clock.advance(1000);
    const second = await runPod('a', 'sleep 100', 'n1', 1);
    const pod = await view.pod('a');
    expect(pod).toMatchObject({ uid: 'a', name: 'pod-a', namespace: 'default' });
    expect(pod?.sandboxes.map(({ attempt }) => attempt)).toEqual([1, 0]);
    expect(pod?.sandboxes[0]).toMatchObject({ state: 'ready', network: 'pod' });
    expect(pod?.sandboxes[0]?.ips).toHaveLength(1);
    expect(pod?.containers.map(({ id }) => id)).toEqual([second, first]);
    expect(newest(pod, 'main')).toMatchObject({
      state: 'running',
      attempt: 1,
      hash: 'abc',
      finishedAt: 0n,
    });
    expect(pod?.containers[1]).toMatchObject({
      state: 'exited',
      exitCode: 3,
      reason: 'Error',
      logPath: `${folder}/logs/a/main/0.log`,
    });
    expect(pod?.containers[1]?.finishedAt).toBeGreaterThan(0n);
  });

  it('is read anew each time, but for details that cannot change', async () => {
    await runPod('a', 'sleep 100', 'n1');
    await view.pod('a');
    const asked = runtime.log.count('ContainerStatus');
    await view.pod('a');
    expect(runtime.log.count('ListContainers')).toBe(2);
    expect(runtime.log.count('ContainerStatus')).toBe(asked);
    await clock.advance(100_000);
    expect(newest(await view.pod('a'), 'main')).toMatchObject({ state: 'exited', exitCode: 0 });
    expect(runtime.log.count('ContainerStatus')).toBe(asked + 1);
  });

  it('that is removed between the list and the details is not there', async () => {
    const id = await runPod('a', 'sleep 100', 'n1');
    const cri = runtime.connect();
    runtime.log.fault = async (phase, { name }) => {
      if (name !== 'ListPodSandbox' || phase !== 'after') return;
      runtime.log.fault = undefined;
      await cri.runtime.removeContainer({ containerId: id });
    };
    expect((await view.pod('a'))?.containers).toEqual([]);
  });
});

describe('a change', () => {
  it('is told once: a start, an end, a removal', async () => {
    const id = await runPod('a', 'sleep 5', 'n1');
    await view.relist();
    await view.relist();
    expect(changed).toEqual(['a']);
    await clock.advance(5000);
    await view.relist();
    expect(changed).toEqual(['a', 'a']);
    await runtime.connect().runtime.removeContainer({ containerId: id });
    await view.relist();
    expect(changed).toEqual(['a', 'a', 'a']);
  });

  it('is found by the list of the next second where there is no event', async () => {
    runtime.tasks.mute = true;
    void view.run(stop.signal);
    await clock.advance(10);
    await runPod('a', 'sleep 100', 'n1');
    await clock.advance(900);
    expect(changed).toEqual([]);
    await clock.advance(200);
    expect(changed).toEqual(['a']);
  });

  it('that is an end is told at once, by the event', async () => {
    void view.run(stop.signal);
    await runPod('a', 'sleep 2.5', 'n1');
    await clock.advance(2200);
    changed.length = 0;
    await clock.advance(310);
    expect(changed).toEqual(['a']);
    expect(newest(view.pods.get('a'), 'main')).toMatchObject({ state: 'exited' });
  });

  it('is found after the runtime was away', async () => {
    void view.run(stop.signal);
    await runPod('a', 'sleep 2.5', 'n1');
    await clock.advance(1200);
    runtime.stop();
    await clock.advance(5000);
    expect(newest(view.pods.get('a'), 'main')).toMatchObject({ state: 'running' });
    runtime.start();
    await clock.advance(1000);
    expect(newest(view.pods.get('a'), 'main')).toMatchObject({ state: 'exited' });
    expect(view.relistedAtMs).toBeGreaterThan(6000);
  });
});
