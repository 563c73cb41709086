// What the kubelet says of a pod in a line: one word for what it does, what is ready, how often it was restarted, how old it is.
import { expect, test } from 'vitest';
import { podEntry } from '../../../../src/kubelet/admin/pod-entry.ts';
import type { ContainerStatus, PodStatus } from '../../../../src/kubelet/pod/pod-status.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { container, pod, running } from '../support/pods.ts';
import { runtimePod, runtimeSandbox } from '../support/runtime-pods.ts';

const waiting = (reason: string, message?: string): ContainerStatus =>
  running({ state: { waiting: { reason, ...(message !== undefined && { message }) } } });
const ended = (exitCode: number, more: object = {}): ContainerStatus =>
  running({ state: { terminated: { exitCode, ...more } } });

function word(status: PodStatus, spec: Partial<Pod['spec']> = {}, isEnding = false): string {
  return podEntry({ pod: { ...pod(spec), status }, runtime: undefined, isEnding }).status;
}

const ready = [{ type: 'Ready', status: 'True' as const }];
const init = { initContainers: [container({ name: 'a' }), container({ name: 'b' })] };
const done = { ...ended(0), name: 'a' };
const first = { ...waiting('PodInitializing'), name: 'a' };
const second = { ...first, name: 'b' };

test.each<[string, string, PodStatus, Partial<Pod['spec']>?]>([
  ['a phase', 'Running', { phase: 'Running', containerStatuses: [running({ ready: true })] }],
  ['why the pod failed', 'Evicted', { phase: 'Failed', reason: 'Evicted' }],
  [
    'what it waits for',
    'ErrImagePull',
    { phase: 'Pending', containerStatuses: [waiting('ErrImagePull')] },
  ],
  [
    'how it ended',
    'Error',
    { phase: 'Failed', containerStatuses: [ended(1, { reason: 'Error' })] },
  ],
  ['its exit code', 'ExitCode:3', { phase: 'Failed', containerStatuses: [ended(3)] }],
  ['its signal', 'Signal:9', { phase: 'Failed', containerStatuses: [ended(137, { signal: 9 })] }],
  [
    'one of two has ended well',
    'Running',
    {
      phase: 'Running',
      conditions: ready,
      containerStatuses: [ended(0, { reason: 'Completed' }), running({ ready: true })],
    },
  ],
  [
    'no init container has begun',
    'Init:0/2',
    { phase: 'Pending', initContainerStatuses: [first, second] },
    init,
  ],
  [
    'the first one is done',
    'Init:1/2',
    { phase: 'Pending', initContainerStatuses: [done, second] },
    init,
  ],
  [
    'one has failed',
    'Init:Error',
    {
      phase: 'Pending',
      initContainerStatuses: [done, { ...ended(1, { reason: 'Error' }), name: 'b' }],
    },
    init,
  ],
])('%s: %s', (_what, expected, status, spec) => {
  expect(word(status, spec)).toBe(expected);
});

test('a pod that ends says so, whatever its containers do', () => {
  expect(word({ phase: 'Running', containerStatuses: [running()] }, {}, true)).toBe('Terminating');
});

test('sidecars count among what is to be ready, init containers do not', () => {
  const sidecar = container({ name: 'proxy', restartPolicy: 'Always' });
  const spec = { initContainers: [container({ name: 'once' }), sidecar] };
  const status: PodStatus = {
    phase: 'Running',
    initContainerStatuses: [
      {
        ...ended(0),
        name: 'once',
        restartCount: 1,
        lastState: { terminated: { exitCode: 1, finishedAt: '2026-01-01T00:00:05Z' } },
      },
      running({ name: 'proxy', ready: true }),
    ],
    containerStatuses: [running({ restartCount: 2 })],
    podIPs: [{ ip: '10.0.0.7' }, { ip: 'fd00::7' }],
  };
  const entry = podEntry({ pod: { ...pod(spec), status }, runtime: undefined, isEnding: false });
  expect(entry).toMatchObject({ ready: 1, total: 2, restarts: 3, ips: ['10.0.0.7', 'fd00::7'] });
  expect(entry.lastRestart).toBe('2026-01-01T00:00:05Z');
  expect(entry.containers.map(({ kind }) => kind)).toEqual(['init', 'sidecar', 'container']);
});

test('a static pod is as old as what the runtime has of it, be the agent younger', () => {
  const annotations = {
    'kubernetes.io/config.source': 'file',
    'kubernetes.io/config.seen': '2026-01-02T00:00:00.000000000Z',
  };
  const made = BigInt(Date.parse('2026-01-01T00:00:00Z')) * 1_000_000n;
  const runtime = runtimePod({ sandboxes: [runtimeSandbox({ createdAt: made })], containers: [] });
  const { created, source } = podEntry({ pod: pod({}, { annotations }), runtime, isEnding: false });
  expect([source, created]).toEqual(['file', '2026-01-01T00:00:00.000Z']);
});

test('the message is that of what does not run', () => {
  const status: PodStatus = {
    phase: 'Pending',
    containerStatuses: [waiting('ErrImagePull', 'no such image\n')],
  };
  const entry = podEntry({ pod: { ...pod(), status }, runtime: undefined, isEnding: false });
  expect(entry.message).toBe('no such image');
});
