/** Containers that are put into a pod that runs, as `kubectl debug` does it. */
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import { statusOf } from './test-pod.ts';
import type { TestPod } from './test-pod.ts';
import { box, forever, one } from './trial.ts';

async function add(pod: TestPod, name: string, script: string): Promise<void> {
  const ephemeralContainers = [box(name, script)];
  await pod.patch({ spec: { ephemeralContainers } }, '/ephemeralcontainers');
}

export const debugging: readonly Scenario[] = [
  {
    number: 108,
    title:
      'an ephemeral container is started once, whatever it ends with; the pod runs on as it was',
    async run(trial) {
      const pod = await trial.pod(one(forever));
      await pod.running();
      await add(pod, 'looker', 'echo seen; exit 3');
      const status = await pod.waitFor(
        'the looker has ended',
        (each) => statusOf(each, 'looker')?.state.terminated?.exitCode === 3,
      );
      expect(status.phase).toBe('Running');
      expect(statusOf(status, 'main')?.restartCount).toBe(0);
      await add(pod, 'stayer', forever);
      await pod.waitFor(
        'the stayer runs',
        (each) => statusOf(each, 'stayer')?.state.running !== undefined,
      );
      expect(await pod.exec('stayer', 'hostname')).toBe(`${pod.name}\n`);
      expect(await pod.starts('looker')).toEqual([1]);
      await pod.remove();
      expect(await pod.isRunning()).toBe(false);
    },
  },
];
