// What the view tells of the runtime: whose pods, in which order, fresh when asked, and told of when they change.
import { rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aborted } from '../../../../src/informer/wakeup.ts';
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
let counted: string[];
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
  counted = [];
  known = new Set();
  stop = new AbortController();
  view = new RuntimeView({
    cri: runtime.connect(),
    clock,
    log: silentLog,
    owner: 'n1',
    adopt: (uid) => known.has(uid),
    changed: (uid) => changed.push(uid),
    eventMeter: {
      begun: (stream) => counted.push(`${stream} begun`),
      broken: (stream) => counted.push(`${stream} broken`),
      told: (stream) => counted.push(`${stream} told`),
      listed: (reason) => counted.push(reason),
    },
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
    // what is let in is to know it before the source's word is in any list
    expect(['left', 'other'].map((uid) => view.isUp(uid))).toEqual([true, false]);
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

  it('is found by the list of the next second where there are no events', async () => {
    runtime.tasks.offers = [];
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

/** Lets a view run until it has nothing to do but to listen. */
async function settled(): Promise<void> {
  void view.run(stop.signal);
  await clock.advance(20_000);
}

const lists = (): number => runtime.log.count('ListPodSandbox');

describe.each(['containerd', 'CRI'] as const)('with the events of %s', (stream) => {
  beforeEach(() => {
    runtime.tasks.offers = [stream];
  });

  it('all is listed once a minute while nothing happens', async () => {
    await settled();
    const before = lists();
    await clock.advance(60_000);
    expect(lists() - before).toBe(1);
    await clock.advance(600_000);
    expect(lists() - before).toBe(11);
  });

  it('a pod is not asked for again while nothing happens, if the latest is enough', async () => {
    await settled();
    const id = await runPod('a', 'sleep 1000', 'n1');
    await clock.advance(4000);
    const asked = lists();
    // What has just happened may not be in any list yet.
    expect(newest(await view.latest('a', 0), 'main')).toMatchObject({ id });
    expect(lists()).toBe(asked + 1);
    await clock.advance(6000);
    const before = lists();
    expect(newest(await view.latest('a', 0), 'main')).toMatchObject({ id, state: 'running' });
    expect(await view.latest('b', 0)).toBeUndefined();
    expect(lists()).toBe(before);
    // Too old for who asks, though nothing has happened.
    await view.latest('a', clock.monotonic());
    await view.latest('a', undefined);
    expect(lists()).toBe(before + 2);
    runtime.tasks.down = true;
    runtime.tasks.breakAll();
    await clock.advance(20_000);
    const broken = lists();
    await view.latest('a', 0);
    expect(lists()).toBe(broken + 1);
  });

  it('a pod of a runtime that answers no more is not what it was for ever', async () => {
    await settled();
    await runPod('a', 'sleep 1000', 'n1');
    await clock.advance(70_000);
    const sinceMs = clock.monotonic();
    const done = aborted(stop.signal);
    runtime.log.fault = async (phase, { name }) => {
      if (name === 'ListContainers' && phase === 'before') await done;
    };
    await clock.advance(61_000);
    const asked = view.latest('a', sinceMs);
    asked.catch(() => {});
    await clock.advance(120_000);
    await expect(asked).rejects.toThrow('no answer within 120 s');
  });

  it('what begins, ends and is removed is known within a second', async () => {
    await settled();
    const id = await runPod('a', 'sleep 1000', 'n1');
    await clock.advance(1000);
    expect(newest(view.pods.get('a'), 'main')).toMatchObject({ id, state: 'running' });
    await clock.advance(100_000);
    await runtime.connect().runtime.stopContainer({ containerId: id });
    await clock.advance(100);
    expect(newest(view.pods.get('a'), 'main')).toMatchObject({ state: 'exited' });
    await clock.advance(100_000);
    await runtime.connect().runtime.removeContainer({ containerId: id });
    await clock.advance(1000);
    expect(view.pods.get('a')?.containers).toEqual([]);
  });

  it('a list that is behind the events is taken again until it is not', async () => {
    await settled();
    const id = await runPod('a', 'sleep 1000', 'n1');
    await clock.advance(100_000);
    const cri = runtime.connect();
    // Told, and only then done.
    runtime.tasks.removed(id);
    await clock.advance(1500);
    await cri.runtime.removeContainer({ containerId: id });
    runtime.tasks.mute = true;
    await clock.advance(1000);
    expect(view.pods.get('a')?.containers).toEqual([]);
  });

  it('what no event tells is found within a minute', async () => {
    await settled();
    runtime.tasks.mute = true;
    await runPod('a', 'sleep 1000', 'n1');
    await clock.advance(60_000);
    expect(changed).toEqual(['a']);
  });

  it('all is listed each second while the stream is broken, and what was missed is found', async () => {
    await settled();
    runtime.tasks.down = true;
    runtime.tasks.breakAll();
    await runPod('a', 'sleep 1000', 'n1');
    await clock.advance(1000);
    expect(changed).toEqual(['a']);
    const before = lists();
    const followed = runtime.tasks.followed;
    await clock.advance(120_000);
    expect(lists() - before).toBe(120);
    runtime.tasks.down = false;
    await clock.advance(40_000);
    expect(runtime.tasks.followed).toBe(followed + 1);
    const after = lists();
    await clock.advance(600_000);
    expect(lists() - after).toBe(10);
  });
});

describe('what is counted', () => {
  it('is each event, how streams come and go, and why all is listed', async () => {
    await settled();
    expect(counted.slice(0, 3)).toEqual(['gap', 'containerd begun', 'gap']);
    counted.length = 0;
    await clock.advance(60_000);
    expect(counted).toEqual(['periodic']);
    await runPod('a', 'sleep 1000', 'n1');
    counted.length = 0;
    await clock.advance(70_000);
    expect(counted.filter((each) => each === 'event').length).toBeGreaterThanOrEqual(4);
    expect(counted.at(-1)).toBe('periodic');
    counted.length = 0;
    runtime.tasks.down = true;
    runtime.tasks.breakAll();
    await clock.advance(10_000);
    expect(counted[0]).toBe('containerd broken');
    expect(counted).toContain('gap');
    expect(counted).toContain('no_stream');
    expect(counted).not.toContain('periodic');
    expect(counted.filter((each) => each === 'containerd broken').length).toBeGreaterThan(1);
    runtime.tasks.down = false;
    counted.length = 0;
    await clock.advance(40_000);
    expect(counted).toContain('containerd begun');
    expect(counted.slice(counted.indexOf('containerd begun'))).toContain('gap');
    counted.length = 0;
    await view.relist();
    expect(counted).toEqual(['asked']);
  });

  it('is the events of CRI by their name, and no break of what there is not', async () => {
    runtime.tasks.offers = ['CRI'];
    await settled();
    await runPod('a', 'sleep 1000', 'n1');
    await clock.advance(1000);
    expect(counted).toContain('cri begun');
    expect(counted).toContain('cri told');
    expect(counted.filter((each) => /containerd|broken/.test(each))).toEqual([]);
  });
});

describe('streams of events', () => {
  it('containerd’s own is followed where there are both, and CRI’s is not', async () => {
    runtime.tasks.offers = ['CRI', 'containerd'];
    await settled();
    expect(runtime.tasks.followed).toBe(1);
    const id = await runPod('a', 'sleep 1000', 'n1');
    await clock.advance(100_000);
    // An event that CRI has not.
    const asked = runtime.log.count('ContainerStatus');
    runtime.tasks.outOfMemory(id);
    await clock.advance(1000);
    expect(runtime.log.count('ContainerStatus')).toBe(asked + 1);
  });

  it('one that comes with a later version of the runtime is found', async () => {
    runtime.tasks.offers = [];
    await settled();
    runtime.tasks.offers = ['CRI'];
    await clock.advance(600_000);
    expect(runtime.tasks.followed).toBe(1);
    const before = lists();
    await clock.advance(60_000);
    expect(lists() - before).toBe(1);
  });

  it('one that breaks again and again is tried less and less', async () => {
    await settled();
    runtime.tasks.isFlawed = true;
    const before = runtime.tasks.followed;
    runtime.tasks.breakAll();
    await clock.advance(300_000);
    const tries = runtime.tasks.followed - before;
    expect(tries).toBeGreaterThan(8);
    expect(tries).toBeLessThan(20);
  });
});
