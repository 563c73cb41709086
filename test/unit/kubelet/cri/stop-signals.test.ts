// The signals that containers are stopped by, as the API names them and as CRI does, and which runtimes take them.
import { expect, test } from 'vitest';
import { Signal, SignalSchema } from '../../../../src/kubelet/cri/gen/api_pb.ts';
import {
  stopSignal,
  stopSignalName,
  takesStopSignals,
} from '../../../../src/kubelet/cri/stop-signals.ts';
import { isStopSignal } from '../../../../src/kubelet/pod/stop-signals.ts';

test.for([
  ['SIGTERM', Signal.SIGTERM],
  ['SIGINT', Signal.SIGINT],
  ['SIGRTMIN', Signal.SIGRTMIN],
  ['SIGRTMIN+3', Signal.SIGRTMINPLUS3],
  ['SIGRTMIN+15', Signal.SIGRTMINPLUS15],
  ['SIGRTMAX-1', Signal.SIGRTMAXMINUS1],
  ['SIGRTMAX', Signal.SIGRTMAX],
] as const)('%s goes there and back', ([name, signal]) => {
  expect(stopSignal(name)).toBe(signal);
  expect(stopSignalName(signal)).toBe(name);
});

test('all that CRI has are signals of a pod', () => {
  const numbers = SignalSchema.values.map(({ number }) => number as Signal);
  const names = numbers.flatMap((number) => stopSignalName(number) ?? []);
  expect(names).toHaveLength(65);
  expect(names.filter((name) => !isStopSignal(name))).toEqual([]);
});

test.for(['TERM', 'SIGRTMINPLUS3', 'RUNTIME_DEFAULT', 'sigterm', 'SIGRTMIN+16', 'SIGRTMAX-0', ''])(
  '%j is none',
  (name) => {
    expect(stopSignal(name)).toBeUndefined();
    expect(isStopSignal(name)).toBe(false);
  },
);

test('what the runtime does not say, or nobody knows, has no name', () => {
  expect(stopSignalName(Signal.RUNTIME_DEFAULT)).toBeUndefined();
  expect(stopSignalName(99 as Signal)).toBeUndefined();
});

test.for([
  ['containerd', '1.6.20', false],
  ['containerd', 'v1.7.35', false],
  ['containerd', 'v2.2.9', false],
  ['containerd', 'v2.3.0-rc.1', true],
  ['containerd', '2.10.0', true],
  ['containerd', 'v3.0.0', true],
  ['containerd', 'unknown', false],
  ['other', '9.9.9', false],
] as const)('%s %s: %s', ([runtimeName, runtimeVersion, takes]) => {
  expect(takesStopSignals({ runtimeName, runtimeVersion })).toBe(takes);
});
