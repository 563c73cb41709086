// Which ends of containers a status tells of that the one before it did not.
import { expect, test } from 'vitest';
import type {
  ContainerStateValue,
  ContainerStatus,
} from '../../../../src/kubelet/pod/pod-status.ts';
import { newEndings } from '../../../../src/kubelet/status/endings.ts';
import { running } from '../support/pods.ts';

function end(id: string, exitCode: number): ContainerStateValue {
  return { terminated: { exitCode, reason: 'Error', containerID: `containerd://${id}` } };
}

const waiting = { waiting: { reason: 'CrashLoopBackOff' } };
const runs = running();
const ended = running({ state: end('one', 3) });
const waits = running({ state: waiting, lastState: end('one', 3) });
const runsAgain = running({ containerID: 'containerd://two', lastState: end('one', 3) });
const endedAgain = running({ state: end('two', 4), lastState: end('one', 3) });
const lost = running({
  state: { terminated: { exitCode: 137, reason: 'ContainerStatusUnknown' } },
});

test.for<readonly [string, ContainerStatus | undefined, ContainerStatus, readonly number[]]>([
  ['a container that runs', undefined, runs, []],
  ['one that ended', runs, ended, [3]],
  ['one that ended before anything was known of it', undefined, ended, [3]],
  ['one that waits after its end', ended, waits, []],
  ['one that ended and runs again', runs, runsAgain, [3]],
  ['one that runs again after its end was told', waits, runsAgain, []],
  ['one that ended twice', runs, endedAgain, [4, 3]],
  ['one that ended once more', runsAgain, endedAgain, [4]],
  ['one of which nothing is known', runs, lost, []],
])('%s', ([, before, after, codes]) => {
  const was = before === undefined ? {} : { containerStatuses: [before] };
  const found = newEndings(was, { containerStatuses: [after] });
  expect(found).toEqual(codes.map((exitCode) => ({ type: 'container', exitCode })));
});

test('init containers are told apart', () => {
  const initContainerStatuses = [running({ state: end('zero', 0) })];
  expect(newEndings({ containerStatuses: [ended] }, { initContainerStatuses })).toEqual([
    { type: 'init_container', exitCode: 0 },
  ]);
});
