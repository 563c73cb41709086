import { expect, test } from 'vitest';
import type { Probe } from '../../../../src/kubelet/pod/container.ts';
import type { ContainerStatus, PodStatus } from '../../../../src/kubelet/pod/pod-status.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import type { PodEvent } from '../../../../src/kubelet/ports/pod-events.ts';
import type { ProbeOutcome } from '../../../../src/kubelet/probes/outcome.ts';
import { ProbeMeter } from '../../../../src/kubelet/probes/probe-meter.ts';
import { PodProbes } from '../../../../src/kubelet/probes/probes.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { VirtualClock, settle } from '../../proxy/virtual-clock.ts';
import { container, pod, probe, running, runningPod } from '../support/pods.ts';

/** When each kind of probe is executed, and what is made of the outcomes. */

type Kind = ProbeOutcome['kind'];

const one = 'containerd://one';
const two = 'containerd://two';

/** The agent starts at second 1000 of the scale, so that containers can be older than it. */
async function scene(random = 0): Promise<Scene> {
  const clock = new VirtualClock();
  await clock.advance(1_000_000);
  return new Scene(clock, random);
}

class Scene {
  readonly clock: VirtualClock;
  readonly meter = new ProbeMeter();
  readonly events: PodEvent[] = [];
  readonly changes: string[] = [];
  /** Seconds since the agent's start of each execution. */
  readonly executed: string[] = [];
  /** What the coming executions yield; the last one stays. */
  outcomes: Kind[] = ['success'];
  readonly probes: PodProbes;

  constructor(clock: VirtualClock, random: number) {
    this.clock = clock;
    const startMs = clock.now();
    this.probes = new PodProbes({
      clock,
      random: () => random,
      startedAt: { monotonicMs: startMs, dateMs: startMs },
      events: { tell: (_pod, event) => void this.events.push(event) },
      onChange: (uid, type) => void this.changes.push(`${uid} ${type}`),
      execute: async (asked) => {
        this.executed.push(
          `${(asked.exec?.command ?? ['?']).join()}@${(clock.now() - startMs) / 1000}`,
        );
        const kind = this.outcomes.length > 1 ? this.outcomes.shift() : this.outcomes[0];
        return Promise.resolve({ kind: kind ?? 'success', output: 'said' });
      },
      log: silentLog,
      meter: this.meter,
    });
  }

  async sync(ofPod: Pod, status: PodStatus): Promise<void> {
    this.probes.ensure(ofPod, status);
    await settle();
  }

  result(type: 'liveness' | 'readiness' | 'startup', id = one): string | undefined {
    return this.probes.result('uid-1', id, type);
  }
}

const asks = (word: string, changes: Partial<Probe> = {}): Probe =>
  probe({ exec: { command: [word] }, ...changes });

const nowRunning = (on: Scene, changes: Partial<ContainerStatus> = {}): PodStatus =>
  runningPod(running(changes, on.clock.now()));

test('a probe runs at once and then each period', async () => {
  const on = await scene();
  const web = pod({ containers: [container({ livenessProbe: asks('live') })] });
  await on.sync(web, nowRunning(on));
  await on.clock.advance(25_000);
  expect(on.executed).toEqual(['live@0', 'live@10', 'live@20']);
});

test('just after the start of the agent, workers are spread over a period', async () => {
  const on = await scene(0.4);
  const web = pod({ containers: [container({ livenessProbe: asks('live') })] });
  await on.sync(web, nowRunning(on));
  await on.clock.advance(20_000);
  expect(on.executed).toEqual(['live@4', 'live@14']);
});

test('workers whose moments lie close together work at the same one, never early', async () => {
  const on = await scene();
  await on.clock.advance(30_130);
  const first = container({ livenessProbe: asks('live') });
  await on.sync(pod({ containers: [first] }), nowRunning(on));
  await on.clock.advance(60);
  const both = [{ ...first, readinessProbe: asks('ready') }];
  await on.sync(pod({ containers: both }), nowRunning(on));
  expect(on.executed).toEqual(['live@30.13', 'ready@30.19']);
  await on.clock.advance(20_400);
  expect(on.executed.slice(2)).toEqual(['live@40.5', 'ready@40.5', 'live@50.5', 'ready@50.5']);
});

test('nothing is probed before a container has an ID, nor in its initial delay', async () => {
  const on = await scene();
  const delayed = asks('ready', { initialDelaySeconds: 5, periodSeconds: 1 });
  const web = pod({ containers: [container({ readinessProbe: delayed })] });
  const { containerID: _, ...waiting } = running({ state: { waiting: {} } });
  await on.sync(web, { phase: 'Pending', containerStatuses: [waiting] });
  await on.clock.advance(3_000);
  await on.sync(web, nowRunning(on));
  await on.clock.advance(5_500);
  expect(on.executed).toEqual(['ready@8']);
  expect(on.result('readiness')).toBe('success');
});

const initial = [
  { type: 'liveness', result: 'success' },
  { type: 'readiness', result: 'failure' },
  { type: 'startup', result: undefined },
] as const;

test.each(initial)('a new container begins with its $type: $result', async ({ type, result }) => {
  const on = await scene();
  const slow = asks(type, { initialDelaySeconds: 60 });
  const web = pod({ containers: [container({ [`${type}Probe`]: slow })] });
  await on.sync(web, nowRunning(on, { started: type !== 'startup' }));
  expect(on.result(type)).toBe(result);
  expect(on.changes).toEqual([]);
});

test('a container that is older than the agent keeps what it was until a probe has really failed', async () => {
  const on = await scene();
  const web = pod({
    containers: [container({ readinessProbe: asks('ready', { periodSeconds: 1 }) })],
  });
  on.outcomes = ['failure'];
  await on.sync(web, runningPod(running({ ready: true }, on.clock.now() - 60_000)));
  expect(on.result('readiness')).toBeUndefined();
  await on.clock.advance(1_000);
  expect(on.result('readiness')).toBeUndefined();
  await on.clock.advance(1_000);
  expect(on.result('readiness')).toBe('failure');
});

test('a result is published when its threshold is reached, and the run begins anew with each other result', async () => {
  const on = await scene();
  const picky = asks('ready', { periodSeconds: 1, successThreshold: 2, failureThreshold: 3 });
  const web = pod({ containers: [container({ readinessProbe: picky })] });
  on.outcomes = [
    'success',
    'success',
    'failure',
    'failure',
    'success',
    'failure',
    'failure',
    'failure',
  ];
  await on.sync(web, nowRunning(on, { ready: true }));
  const seen: (string | undefined)[] = [on.result('readiness')];
  for (let second = 1; second < 8; second++) {
    await on.clock.advance(1_000);
    seen.push(on.result('readiness'));
  }
  expect(seen.join(' ')).toBe('failure success success success success success success failure');
  expect(on.changes).toEqual(['uid-1 readiness', 'uid-1 readiness']);
});

test('each failing execution is an Event, also below the threshold', async () => {
  const on = await scene();
  const web = pod({
    containers: [container({ livenessProbe: asks('live', { periodSeconds: 1 }) })],
  });
  on.outcomes = ['failure', 'failure', 'success'];
  await on.sync(web, nowRunning(on));
  await on.clock.advance(5_000);
  const told = { type: 'Warning', reason: 'Unhealthy', container: 'app' };
  const message = 'Liveness probe failed: said';
  expect(on.events).toEqual([
    { ...told, message },
    { ...told, message },
  ]);
  expect(on.changes).toEqual([]);
});

test('a warning counts as success, with an Event of its own', async () => {
  const on = await scene();
  const web = pod({ containers: [container({ readinessProbe: asks('ready') })] });
  on.outcomes = ['warning'];
  await on.sync(web, nowRunning(on));
  expect(on.result('readiness')).toBe('success');
  expect(on.events).toEqual([
    {
      type: 'Warning',
      reason: 'ProbeWarning',
      message: 'Readiness probe warning: said',
      container: 'app',
    },
  ]);
});

test('an error is tried twice more at once, told, and counted as nothing', async () => {
  const on = await scene();
  const web = pod({
    containers: [container({ livenessProbe: asks('live', { failureThreshold: 1 }) })],
  });
  on.outcomes = ['error'];
  await on.sync(web, nowRunning(on));
  expect(on.executed).toEqual(['live@0', 'live@0', 'live@0']);
  expect(on.events.map(({ message }) => message)).toEqual([
    'Liveness probe errored and resulted in unknown state: said',
  ]);
  expect(on.result('liveness')).toBe('success');
});

test('after a published failure of liveness nothing runs until there is a new container', async () => {
  const on = await scene();
  const web = pod({
    containers: [
      container({ livenessProbe: asks('live', { periodSeconds: 1, failureThreshold: 2 }) }),
    ],
  });
  on.outcomes = ['failure'];
  await on.sync(web, nowRunning(on));
  await on.clock.advance(9_500);
  expect(on.executed).toEqual(['live@0', 'live@1']);
  expect(on.changes).toEqual(['uid-1 liveness']);
  expect(on.result('liveness')).toBe('failure');
  await on.sync(web, nowRunning(on, { containerID: two, restartCount: 1 }));
  expect(on.result('liveness', two)).toBeUndefined();
  await on.clock.advance(2_000);
  expect(on.executed.slice(2)).toEqual(['live@10', 'live@11']);
  expect(on.result('liveness', one)).toBeUndefined();
});

test('until a container has started only its startup probe runs; afterwards all but it', async () => {
  const on = await scene();
  const web = pod({
    containers: [
      container({
        livenessProbe: asks('live', { periodSeconds: 2 }),
        startupProbe: asks('start', { periodSeconds: 2 }),
      }),
    ],
  });
  on.outcomes = ['failure', 'success'];
  const notYet = nowRunning(on, { started: false });
  await on.sync(web, notYet);
  await on.clock.advance(3_000);
  expect(on.executed).toEqual(['start@0', 'start@2']);
  expect(on.changes).toEqual(['uid-1 startup']);
  await on.sync(web, runningPod({ ...running(notYet.containerStatuses?.[0]), started: true }));
  await on.clock.advance(3_500);
  expect(on.executed.slice(2)).toEqual(['live@4', 'live@6']);
});

test('a startup probe that fails to its threshold says so once, and no other probe has run', async () => {
  const on = await scene();
  const web = pod({
    containers: [
      container({
        livenessProbe: asks('live', { periodSeconds: 1 }),
        startupProbe: asks('start', { periodSeconds: 2 }),
      }),
    ],
  });
  on.outcomes = ['failure'];
  await on.sync(web, nowRunning(on, { started: false }));
  await on.clock.advance(20_000);
  expect(on.executed).toEqual(['start@0', 'start@2', 'start@4']);
  expect(on.result('startup')).toBe('failure');
});

test('a sync that finds a running container not ready has it probed at once', async () => {
  const on = await scene();
  const web = pod({ containers: [container({ readinessProbe: asks('ready') })] });
  await on.sync(web, { phase: 'Pending' });
  await on.clock.advance(3_000);
  await on.sync(web, nowRunning(on));
  expect(on.executed).toEqual(['ready@3']);
  await on.clock.advance(10_000);
  expect(on.executed).toEqual(['ready@3', 'ready@13']);
});

const policies = ['Always', 'OnFailure', 'Never'] as const;

test.each(policies)(
  'with policy %s a container that has ended is a failure; a new one in its place is probed again',
  async (restartPolicy) => {
    const on = await scene();
    const web = pod({
      restartPolicy,
      containers: [container({ readinessProbe: asks('ready', { periodSeconds: 1 }) })],
    });
    await on.sync(web, nowRunning(on));
    expect(on.result('readiness')).toBe('success');
    await on.sync(web, runningPod(running({ state: { terminated: { exitCode: 1 } } })));
    await on.clock.advance(3_000);
    expect(on.result('readiness')).toBe('failure');
    expect(on.executed).toHaveLength(1);
    await on.sync(web, nowRunning(on, { containerID: two }));
    expect(on.executed).toHaveLength(2);
    expect(on.result('readiness', two)).toBe('success');
  },
);

test('while a pod is terminated its readiness is probed on, and nothing else', async () => {
  const on = await scene();
  const web = pod({
    containers: [
      container({
        livenessProbe: asks('live', { periodSeconds: 1 }),
        readinessProbe: asks('ready', { periodSeconds: 1 }),
      }),
    ],
  });
  const status = nowRunning(on, { ready: true });
  await on.sync(web, status);
  on.executed.length = 0;
  on.probes.terminating('uid-1');
  await on.sync(web, status);
  await on.clock.advance(2_000);
  expect(on.executed).toEqual(['ready@1', 'ready@2']);
  on.probes.remove('uid-1');
  await on.clock.advance(5_000);
  expect(on.executed).toHaveLength(2);
  expect(on.result('readiness')).toBeUndefined();
});

test('a pod with a deletion timestamp has its liveness taken for good', async () => {
  const on = await scene();
  const web = pod({
    containers: [container({ livenessProbe: asks('live', { periodSeconds: 1 }) })],
  });
  await on.sync(web, nowRunning(on));
  const going = {
    ...web,
    metadata: { ...web.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' },
  };
  await on.sync(going, nowRunning(on));
  await on.clock.advance(3_000);
  expect(on.executed).toEqual(['live@0']);
  expect(on.result('liveness')).toBe('success');
});

test('a pod that has ended is not probed', async () => {
  const on = await scene();
  const web = pod({
    containers: [container({ livenessProbe: asks('live', { periodSeconds: 1 }) })],
  });
  await on.sync(web, nowRunning(on));
  await on.sync(web, { ...nowRunning(on), phase: 'Failed' });
  await on.clock.advance(5_000);
  expect(on.executed).toEqual(['live@0']);
});

const ages = [
  ['just now', 0],
  ['a minute before this agent', 60_000],
] as const;

test.each(ages)(
  'of the init containers only sidecars are probed, and one that had started (%s) is taken for started',
  async (_, ageMs) => {
    const on = await scene();
    const web = pod({
      initContainers: [
        container({ name: 'setup', startupProbe: asks('setup') }),
        container({ name: 'mesh', restartPolicy: 'Always', startupProbe: asks('mesh') }),
      ],
    });
    const both = ['setup', 'mesh'].map((name) =>
      running({ name, containerID: `containerd://${name}` }, on.clock.now() - ageMs),
    );
    await on.sync(web, { phase: 'Pending', initContainerStatuses: both });
    expect(on.executed).toEqual([]);
    expect(on.result('startup', 'containerd://mesh')).toBe('success');
    expect(on.result('startup', 'containerd://setup')).toBeUndefined();
    expect(on.changes).toEqual(['uid-1 startup']);
  },
);

test('executions are counted by what came of them, and the series go with the pod', async () => {
  const on = await scene();
  const web = pod({
    containers: [container({ livenessProbe: asks('live', { periodSeconds: 1 }) })],
  });
  on.outcomes = ['failure', 'success'];
  await on.sync(web, nowRunning(on));
  await on.clock.advance(2_000);
  const labels = 'probe_type="Liveness",container="app",pod="web",namespace="shop"';
  const text = await on.meter.registry.metrics();
  expect(text).toContain(`prober_probe_total{result="failed",${labels},pod_uid="uid-1"} 1`);
  expect(text).toContain(`prober_probe_total{result="successful",${labels},pod_uid="uid-1"} 2`);
  on.probes.remove('uid-1');
  expect(await on.meter.registry.metrics()).not.toContain('pod="web"');
});
