// The view of the runtime on real containerd: its lists as pods, and what becomes of a container known by each stream of events.
import { createClient, createRouterTransport } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import type { Cri } from '../../src/kubelet/cri/client.ts';
import { Events } from '../../src/kubelet/cri/gen/containerd-events_pb.ts';
import { newest } from '../../src/kubelet/runtime/runtime-pod.ts';
import { RuntimeView } from '../../src/kubelet/runtime/view.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import type { EventStream, ListReason } from '../../src/telemetry/runtime-event-metrics.ts';
import { containerConfig, sandboxConfig } from '../support/fake-cri/configs.ts';
import { chosenContainerd } from './containerd/build.ts';
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

/** A runtime as CRI has it, whose own events nobody can ask for. */
function criAlone(cri: Cri): Cri {
  return {
    ...cri,
    events: createClient(
      Events,
      createRouterTransport(() => {}),
    ),
  };
}

const { release } = chosenContainerd();
let pods = 0;
const streams = [
  { stream: 'containerd', of: (cri: Cri) => cri },
  { stream: 'cri', of: criAlone },
] as const;

describe.each(streams)('a pod, by the events of $stream', ({ stream, of }) => {
  const isMissing = stream === 'cri' && release === '1.6';
  const what = isMissing ? ' (containerd 1.6 has no such stream)' : '';

  it.skipIf(isMissing)(
    `begins, ends and is removed as they tell, and is listed once a minute without one${what}`,
    async () => {
      const uid = `c${(pods += 1)}`;
      let aheadMs = 0;
      const begun: EventStream[] = [];
      const broken: EventStream[] = [];
      const listed: ListReason[] = [];
      const ended = new AbortController();
      const cri = of(node.connect());
      const view = new RuntimeView({
        cri,
        clock: {
          ...systemClock,
          monotonic: () => systemClock.monotonic() + aheadMs,
          // Who sleeps for long looks at the clock again.
          sleep: async (ms, signal) => systemClock.sleep(ms > 10_000 ? 20 : ms, signal),
        },
        log: silentLog,
        owner: 'n1',
        adopt: () => false,
        changed: () => {},
        eventMeter: {
          begun: (name) => begun.push(name),
          broken: (name) => broken.push(name),
          told: () => {},
          listed: (reason) => listed.push(reason),
        },
      });
      const running = view.run(ended.signal);
      onTestFinished(async () => {
        ended.abort();
        await running;
      });
      const state = (): string | undefined => newest(view.pods.get(uid), 'main')?.state;
      /** The clock goes on for a minute, until nothing but the time has had the runtime listed. */
      const rest = async (): Promise<void> => {
        do {
          listed.length = 0;
          aheadMs += 60_000;
          await until('it is listed after a minute', () => listed.length > 0);
        } while (listed.join() !== 'periodic');
      };
      /** Without the time there is nothing but an event to know it by. */
      const known = async (about: string, wanted: string | undefined): Promise<void> => {
        await until(`${about} is known`, () => state() === wanted);
        expect(listed.slice(0, 2)).toEqual(['periodic', 'event']);
      };
      await until('its events are told', () => begun.length > 0);
      expect(begun).toEqual([stream]);

      await rest();
      const { sandbox, container } = await runPod(uid, 'sleep 1000');
      await known('its start', 'running');
      await rest();
      await cri.runtime.stopContainer({ containerId: container, timeout: 0n });
      await known('its end', 'exited');
      await rest();
      await cri.runtime.removeContainer({ containerId: container });
      await known('its removal', undefined);
      await rest();
      await cri.runtime.removePodSandbox({ podSandboxId: sandbox });
      await until('the removal of its sandbox is known', () => !view.pods.has(uid));
      expect(listed.slice(0, 2)).toEqual(['periodic', 'event']);
      expect(broken).toEqual([]);
    },
  );
});
