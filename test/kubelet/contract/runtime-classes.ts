/** Pods that name the way in which they are to be run. */
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import { forever, one } from './trial.ts';
import type { Trial } from './trial.ts';

const path = '/apis/node.k8s.io/v1/runtimeclasses';

async function runtimeClass(trial: Trial, handler: string, more: object = {}): Promise<string> {
  const { control } = trial.world.cluster;
  const name = trial.name();
  const metadata = { name };
  const kind = { apiVersion: 'node.k8s.io/v1', kind: 'RuntimeClass' };
  await control.must('POST', path, { ...kind, metadata, handler, ...more });
  trial.leave(async () => control.request('DELETE', `${path}/${name}`));
  return name;
}

export const runtimeClasses: readonly Scenario[] = [
  {
    number: 113,
    title: 'a runtime class: its handler runs the pod, and its overhead is part of the pod’s limit',
    async run(trial) {
      const { world } = trial;
      const overhead = { podFixed: { cpu: '50m', memory: '32Mi' } };
      const runtimeClassName = await runtimeClass(trial, 'runc', { overhead });
      const resources = { limits: { cpu: '100m', memory: '64Mi' } };
      const pod = await trial.pod({ runtimeClassName, ...one(forever, { resources }) });
      await pod.running();
      const { items } = await world.cri.runtime.listPodSandbox({});
      const own = items.find(({ metadata }) => metadata?.uid === pod.uid);
      expect(own?.runtimeHandler).toBe('runc');
      const found = world.runtime.node.run(
        'sh',
        '-c',
        `cat $(find /sys/fs/cgroup -path '*/pod${pod.uid}/memory.limit_in_bytes' -o -path '*/pod${pod.uid}/memory.max')`,
      );
      expect(found.trim()).toBe(String((64 + 32) * 1024 * 1024));
    },
  },
  {
    number: 114,
    title:
      'a handler that the runtime does not have, or a class that is gone: the pod waits, with an event',
    async run(trial) {
      const runtimeClassName = await runtimeClass(trial, 'nobody');
      const pod = await trial.pod({ runtimeClassName, ...one(forever) });
      await pod.event('FailedCreatePodSandBox', 'no runtime for "nobody" is configured');
      await pod.waiting('ContainerCreating');
      await trial.world.cluster.control.must('DELETE', `${path}/${runtimeClassName}`);
      const gone = `runtimeclass.node.k8s.io "${runtimeClassName}" not found`;
      await pod.event('FailedCreatePodSandBox', gone);
      expect((await pod.status()).phase).toBe('Pending');
    },
  },
];
