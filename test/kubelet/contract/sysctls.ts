/** Settings of the kernel for a pod alone: which it gets, and which it is refused for. */
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import type { TestPod } from './test-pod.ts';
import { forever, one } from './trial.ts';

/** Safe ones of both namespaces, and one that is let in by the node's configuration. */
const wanted = {
  'net.ipv4.ip_unprivileged_port_start': '81',
  'kernel.shm_rmid_forced': '1',
  'net.core.somaxconn': '321',
};
const files = Object.keys(wanted).map((name) => `/proc/sys/${name.replaceAll('.', '/')}`);

async function valuesIn(pod: TestPod): Promise<readonly string[]> {
  return (await pod.exec('main', 'cat', ...files)).trim().split('\n');
}

export const sysctls: readonly Scenario[] = [
  {
    number: 94,
    title: 'a sysctl that is not allowed: the pod fails, and never starts',
    async run(trial) {
      const securityContext = { sysctls: [{ name: 'kernel.msgmax', value: '65536' }] };
      const pod = await trial.pod({ securityContext, ...one(forever) });
      expect(await pod.phase('Failed')).toMatchObject({
        reason: 'SysctlForbidden',
        message: 'Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted',
      });
      await pod.event('SysctlForbidden', 'forbidden sysctl: "kernel.msgmax" not allowlisted');
      expect(await pod.sandboxes()).toEqual([]);
    },
  },
  {
    number: 115,
    title: 'sysctls that are safe, or that the node allows, are set in the pod and nowhere else',
    notInMemory: 'its containers have no namespaces',
    async run(trial) {
      const { node } = trial.world.runtime;
      const ofNode = node.run('cat', ...files);
      const set = Object.entries(wanted).map(([name, value]) => ({ name, value }));
      const pod = await trial.pod({ securityContext: { sysctls: set }, ...one(forever) });
      const other = await trial.runningPod();
      await pod.running();
      expect(await valuesIn(pod)).toEqual(Object.values(wanted));
      for (const [at, value] of (await valuesIn(other)).entries())
        expect(value).not.toBe(Object.values(wanted)[at]);
      expect(node.run('cat', ...files)).toBe(ofNode);
    },
  },
];
