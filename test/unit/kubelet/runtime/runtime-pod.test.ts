// When something of a pod is up, by what the runtime has of it.
import { expect, test } from 'vitest';
import { isUp } from '../../../../src/kubelet/runtime/runtime-pod.ts';
import type { RuntimePod } from '../../../../src/kubelet/runtime/runtime-pod.ts';
import { runtimeContainer, runtimePod, runtimeSandbox } from '../support/runtime-pods.ts';

const down = runtimeSandbox({ state: 'notReady' });

test.each<readonly [string, RuntimePod | undefined, boolean]>([
  ['nothing', undefined, false],
  ['a sandbox', runtimePod({ sandboxes: [runtimeSandbox()], containers: [] }), true],
  [
    'a container whose sandbox is down',
    runtimePod({ sandboxes: [down], containers: [runtimeContainer({ state: 'running' })] }),
    true,
  ],
  [
    'what has ended, as after a reboot',
    runtimePod({ sandboxes: [down], containers: [runtimeContainer({ state: 'exited' })] }),
    false,
  ],
])('%s', (_, pod, expected) => {
  expect(isUp(pod)).toBe(expected);
});
