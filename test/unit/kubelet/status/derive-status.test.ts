// What a pod's status says, rule by rule; then for any course of events.
import * as fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import type { Container } from '../../../../src/kubelet/pod/container.ts';
import type { ContainerStatus, PodStatus } from '../../../../src/kubelet/pod/pod-status.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import type { ProbeResult } from '../../../../src/kubelet/ports/probes.ts';
import type { StatusInput } from '../../../../src/kubelet/status/status-input.ts';
import type { RuntimeContainer, RuntimePod } from '../../../../src/kubelet/runtime/runtime-pod.ts';
import { derivePodStatus } from '../../../../src/kubelet/status/derive-status.ts';
import { container, instance, pod, runtime, sandbox, sidecar } from '../runtime/made-pods.ts';

const probe = {
  initialDelaySeconds: 0,
  timeoutSeconds: 1,
  periodSeconds: 10,
  successThreshold: 1,
  failureThreshold: 3,
};
const second = 1_000_000_000n;

interface More extends Partial<Omit<StatusInput, 'pod' | 'runtime' | 'probes' | 'failures'>> {
  /** By `id type`. */
  readonly probes?: Readonly<Record<string, ProbeResult>>;
  /** Reason and message by container. */
  readonly failures?: Readonly<Record<string, readonly [string, string]>>;
}

function derive(of: Pod, has: RuntimePod | undefined, more: More = {}): PodStatus {
  const { probes = {}, failures = {}, ...rest } = more;
  return derivePodStatus({
    pod: of,
    runtime: has,
    previous: {},
    worker: 'syncing',
    terminationMessages: new Map(),
    hostIPs: [],
    nowMs: 60_000,
    ...rest,
    probes: { result: (_uid, id, type) => probes[`${id} ${type}`] },
    failures: new Map(
      Object.entries(failures).map(([name, [reason, message]]) => [name, { reason, message }]),
    ),
  });
}

function condition(status: PodStatus, type: string): string {
  const found = status.conditions?.find((each) => each.type === type);
  return [found?.status, found?.reason, found?.message].filter(Boolean).join(' | ');
}

function one(status: PodStatus, name = 'app'): ContainerStatus | undefined {
  const all = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
  return all.find((each) => each.name === name);
}

function exited(
  name: string,
  exitCode = 0,
  more: Partial<RuntimeContainer> = {},
): RuntimeContainer {
  const reason = exitCode === 0 ? 'Completed' : 'Error';
  return instance(name, 'exited', { exitCode, reason, ...more });
}

function never(containers: readonly Container[], init: readonly Container[] = []): Pod {
  return pod({ restartPolicy: 'Never', containers, initContainers: init });
}

const messageOf = (status: PodStatus, name = 'app'): string | undefined =>
  one(status, name)?.state.terminated?.message;

const run = (name: string): RuntimeContainer => instance(name, 'running');

const health = (status: PodStatus): unknown => [one(status)?.started, one(status)?.ready];

const addressed = (...ips: string[]): RuntimePod => runtime([], [sandbox({ ips })]);

const [app, helper] = [container('app'), container('helper')];
const [i1, i2] = [container('i1'), container('i2')];

describe('the state of a container', () => {
  const running = instance('app', 'running', { startedAt: 5n * second });

  it('waits with the reason of what is still missing', () => {
    expect(one(derive(pod(), undefined))?.state).toEqual({
      waiting: { reason: 'ContainerCreating' },
    });
    const status = derive(pod({ initContainers: [i1] }), undefined);
    expect([one(status)?.state, one(status, 'i1')?.state]).toEqual([
      { waiting: { reason: 'PodInitializing' } },
      { waiting: { reason: 'PodInitializing' } },
    ]);
  });

  it('runs, with what the runtime knows of it', () => {
    expect(one(derive(pod(), runtime([running])))).toEqual({
      name: 'app',
      image: 'busybox:1',
      imageID: 'busybox@sha256:1',
      containerID: 'containerd://app-0',
      restartCount: 0,
      started: true,
      ready: true,
      state: { running: { startedAt: '1970-01-01T00:00:05Z' } },
      lastState: {},
    });
  });

  it('is the newest one, and the last state the one before it; older ones say nothing', () => {
    const status = derive(
      pod(),
      runtime([
        instance('app', 'running', { attempt: 2 }),
        exited('app', 3, { attempt: 1, startedAt: second, finishedAt: 2n * second }),
        exited('app', 4, { attempt: 0 }),
      ]),
    );
    expect(one(status)).toMatchObject({
      restartCount: 2,
      state: { running: {} },
      lastState: {
        terminated: {
          exitCode: 3,
          reason: 'Error',
          startedAt: '1970-01-01T00:00:01Z',
          finishedAt: '1970-01-01T00:00:02Z',
          containerID: 'containerd://app-1',
        },
      },
    });
  });

  it('keeps what was told of an end whose record has gone', () => {
    const previous = derive(pod(), runtime([exited('app', 3)]));
    const next = derive(pod(), runtime([instance('app', 'running', { attempt: 1 })]), { previous });
    expect(one(next)?.lastState).toEqual(one(previous)?.state);
    const later = derive(pod(), runtime([instance('app', 'running', { attempt: 1 })]), {
      previous: next,
    });
    expect(one(later)?.lastState).toEqual(one(previous)?.state);
  });

  it('has no reason where it was made and did not start', () => {
    expect(one(derive(pod(), runtime([instance('app', 'created')])))?.state).toEqual({
      waiting: {},
    });
  });

  it('that was told as terminated stays so when the runtime has nothing', () => {
    const done = never([app]);
    const previous = derive(done, runtime([exited('app', 3)]));
    expect(one(derive(done, undefined, { previous }))).toEqual(one(previous));
  });

  test.each([
    ['is counted as a restart', {}, 1],
    ['is none where the pod is being deleted', { deletionTimestamp: '2026-01-01T00:00:00Z' }, 0],
  ])('lost while it ran: %s', (_what, meta, restartCount) => {
    const previous = derive(pod(), runtime([instance('app', 'running')]));
    expect(one(derive(pod({}, meta), undefined, { previous }))).toMatchObject({
      restartCount,
      state: { waiting: { reason: 'ContainerCreating' } },
      lastState: {
        terminated: {
          reason: 'ContainerStatusUnknown',
          exitCode: 137,
          message:
            'The container could not be located when the pod was deleted.  The container used to be Running',
        },
      },
    });
  });

  it('that the runtime does not know any more counts as an end, once', () => {
    const previous = derive(pod(), runtime([instance('app', 'running')]));
    const lost = derive(pod(), runtime([instance('app', 'unknown')]), { previous });
    expect(one(lost)).toMatchObject({
      restartCount: 1,
      state: { terminated: { reason: 'ContainerStatusUnknown', exitCode: 137 } },
    });
    const again = derive(pod(), runtime([instance('app', 'unknown')]), { previous: lost });
    expect(one(again)).toEqual(one(lost));
    expect(one(derive(pod(), runtime([instance('app', 'unknown')])))?.state).toEqual({
      waiting: {},
    });
  });

  it('waits with the failure where it is to start again and could not be', () => {
    const back = ['CrashLoopBackOff', 'back-off 10s restarting failed container=app'] as const;
    const status = derive(pod(), runtime([exited('app', 1)]), { failures: { app: back } });
    expect(one(status)).toMatchObject({
      state: { waiting: { reason: back[0], message: back[1] } },
      lastState: { terminated: { exitCode: 1 } },
    });
    const fresh = derive(pod(), undefined, { failures: { app: ['ErrImagePull', 'no such'] } });
    expect(one(fresh)?.state).toEqual({ waiting: { reason: 'ErrImagePull', message: 'no such' } });
  });

  it('is not what an old failure says where it runs, has ended for good, or the pod goes', () => {
    const failures = { app: ['CrashLoopBackOff', ''] } as const;
    const runs = derive(pod(), runtime([instance('app', 'running')]), { failures });
    expect(one(runs)?.state.running).toBeDefined();
    const over = derive(never([app]), runtime([exited('app', 1)]), { failures });
    expect(one(over)?.state.terminated).toBeDefined();
    const leaving = pod({}, { deletionTimestamp: '2026-01-01T00:00:00Z' });
    expect(one(derive(leaving, runtime([exited('app')]), { failures }))?.state.waiting).toBe(
      undefined,
    );
  });

  it('of an init container that was collected is its completion, once the pod runs', () => {
    const status = derive(pod({ initContainers: [i1] }), runtime([running]));
    expect(one(status, 'i1')).toMatchObject({
      ready: true,
      state: { terminated: { exitCode: 0, reason: 'Completed' } },
    });
  });

  it('says what the container was given, whatever its spec says now', () => {
    const resources = { requests: { cpu: '100m' }, limits: { memory: '64Mi' } };
    const given = instance('app', 'running', {
      annotations: { 'switchyard.dev/resources': JSON.stringify(resources) },
    });
    const more = { requests: { cpu: '200m' } };
    const changed = pod({ containers: [container('app', { resources: more })] });
    expect(one(derive(changed, runtime([given])))).toMatchObject({
      allocatedResources: { cpu: '100m' },
      resources,
    });
    expect(one(derive(changed, runtime([running])))).not.toHaveProperty('resources');
  });

  it('says who runs, where the runtime does', () => {
    const user = { uid: 1000, gid: 0, supplementalGroups: [0, 2000] };
    const status = derive(pod(), runtime([instance('app', 'running', { user })]));
    expect(one(status)?.user).toEqual({ linux: user });
    expect(one(derive(pod(), runtime([running])))).not.toHaveProperty('user');
  });

  it('says by what it is stopped, where that was asked for and the runtime does it', () => {
    const wanted = pod({ containers: [container('app', { lifecycle: { stopSignal: 'SIGINT' } })] });
    const known = instance('app', 'running', { stopSignal: 'SIGINT' });
    expect(one(derive(wanted, runtime([known])))?.stopSignal).toBe('SIGINT');
    expect(one(derive(wanted, runtime([running])))).not.toHaveProperty('stopSignal');
    expect(one(derive(pod(), runtime([known])))).not.toHaveProperty('stopSignal');
  });

  it('names what is mounted', () => {
    const volumeMounts = [
      { name: 'data', mountPath: '/data' },
      { name: 'conf', mountPath: '/conf', readOnly: true },
    ];
    const mounting = pod({ containers: [container('app', { volumeMounts })] });
    expect(one(derive(mounting, runtime([running])))?.volumeMounts).toEqual([
      { name: 'data', mountPath: '/data' },
      { name: 'conf', mountPath: '/conf', readOnly: true, recursiveReadOnly: 'Disabled' },
    ]);
  });
});

describe('the message of a container that has ended', () => {
  it('is what it left, after what the runtime says', () => {
    const terminationMessages = new Map([['app-0', 'DONE']]);
    const plain = derive(pod(), runtime([exited('app')]), { terminationMessages });
    expect(messageOf(plain)).toBe('DONE');
    const odd = runtime([exited('app', 128, { message: 'no such file' })]);
    expect(messageOf(derive(pod(), odd, { terminationMessages }))).toBe('no such file: DONE');
  });

  it('shares 12 KiB with all containers of the pod, and keeps its beginning', () => {
    const text = 'é'.repeat(2048);
    const terminationMessages = new Map([['app-0', text]]);
    const four = pod({ containers: [app, helper, container('c'), container('d')] });
    const status = derive(four, runtime([exited('app')]), { terminationMessages });
    expect(Buffer.byteLength(messageOf(status) ?? '')).toBe(3072);
    const three = pod({ containers: [app, helper, container('c')] });
    expect(messageOf(derive(three, runtime([exited('app')]), { terminationMessages }))).toBe(text);
  });

  it('stays when its file has gone', () => {
    const terminationMessages = new Map([['app-0', 'DONE']]);
    const ended = runtime([exited('app', 1, { message: 'oom' })]);
    const previous = derive(pod(), ended, { terminationMessages });
    expect(messageOf(derive(pod(), ended, { previous }))).toBe('oom: DONE');
  });
});

describe('the phase', () => {
  const crashed = ['CrashLoopBackOff', ''] as const;
  const cases: readonly (readonly [string, Pod, RuntimePod | undefined, More, string])[] = [
    ['nothing is there', pod(), undefined, {}, 'Pending'],
    ['it runs', pod(), runtime([run('app')]), {}, 'Running'],
    [
      'one of two has never run',
      pod({ containers: [app, helper] }),
      runtime([run('app')]),
      {},
      'Pending',
    ],
    [
      'one of two has ended for good',
      never([app, helper]),
      runtime([run('app'), exited('helper')]),
      {},
      'Running',
    ],
    ['an init container is to come', pod({ initContainers: [i1] }), undefined, {}, 'Pending'],
    ['an init container runs', pod({ initContainers: [i1] }), runtime([run('i1')]), {}, 'Pending'],
    [
      'an init container failed, and is tried again',
      pod({ initContainers: [i1] }),
      runtime([exited('i1', 1)]),
      { failures: { i1: crashed } },
      'Pending',
    ],
    [
      'an init container failed for good',
      never([app], [i1]),
      runtime([exited('i1', 1)]),
      {},
      'Failed',
    ],
    [
      'the last init container is done',
      pod({ initContainers: [i1] }),
      runtime([exited('i1')]),
      {},
      'Pending',
    ],
    [
      'a sidecar has not started up',
      pod({ initContainers: [sidecar('s', { startupProbe: probe })] }),
      runtime([run('s')]),
      {},
      'Pending',
    ],
    [
      'a sidecar ended while the app runs',
      pod({ initContainers: [sidecar('s')] }),
      runtime([run('app'), exited('s')]),
      {},
      'Running',
    ],
    [
      'all but a sidecar have ended well',
      never([app], [sidecar('s')]),
      runtime([run('s'), exited('app')]),
      {},
      'Succeeded',
    ],
    [
      'it is in crash-loop back-off',
      pod(),
      runtime([exited('app', 1)]),
      { failures: { app: crashed } },
      'Running',
    ],
    ['it ended and is started again', pod(), runtime([exited('app')]), {}, 'Running'],
    [
      'OnFailure, ended well',
      pod({ restartPolicy: 'OnFailure' }),
      runtime([exited('app')]),
      {},
      'Succeeded',
    ],
    [
      'OnFailure, failed',
      pod({ restartPolicy: 'OnFailure' }),
      runtime([exited('app', 1)]),
      {},
      'Running',
    ],
    ['Never, ended well', never([app]), runtime([exited('app')]), {}, 'Succeeded'],
    ['Never, failed', never([app]), runtime([exited('app', 3)]), {}, 'Failed'],
    [
      'Never, one of two failed',
      never([app, helper]),
      runtime([exited('app', 3), exited('helper')]),
      {},
      'Failed',
    ],
    [
      'being terminated, all ended well',
      pod(),
      runtime([exited('app')]),
      { worker: 'terminating' },
      'Succeeded',
    ],
    [
      'being terminated, one was killed',
      pod(),
      runtime([exited('app', 137)]),
      { worker: 'terminated' },
      'Failed',
    ],
    [
      'being terminated, one still runs',
      pod(),
      runtime([run('app')]),
      { worker: 'terminating' },
      'Running',
    ],
    [
      'a static pod is stopped',
      pod({}, { annotations: { 'kubernetes.io/config.source': 'file' } }),
      runtime([exited('app')]),
      { worker: 'terminating' },
      'Running',
    ],
    [
      'its deadline is over',
      pod(),
      runtime([run('app')]),
      { forced: { reason: 'DeadlineExceeded', message: 'too long' } },
      'Failed',
    ],
    [
      'it had ended before',
      pod(),
      runtime([run('app')]),
      { previous: { phase: 'Succeeded' } },
      'Succeeded',
    ],
  ];

  test.each(cases)('where %s', (_where, of, has, more, phase) => {
    expect(derive(of, has, more).phase).toBe(phase);
  });

  it('keeps its reason for as long as it lasts', () => {
    const forced = { reason: 'DeadlineExceeded', message: 'too long' };
    const previous = derive(pod(), runtime([exited('app')]), { forced });
    expect(previous).toMatchObject({ phase: 'Failed', ...forced });
    expect(derive(pod(), undefined, { previous })).toMatchObject(forced);
    const evicting = { phase: 'Pending', reason: 'Odd', message: 'old' } as const;
    const runs = derive(pod(), runtime([run('app')]), { previous: evicting });
    expect(runs).not.toHaveProperty('reason');
  });

  it('tell for whose sake a pod was ended, from then on, and of no other end', () => {
    const why = { reason: 'Evicted', message: 'low on memory' };
    const forced = { ...why, isDisruption: true };
    const target = 'True | TerminationByKubelet | low on memory';
    const previous = derive(pod(), runtime([run('app')]), { forced });
    expect(condition(previous, 'DisruptionTarget')).toBe(target);
    const next = derive(pod(), undefined, { previous, forced, nowMs: 90_000 });
    expect(next.conditions?.at(-1)).toEqual(previous.conditions?.at(-1));
    expect(condition(derive(pod(), undefined, { forced: why }), 'DisruptionTarget')).toBe('');
    const ended = derive(pod(), undefined, { previous: { phase: 'Succeeded' }, forced });
    expect(condition(ended, 'DisruptionTarget')).toBe('');
  });
});

describe('started and ready', () => {
  const probed = pod({
    containers: [container('app', { startupProbe: probe, readinessProbe: probe })],
  });
  const has = runtime([instance('app', 'running')]);

  test.each([
    ['nothing was found yet', {}, [false, false]],
    ['it has not started up', { startup: 'failure', readiness: 'success' }, [false, false]],
    ['it has started up', { startup: 'success' }, [true, false]],
    ['it is not ready', { startup: 'success', readiness: 'failure' }, [true, false]],
    ['it is ready', { startup: 'success', readiness: 'success' }, [true, true]],
  ] as const)('where %s', (_where, found, expected) => {
    const probes = Object.fromEntries(
      Object.entries(found).map(([type, result]) => [`app-0 ${type}`, result]),
    );
    expect(health(derive(probed, has, { probes }))).toEqual(expected);
  });

  it('stay for the same container until probes speak again, and for no other', () => {
    const probes = { 'app-0 startup': 'success', 'app-0 readiness': 'success' } as const;
    const previous = derive(probed, has, { probes });
    expect(health(derive(probed, has, { previous }))).toEqual([true, true]);
    const other = runtime([instance('app', 'running', { attempt: 1 })]);
    expect(health(derive(probed, other, { previous }))).toEqual([false, false]);
    const failing = derive(probed, has, { previous, probes: { 'app-0 readiness': 'failure' } });
    expect(health(failing)).toEqual([true, false]);
  });

  it('are false of what does not run; an init container that succeeded is ready', () => {
    const status = derive(pod({ initContainers: [i1, i2] }), runtime([exited('i1')]));
    expect(status.initContainerStatuses?.map(({ ready }) => ready)).toEqual([true, false]);
    expect(health(status)).toEqual([false, false]);
  });
});

describe('conditions', () => {
  const runs = runtime([instance('app', 'running')]);

  it('are all there from the first status, in upstream’s order', () => {
    const { conditions } = derive(pod({}, { generation: 3 }), undefined);
    expect(conditions?.map(({ type, status }) => `${type} ${status}`)).toEqual([
      'PodReadyToStartContainers False',
      'Initialized True',
      'Ready False',
      'ContainersReady False',
      'PodScheduled True',
    ]);
    expect(conditions?.map(({ observedGeneration }) => observedGeneration)).toEqual([
      3, 3, 3, 3, 3,
    ]);
    expect(conditions?.[0]).toMatchObject({
      lastProbeTime: null,
      lastTransitionTime: '1970-01-01T00:01:00Z',
    });
  });

  const cases: readonly (readonly [string, string, Pod, RuntimePod | undefined, string])[] = [
    ['Ready', 'all are ready', pod(), runs, 'True'],
    [
      'ContainersReady',
      'one is not',
      pod({ containers: [app, helper] }),
      runs,
      'False | ContainersNotReady | containers with unready status: [helper]',
    ],
    [
      'Ready',
      'a sidecar is not',
      pod({ initContainers: [sidecar('s')] }),
      runs,
      'False | ContainersNotReady | containers with unready status: [s]',
    ],
    ['Ready', 'it has succeeded', never([app]), runtime([exited('app')]), 'False | PodCompleted'],
    [
      'ContainersReady',
      'it has failed',
      never([app]),
      runtime([exited('app', 1)]),
      'False | PodFailed',
    ],
    [
      'Initialized',
      'nothing has run',
      pod({ initContainers: [i1, i2] }),
      undefined,
      'False | ContainersNotInitialized | containers with incomplete status: [i1 i2]',
    ],
    [
      'Initialized',
      'one is done',
      pod({ initContainers: [i1, i2] }),
      runtime([exited('i1')]),
      'False | ContainersNotInitialized | containers with incomplete status: [i2]',
    ],
    ['Initialized', 'the app runs', pod({ initContainers: [i1] }), runs, 'True'],
    [
      'Initialized',
      'it has succeeded',
      never([app]),
      runtime([exited('app')]),
      'True | PodCompleted',
    ],
    ['PodReadyToStartContainers', 'the sandbox is ready', pod(), runs, 'True'],
    [
      'PodReadyToStartContainers',
      'the sandbox is not',
      pod(),
      runtime([], [sandbox({ state: 'notReady' })]),
      'False',
    ],
    [
      'PodReadyToStartContainers',
      'it has no address',
      pod(),
      runtime([], [sandbox({ ips: [] })]),
      'False',
    ],
  ];

  test.each(cases)('%s where %s', (type, _where, of, has, expected) => {
    expect(condition(derive(of, has), type)).toBe(expected);
  });

  test.each([
    ['absent', [], 'corresponding condition of pod readiness gate "shop/Paid" does not exist.'],
    [
      'False',
      [{ type: 'shop/Paid', status: 'False' }],
      'the status of pod readiness gate "shop/Paid" is not "True", but False',
    ],
    ['True', [{ type: 'shop/Paid', status: 'True' }], undefined],
  ] as const)('Ready with a readiness gate that is %s', (_what, conditions, message) => {
    const gated = {
      ...pod({ readinessGates: [{ conditionType: 'shop/Paid' }] }),
      status: { conditions },
    };
    const status = derive(gated, runs);
    const expected = message === undefined ? 'True' : `False | ReadinessGatesNotReady | ${message}`;
    expect(condition(status, 'Ready')).toBe(expected);
    expect(condition(status, 'ContainersReady')).toBe('True');
    expect(status.conditions?.filter(({ type }) => type === 'shop/Paid')).toEqual(conditions);
  });
});

describe('addresses', () => {
  test.each([
    ['IPv4 first', ['10.1.0.1'], ['fd00::2', '10.0.0.2'], ['10.0.0.2', 'fd00::2']],
    ['IPv6 first', ['fd00::1', '10.1.0.1'], ['10.0.0.2', 'fd00::2'], ['fd00::2', '10.0.0.2']],
    ['one of a family', ['10.1.0.1'], ['10.0.0.2', '10.0.0.3'], ['10.0.0.2']],
  ])('of the pod, %s', (_what, hostIPs, ips, expected) => {
    const status = derive(pod(), addressed(...ips), { hostIPs });
    expect(status.podIPs?.map(({ ip }) => ip)).toEqual(expected);
    expect(status).toMatchObject({ podIP: expected[0], hostIP: hostIPs[0] });
  });

  it('stay when the sandbox has ended', () => {
    const previous = derive(pod(), addressed('10.0.0.2'));
    const ended = runtime([], [sandbox({ state: 'notReady', ips: [] })]);
    expect(derive(pod(), ended, { previous })).toMatchObject({ podIP: '10.0.0.2' });
  });

  it('of a pod in the node’s network are the node’s, and stay but for a second family', () => {
    const host = pod({ hostNetwork: true });
    const previous = derive(host, undefined, { hostIPs: ['10.1.0.1'] });
    expect(previous.podIPs).toEqual([{ ip: '10.1.0.1' }]);
    const later = derive(host, undefined, { previous, hostIPs: ['10.1.0.9', 'fd00::1'] });
    expect(later.podIPs).toEqual([{ ip: '10.1.0.1' }, { ip: 'fd00::1' }]);
  });
});

describe('the rest', () => {
  it('has the generation seen, the class of service, and the time when the pod was taken up', () => {
    const first = derive(pod({}, { generation: 2 }), undefined);
    expect(first).toMatchObject({
      observedGeneration: 2,
      qosClass: 'BestEffort',
      startTime: '1970-01-01T00:01:00Z',
    });
    const later = derive(pod(), undefined, { previous: first, nowMs: 99_000 });
    expect(later.startTime).toBe(first.startTime);
  });
});

/** What of a status cannot follow the one before it. */
function brokenRules(before: PodStatus, status: PodStatus): readonly string[] {
  const isOver = before.phase === 'Succeeded' || before.phase === 'Failed';
  const phase = isOver && status.phase !== before.phase ? ['phase'] : [];
  const ready = isOver && condition(status, 'Ready').startsWith('True') ? ['Ready'] : [];
  const times = (status.conditions ?? []).flatMap(({ type, status: now, lastTransitionTime }) => {
    const was = before.conditions?.find((each) => each.type === type);
    const lies = (was?.lastTransitionTime === lastTransitionTime) !== (was?.status === now);
    return lies ? [`time of ${type}`] : [];
  });
  return [...phase, ...ready, ...times];
}

describe('in any course of events', () => {
  const state = fc.constantFrom('created', 'running', 'exited', 'unknown');
  const has = fc.array(
    fc.record({
      name: fc.constantFrom('b', 'a', 'i1', 's'),
      state,
      exitCode: fc.constantFrom(0, 1),
    }),
    { maxLength: 6 },
  );
  const step = fc.record({
    has,
    worker: fc.constantFrom('syncing', 'terminating', 'terminated'),
    ready: fc.boolean(),
  });
  const policy = fc.constantFrom('Always', 'OnFailure', 'Never');
  type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

  function statuses(
    restartPolicy: Pod['spec']['restartPolicy'],
    steps: readonly Step[],
  ): PodStatus[] {
    const of = pod({
      restartPolicy,
      containers: [container('b', { readinessProbe: probe }), container('a')],
      initContainers: [i1, sidecar('s')],
    });
    const list: PodStatus[] = [];
    for (const [at, { has: found, worker, ready }] of steps.entries()) {
      const known = found.map(({ name, ...more }, index) =>
        instance(name, more.state, {
          ...more,
          attempt: found.length - index,
          id: `${name}-${at}-${index}`,
        }),
      );
      const probes = Object.fromEntries(
        known.map(({ id }) => [`${id} readiness`, ready ? 'success' : 'failure'] as const),
      );
      list.push(
        derive(of, runtime(known), {
          previous: list.at(-1) ?? {},
          worker,
          probes,
          nowMs: at * 1000,
        }),
      );
    }
    return list;
  }

  it('a last phase stays, times of conditions change with their status alone, and order is fixed', () => {
    fc.assert(
      fc.property(
        policy,
        fc.array(step, { minLength: 1, maxLength: 6 }),
        (restartPolicy, steps) => {
          const list = statuses(restartPolicy, steps);
          for (const [at, status] of list.entries()) {
            expect(status.containerStatuses?.map(({ name }) => name)).toEqual(['a', 'b']);
            expect(status.initContainerStatuses?.map(({ name }) => name)).toEqual(['i1', 's']);
            expect(brokenRules(list[at - 1] ?? status, status)).toEqual([]);
          }
        },
      ),
    );
  });
});
