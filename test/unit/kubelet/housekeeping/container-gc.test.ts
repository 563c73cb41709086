import { expect, test } from 'vitest';
import { chooseGarbage, usualLimits } from '../../../../src/kubelet/housekeeping/container-gc.ts';
import type { RuntimeContainer, RuntimePod } from '../../../../src/kubelet/runtime/runtime-pod.ts';
import { runtimeContainer, runtimePod, runtimeSandbox } from '../support/runtime-pods.ts';

/** Which records of the runtime go, and which stay to be looked at. */

type State = RuntimeContainer['state'];

/** `app/3 exited`: newest first, created in the second of its number. */
function containers(...texts: readonly string[]): RuntimeContainer[] {
  return texts.map((text) => {
    const [what = '', state = ''] = text.split(' ');
    const [name = '', attempt = ''] = what.split('/');
    return runtimeContainer({
      id: what,
      name,
      attempt: Number(attempt),
      state: state as State,
      createdAt: BigInt(attempt) * 1_000_000_000n,
    });
  });
}

function chosen(pod: RuntimePod, isGone = false, limits = usualLimits): string[] {
  const { containers: dead, sandboxes } = chooseGarbage([pod], () => isGone, 100_000, limits);
  return [...dead, ...sandboxes].map(({ id }) => id);
}

test.each([
  [
    'the newest dead instance stays beside the one that runs',
    ['app/3 running', 'app/2 exited', 'app/1 exited'],
    ['app/1'],
  ],
  [
    'while none runs, one stays all the same',
    ['app/3 exited', 'app/2 exited', 'app/1 exited'],
    ['app/2', 'app/1'],
  ],
  ['each container has its own', ['app/2 exited', 'mesh/1 exited', 'setup/0 exited'], []],
  ['one that was just made is about to be started', ['app/2 created', 'app/1 exited'], []],
  [
    'one that was made and has a successor goes',
    ['app/3 running', 'app/2 exited', 'app/1 created'],
    ['app/1'],
  ],
  [
    'an unknown state counts as dead',
    ['app/2 running', 'app/1 exited', 'app/0 unknown'],
    ['app/0'],
  ],
])('%s', (_, texts, expected) => {
  expect(chosen(runtimePod({ containers: containers(...texts) }))).toEqual(expected);
});

test('of thirty crashes two records are left', () => {
  const all = Array.from(
    { length: 31 },
    (_, i) => `app/${30 - i} ${i === 0 ? 'running' : 'exited'}`,
  );
  expect(chosen(runtimePod({ containers: containers(...all) }))).toHaveLength(29);
});

test('of a pod that is gone everything dead goes, and its sandboxes once they are empty', () => {
  const pod = runtimePod({
    sandboxes: [
      runtimeSandbox({ id: 'new', attempt: 1, state: 'notReady' }),
      runtimeSandbox({ id: 'old', state: 'notReady' }),
    ],
    containers: containers('app/1 exited', 'app/0 created').map((each) => ({
      ...each,
      sandboxId: 'new',
    })),
  });
  expect(chosen(pod, true)).toEqual(['app/1', 'app/0', 'new', 'old']);
});

test('a sandbox that is ready stays, also of a pod that is gone: it has to be ended first', () => {
  expect(chosen(runtimePod(), true)).toEqual([]);
});

test('of a pod that lives the newest sandbox stays, and so does one with a container that is kept', () => {
  const pod = runtimePod({
    sandboxes: [
      runtimeSandbox({ id: 'newest', attempt: 2, state: 'notReady' }),
      runtimeSandbox({ id: 'kept', attempt: 1, state: 'notReady' }),
      runtimeSandbox({ id: 'empty', state: 'notReady' }),
    ],
    containers: containers('app/1 exited').map((each) => ({ ...each, sandboxId: 'kept' })),
  });
  expect(chosen(pod)).toEqual(['empty']);
});

test('what is younger than it has to be stays', () => {
  const pod = runtimePod({
    containers: containers('app/99 running', 'app/98 exited', 'app/97 exited', 'app/1 exited'),
  });
  expect(chosen(pod, false, { ...usualLimits, minAgeMs: 10_000 })).toEqual([]);
  expect(chosen(pod, false, { ...usualLimits, minAgeMs: 2_000 })).toEqual(['app/97', 'app/1']);
});

test('above the limit for the node the oldest go', () => {
  const pod = runtimePod({ containers: containers('a/5 exited', 'b/3 exited', 'c/4 exited') });
  expect(chosen(pod, false, { ...usualLimits, total: 2 })).toEqual(['b/3']);
});
