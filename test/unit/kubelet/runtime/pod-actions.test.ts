import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { isSidecar } from '../../../../src/kubelet/pod/container.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { fewestFeatures } from '../../../../src/kubelet/pod/unsupported.ts';
import type { ProbeResult, ProbeType } from '../../../../src/kubelet/ports/probes.ts';
import type { PodAction } from '../../../../src/kubelet/runtime/pod-action.ts';
import { podActions } from '../../../../src/kubelet/runtime/pod-actions.ts';
import type { RuntimeContainer, RuntimePod } from '../../../../src/kubelet/runtime/runtime-pod.ts';
import { container, instance, pod, runtime, sandbox, sidecar } from './made-pods.ts';

/** What a pod needs next, rule by rule; then for any state of a runtime. */

interface More {
  readonly probes?: Readonly<Record<string, ProbeResult>>;
  readonly waiting?: readonly string[];
  readonly terminating?: boolean;
}

function actions(of: Pod, has: RuntimePod | undefined, more: More = {}): readonly PodAction[] {
  const { probes = {}, waiting = [], terminating = false } = more;
  return podActions({
    pod: of,
    runtime: has,
    probes: { result: (_uid, id: string, type: ProbeType) => probes[`${id} ${type}`] },
    backOff: {
      waits: (key) =>
        waiting.some((name) => key.includes(`/${name}/`))
          ? { untilMs: 5000, delayMs: 10_000 }
          : undefined,
    },
    terminating,
    features: fewestFeatures,
  });
}

/** One word an action. */
function told(list: readonly PodAction[]): readonly string[] {
  return list.map((action) => {
    switch (action.kind) {
      case 'killPod':
        return `kill pod: ${action.why}`;
      case 'killContainer':
        return `kill ${action.container.id}: ${action.message}`;
      case 'removeContainer':
        return `remove ${action.container.id}`;
      case 'createSandbox':
        return `sandbox ${action.attempt}`;
      case 'start':
        return `start ${action.as} ${action.container.name} ${action.attempt}`;
      case 'wait':
        return `wait ${action.container.name} ${action.delayMs}`;
      default:
        return action satisfies never;
    }
  });
}

const plain = pod();
const startup = { periodSeconds: 1 } as never;
const two = pod({ initContainers: [container('i1'), container('i2')] });
const ready = sandbox();
const gone = sandbox({ state: 'notReady' });

type Case = readonly [
  name: string,
  pod: Pod,
  has: RuntimePod | undefined,
  expected: readonly string[],
  more?: More,
];

const cases: readonly Case[] = [
  ['a new pod', plain, undefined, ['sandbox 0', 'start regular app 0']],
  ['a sandbox without containers', plain, runtime([]), ['start regular app 0']],
  ['all runs', plain, runtime([instance('app', 'running')]), []],
  [
    'created, never started',
    plain,
    runtime([instance('app', 'created', { attempt: 1 }), instance('app', 'exited')]),
    ['remove app-1', 'start regular app 1'],
  ],
  [
    'created, never started, Never',
    pod({ restartPolicy: 'Never' }),
    runtime([instance('app', 'created')]),
    ['remove app-0', 'start regular app 0'],
  ],
  [
    'created, never started, in a sandbox that is gone',
    pod({ restartPolicy: 'Never' }),
    runtime([instance('app', 'created')], [gone]),
    ['kill pod: recreate', 'remove app-0', 'sandbox 1', 'start regular app 0'],
  ],
  [
    'created, never started, in a sandbox that was replaced',
    pod({ restartPolicy: 'Never' }),
    runtime([instance('app', 'created')], [sandbox({ id: 's1', attempt: 1 }), gone]),
    ['remove app-0', 'start regular app 0'],
  ],
  [
    'unknown',
    plain,
    runtime([instance('app', 'unknown')]),
    [
      'kill app-0: Container app is in "unknown" state, try killing it before restart',
      'start regular app 1',
    ],
  ],
  ['Always, exit 0', plain, runtime([instance('app', 'exited')]), ['start regular app 1']],
  [
    'Always, in back-off',
    plain,
    runtime([instance('app', 'exited')]),
    ['wait app 10000'],
    { waiting: ['app'] },
  ],
  [
    'OnFailure, exit 1',
    pod({ restartPolicy: 'OnFailure' }),
    runtime([instance('app', 'exited', { exitCode: 1 })]),
    ['start regular app 1'],
  ],
  [
    'OnFailure, exit 0',
    pod({ restartPolicy: 'OnFailure' }),
    runtime([instance('app', 'exited')]),
    ['kill pod: ended'],
  ],
  [
    'OnFailure, exit 0, sandbox stopped',
    pod({ restartPolicy: 'OnFailure' }),
    runtime([instance('app', 'exited')], [gone]),
    [],
  ],
  [
    'Never, exit 3',
    pod({ restartPolicy: 'Never' }),
    runtime([instance('app', 'exited', { exitCode: 3 })]),
    ['kill pod: ended'],
  ],
  [
    'Never, one of two runs on',
    pod({ restartPolicy: 'Never', containers: [container('a'), container('b')] }),
    runtime([instance('a', 'exited'), instance('b', 'running')]),
    [],
  ],
  [
    'Never, ended, after a reboot',
    pod({ restartPolicy: 'Never' }),
    runtime([instance('app', 'exited')], [gone]),
    [],
  ],
  [
    'Never, image changed',
    pod({ restartPolicy: 'Never', containers: [container('app', { image: 'new:1' })] }),
    runtime([instance('app', 'running')]),
    ['kill app-0: Container app definition changed, will be restarted', 'start regular app 1'],
  ],
  [
    "another's hash is not ours to compare",
    plain,
    runtime([instance('app', 'running', { hash: 'beef', labels: {} })]),
    [],
  ],
  [
    'liveness failed',
    plain,
    runtime([instance('app', 'running')]),
    ['kill app-0: Container app failed liveness probe, will be restarted', 'start regular app 1'],
    { probes: { 'app-0 liveness': 'failure' } },
  ],
  [
    'liveness failed, Never',
    pod({ restartPolicy: 'Never', containers: [container('app'), container('b')] }),
    runtime([instance('app', 'running'), instance('b', 'running')]),
    ['kill app-0: Container app failed liveness probe'],
    { probes: { 'app-0 liveness': 'failure' } },
  ],
  [
    'startup failed',
    plain,
    runtime([instance('app', 'running')]),
    ['kill app-0: Container app failed startup probe, will be restarted', 'start regular app 1'],
    { probes: { 'app-0 startup': 'failure' } },
  ],
  [
    'sandbox gone',
    plain,
    runtime([instance('app', 'exited', { exitCode: 255 })], [gone]),
    ['kill pod: recreate', 'sandbox 1', 'start regular app 1'],
  ],
  [
    'two sandboxes ready',
    plain,
    runtime([instance('app', 'running')], [sandbox({ id: 's1', attempt: 1 }), ready]),
    ['kill pod: recreate', 'sandbox 2', 'start regular app 1'],
  ],
  [
    'network changed',
    pod({ hostNetwork: true }),
    runtime([instance('app', 'running')]),
    ['kill pod: recreate', 'sandbox 1', 'start regular app 1'],
  ],
  [
    'sandbox without an address',
    plain,
    runtime([], [sandbox({ ips: [] })]),
    ['kill pod: recreate', 'sandbox 1', 'start regular app 0'],
  ],
  [
    'host network has none',
    pod({ hostNetwork: true }),
    runtime([instance('app', 'running')], [sandbox({ network: 'node', ips: [] })]),
    [],
  ],
  ['init: the first', two, undefined, ['sandbox 0', 'start init i1 0']],
  ['init: the first runs', two, runtime([instance('i1', 'running')]), []],
  ['init: the second', two, runtime([instance('i1', 'exited')]), ['start init i2 0']],
  [
    'init: done',
    two,
    runtime([instance('i2', 'exited'), instance('i1', 'exited')]),
    ['start regular app 0'],
  ],
  [
    'init: created, never started',
    two,
    runtime([instance('i1', 'created')]),
    ['remove i1-0', 'start init i1 0'],
  ],
  [
    'init: done, Never, and the sandbox is gone before the app has run',
    pod({ restartPolicy: 'Never', initContainers: [container('i1')] }),
    runtime([instance('app', 'created'), instance('i1', 'exited')], [gone]),
    ['kill pod: recreate', 'remove app-0', 'remove i1-0', 'sandbox 1', 'start init i1 1'],
  ],
  [
    'init: failed, Never, and the sandbox is gone',
    pod({ restartPolicy: 'Never', initContainers: [container('i1')] }),
    runtime([instance('i1', 'exited', { exitCode: 1 })], [gone]),
    [],
  ],
  ['init: records gone while the app runs', two, runtime([instance('app', 'running')]), []],
  [
    'init: records gone, app ended: again',
    two,
    runtime([instance('app', 'exited')]),
    ['start init i1 0'],
  ],
  [
    'init: changed image of a completed one',
    pod({ initContainers: [container('i1', { image: 'new:1' })] }),
    runtime([instance('i1', 'exited')]),
    ['start regular app 0'],
  ],
  ['init: failed', two, runtime([instance('i1', 'exited', { exitCode: 1 })]), ['start init i1 1']],
  [
    'init: failed, in back-off',
    two,
    runtime([instance('i1', 'exited', { exitCode: 1 })]),
    ['wait i1 10000'],
    { waiting: ['i1'] },
  ],
  [
    'init: OOMKilled',
    two,
    runtime([instance('i1', 'exited', { reason: 'OOMKilled' })]),
    ['start init i1 1'],
  ],
  [
    'init: failed, Never',
    pod({ restartPolicy: 'Never', initContainers: [container('i1')] }),
    runtime([instance('i1', 'exited', { exitCode: 1 })]),
    ['kill pod: ended'],
  ],
  [
    'init: unknown',
    two,
    runtime([instance('i1', 'unknown')]),
    [
      'kill i1-0: Init container is in "unknown" state, try killing it before restart',
      'start init i1 1',
    ],
  ],
  [
    'init: surplus dead instances',
    two,
    runtime([
      instance('i1', 'exited', { attempt: 2, exitCode: 1 }),
      instance('i1', 'exited', { attempt: 1 }),
      instance('i1', 'exited'),
    ]),
    ['remove i1-1', 'remove i1-0', 'start init i1 3'],
  ],
  [
    'init: again in a new sandbox',
    two,
    runtime(
      [instance('app', 'exited'), instance('i2', 'exited'), instance('i1', 'exited')],
      [gone],
    ),
    ['kill pod: recreate', 'remove i2-0', 'remove i1-0', 'sandbox 1', 'start init i1 1'],
  ],
  [
    'init: what ran in the sandbox before does not count',
    two,
    runtime(
      [instance('i2', 'exited'), instance('i1', 'exited')],
      [sandbox({ id: 's1', attempt: 1 }), gone],
    ),
    ['start init i1 1'],
  ],
  [
    'sidecar: gates while it starts up',
    pod({ initContainers: [sidecar('s', { startupProbe: startup })] }),
    runtime([instance('s', 'running')]),
    [],
  ],
  [
    'sidecar: started up',
    pod({ initContainers: [sidecar('s', { startupProbe: startup })] }),
    runtime([instance('s', 'running')]),
    ['start regular app 0'],
    { probes: { 's-0 startup': 'success' } },
  ],
  [
    'sidecar: without a startup probe',
    pod({ initContainers: [sidecar('s'), container('i')] }),
    runtime([instance('s', 'running')]),
    ['start init i 0'],
  ],
  [
    'sidecar: ended while an init runs',
    pod({ initContainers: [sidecar('s'), container('i')] }),
    runtime([instance('i', 'running'), instance('s', 'exited')]),
    ['start sidecar s 1'],
  ],
  [
    'sidecar: ended in a Never pod',
    pod({ restartPolicy: 'Never', initContainers: [sidecar('s')] }),
    runtime([instance('app', 'running'), instance('s', 'exited')]),
    ['start sidecar s 1'],
  ],
  [
    'sidecar: does not keep a pod',
    pod({ restartPolicy: 'Never', initContainers: [sidecar('s')] }),
    runtime([instance('app', 'exited'), instance('s', 'running')]),
    ['kill pod: ended'],
  ],
  [
    'sidecar: its back-off blocks no regular one',
    pod({ initContainers: [sidecar('s')], containers: [container('a'), container('b')] }),
    runtime([instance('a', 'running'), instance('s', 'exited')]),
    ['wait s 10000', 'start regular b 0'],
    { waiting: ['s'] },
  ],
  [
    'sidecar: liveness failed',
    pod({ initContainers: [sidecar('s')] }),
    runtime([instance('app', 'running'), instance('s', 'running')]),
    ['kill s-0: Init container s failed liveness probe', 'start sidecar s 1'],
    { probes: { 's-0 liveness': 'failure' } },
  ],
  [
    'sidecar: image changed',
    pod({ initContainers: [sidecar('s', { image: 'new:1' })] }),
    runtime([instance('app', 'running'), instance('s', 'running')]),
    ['kill s-0: Init container s definition changed', 'start sidecar s 1'],
  ],
  [
    'terminating',
    plain,
    runtime([instance('app', 'running')]),
    ['kill pod: terminating'],
    { terminating: true },
  ],
  [
    'terminating, all dead',
    plain,
    runtime([instance('app', 'exited')], [gone]),
    [],
    { terminating: true },
  ],
  ['deleted, never started', pod({}, { deletionTimestamp: '2026-01-01T00:00:00Z' }), undefined, []],
];

for (const [name, of, has, expected, more] of cases) {
  test(`needs next: ${name}`, () => {
    expect(told(actions(of, has, more))).toEqual(expected);
  });
}

const names = ['i1', 's1', 'a', 'b'] as const;
const anyPod = fc
  .record({
    restartPolicy: fc.constantFrom('Always' as const, 'OnFailure' as const, 'Never' as const),
    init: fc.subarray(['i1', 's1']),
    regular: fc.subarray(['a', 'b'], { minLength: 1 }),
  })
  .map(({ restartPolicy, init, regular }) =>
    pod({
      restartPolicy,
      initContainers: init.map((name) => (name === 's1' ? sidecar(name) : container(name))),
      containers: regular.map((name) => container(name)),
    }),
  );
const anyInstance = fc.record({
  name: fc.constantFrom(...names),
  state: fc.constantFrom(
    'created' as const,
    'running' as const,
    'exited' as const,
    'unknown' as const,
  ),
  exitCode: fc.constantFrom(0, 1),
  sandboxId: fc.constantFrom('s0', 's1'),
});
const anyRuntime = fc
  .record({
    instances: fc.array(anyInstance, { maxLength: 6 }),
    sandboxes: fc.constantFrom(['s1', 's0'], ['s0'], []),
    states: fc.tuple(
      fc.constantFrom('ready' as const, 'notReady' as const),
      fc.constantFrom('ready' as const, 'notReady' as const),
    ),
  })
  .map(({ instances, sandboxes, states }) =>
    runtime(
      // what is newer is in the newer sandbox
      instances
        .toSorted((a, b) => b.sandboxId.localeCompare(a.sandboxId))
        .map(({ name, state, ...more }, at) =>
          instance(name, state, {
            ...more,
            attempt: instances.length - at,
            ...(sandboxes.length < 2 && { sandboxId: 's0' }),
          }),
        ),
      sandboxes.map((id, at) =>
        sandbox({ id, attempt: id === 's1' ? 1 : 0, state: states[at] ?? 'ready' }),
      ),
    ),
  );

interface Model {
  sandboxes: RuntimePod['sandboxes'];
  containers: RuntimePod['containers'];
}

const dead = (one: RuntimeContainer): RuntimeContainer =>
  one.state === 'exited' ? one : { ...one, state: 'exited', exitCode: 137 };

const carry: {
  readonly [K in PodAction['kind']]: (model: Model, action: PodAction & { kind: K }) => void;
} = {
  killPod(model) {
    model.sandboxes = model.sandboxes.map((one) => ({ ...one, state: 'notReady' as const }));
    model.containers = model.containers.map(dead);
  },
  killContainer(model, { container: { id } }) {
    model.containers = model.containers.map((one) => (one.id === id ? dead(one) : one));
  },
  removeContainer(model, { container: { id } }) {
    model.containers = model.containers.filter((one) => one.id !== id);
  },
  createSandbox(model, { attempt }) {
    if (model.sandboxes.some((one) => one.state === 'ready' || one.attempt >= attempt)) {
      throw new Error('a sandbox beside another');
    }
    model.sandboxes = [sandbox({ id: `new${attempt}`, attempt }), ...model.sandboxes];
  },
  start(model, { container: { name }, attempt }) {
    if (model.containers.find((one) => one.name === name)?.state === 'running') {
      throw new Error(`${name} beside itself`);
    }
    const sandboxId = model.sandboxes[0]?.id ?? '';
    model.containers = [instance(name, 'running', { attempt, sandboxId }), ...model.containers];
  },
  wait() {
    throw new Error('there is no back-off here');
  },
};

/** Carries the actions out on a model; ordinary init containers end well then. */
function carriedOut(before: RuntimePod, list: readonly PodAction[]): RuntimePod {
  const model: Model = { sandboxes: before.sandboxes, containers: before.containers };
  for (const action of list) carry[action.kind](model, action as never);
  const containers = model.containers.map((one) =>
    one.name === 'i1' && one.state === 'running' ? { ...one, state: 'exited' as const } : one,
  );
  return { ...before, sandboxes: model.sandboxes, containers };
}

describe('for any state of the runtime', () => {
  test('the actions converge, and no container is started beside itself', () => {
    fc.assert(
      fc.property(anyPod, anyRuntime, (of, has) => {
        let now = carriedOut(has, []);
        let rounds = 0;
        for (let list = actions(of, now); list.length > 0; list = actions(of, now)) {
          now = carriedOut(now, list);
          rounds += 1;
          expect(rounds).toBeLessThan(10);
        }
        const wanted = [...of.spec.containers, ...of.spec.initContainers.filter(isSidecar)];
        const states = wanted.map(
          ({ name }) => now.containers.find((one) => one.name === name)?.state,
        );
        const isAlways = of.spec.restartPolicy === 'Always';
        expect(states).toEqual(isAlways ? wanted.map(() => 'running') : states);
      }),
    );
  });

  test('nothing is started while a pod ends', () => {
    fc.assert(
      fc.property(anyPod, anyRuntime, (of, has) => {
        const list = actions(of, has, { terminating: true });
        expect(list.every(({ kind }) => kind === 'killPod')).toBe(true);
        expect(actions(of, carriedOut(has, list), { terminating: true })).toEqual([]);
      }),
    );
  });
});
