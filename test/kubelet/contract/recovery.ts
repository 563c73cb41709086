/** The node itself, and a kubelet that ends and comes back. */
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import { conditionOf, isReady, statusOf } from './test-pod.ts';
import type { TestPod } from './test-pod.ts';
import { box, forever, one } from './trial.ts';

const alone = 'the kubelet is another one';
const never = { restartPolicy: 'Never' };

/** Ids and restart counts of a pod's containers. */
async function identities(pod: TestPod): Promise<readonly string[]> {
  const { containerStatuses = [] } = await pod.status();
  return containerStatuses.map(
    ({ name, containerID, restartCount }) => `${name} ${containerID} ${restartCount}`,
  );
}

interface Lease {
  readonly spec: {
    readonly holderIdentity: string;
    readonly renewTime: string;
    readonly leaseDurationSeconds: number;
  };
}

export const recovery: readonly Scenario[] = [
  {
    number: 39,
    title: 'after a reboot a finished pod is not run again, and one that goes on is',
    alone: 'the machine is started anew',
    async run(trial) {
      const { world } = trial;
      const done = await trial.pod({ ...never, ...one('exit 0') });
      const once = await trial.pod({ ...never, ...one(forever) });
      const goesOn = await trial.pod(one(forever));
      await done.phase('Succeeded');
      await once.running();
      await goesOn.running();
      await world.replaceKubelet('kill', async () => world.runtime.reboot());
      await goesOn.restarted(1);
      await goesOn.running();
      await once.phase('Failed');
      expect((await done.status()).phase).toBe('Succeeded');
      for (const pod of [done, once]) {
        expect((await pod.containers()).map(({ id }) => world.tasks.starts(id))).toEqual([1]);
      }
      const starts = await goesOn.starts('main');
      expect(starts.toSorted((a, b) => a - b)).toEqual([1, 1]);
    },
  },
  {
    number: 87,
    title: 'the node registers, is Ready, and renews its lease',
    async run({ world }) {
      const node = await world.cluster.get<{ metadata: { labels: object }; status: object }>(
        `/api/v1/nodes/${world.node}`,
      );
      expect(node?.metadata.labels).toMatchObject({
        'kubernetes.io/hostname': world.node,
        'kubernetes.io/os': 'linux',
      });
      expect(conditionOf(node?.status ?? {}, 'Ready')).toMatchObject({ status: 'True' });
      const path = `/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/${world.node}`;
      const first = await world.cluster.get<Lease>(path);
      expect(first?.spec).toMatchObject({ holderIdentity: world.node, leaseDurationSeconds: 40 });
      await world.until('the lease is renewed', async () => {
        const lease = await world.cluster.get<Lease>(path);
        return lease?.spec.renewTime !== first?.spec.renewTime;
      });
    },
  },
  {
    number: 88,
    title: 'a node whose kubelet is away is not known to be ready; its pods run on',
    alone,
    async run(trial) {
      const { world } = trial;
      const pod = await trial.runningPod();
      const before = await identities(pod);
      await world.replaceKubelet('stop', async () => {
        const isUnknown = async (): Promise<boolean> => (await world.isReady()) === 'Unknown';
        await world.until('the node is Unknown', isUnknown, 100);
        await pod.waitFor('it is not ready', (status) => !isReady(status));
        expect(await pod.isRunning()).toBe(true);
      });
      await world.until('the node is Ready', async () => (await world.isReady()) === 'True');
      await pod.running();
      expect(await identities(pod)).toEqual(before);
      expect(await pod.starts('main')).toEqual([1]);
    },
  },
  {
    number: 89,
    title: 'without a pod network the node is not ready, and pods of the node’s own network run',
    alone: 'no pod gets an address',
    async run(trial) {
      const { world } = trial;
      world.runtime.setNetwork(false);
      try {
        const isFalse = async (): Promise<boolean> => (await world.isReady()) === 'False';
        await world.until('the node is not ready', isFalse);
        const held = await trial.pod(one(forever));
        const pod = await trial.staticPod({ hostNetwork: true, ...one(forever) });
        await (await pod.mirrored()).running();
        await held.event('NetworkNotReady', 'network is not ready: ');
        expect(await held.isRunning()).toBe(false);
        world.runtime.setNetwork(true);
        await held.running();
        await world.until('the node is ready', async () => (await world.isReady()) === 'True');
      } finally {
        world.runtime.setNetwork(true);
      }
    },
  },
  {
    number: 90,
    title: 'a Node that somebody deletes stays so until the kubelet’s next start; its pods run on',
    alone: 'the node is none',
    async run(trial) {
      const { world } = trial;
      const pod = await trial.runningPod();
      const path = `/api/v1/nodes/${world.node}`;
      const { length } = world.kubelet.log;
      await world.cluster.control.must('DELETE', path);
      world.runtime.setNetwork(false);
      try {
        await world.until('it was missed', () =>
          world.kubelet.log.slice(length).includes(`node ${world.node} is not told of yet`),
        );
      } finally {
        world.runtime.setNetwork(true);
      }
      expect(await world.cluster.get(path)).toBeUndefined();
      expect(await pod.isRunning()).toBe(true);
      await world.replaceKubelet('stop');
      await world.until('the node is Ready', async () => (await world.isReady()) === 'True');
      await pod.running();
      expect(await pod.starts('main')).toEqual([1]);
    },
  },
  {
    number: 104,
    title: 'a kubelet that is killed and comes back leaves running containers alone',
    alone,
    async run(trial) {
      const { world } = trial;
      const pod = await trial.pod({ containers: [box('a', forever), box('b', forever)] });
      await pod.running();
      const before = await identities(pod);
      const { started } = world.tasks;
      await world.replaceKubelet('kill');
      await trial.kubeletWorks();
      expect(await identities(pod)).toEqual(before);
      expect(isReady(await pod.status())).toBe(true);
      // The other pod's sandbox and container, and nothing else.
      expect(world.tasks.started - started).toBe(2);
    },
  },
  {
    number: 105,
    title: 'a pod that was deleted while the kubelet was away is stopped when it is back',
    alone,
    async run(trial) {
      const { world } = trial;
      const pod = await trial.runningPod();
      await world.replaceKubelet('kill', async () => {
        await pod.delete(0);
        await pod.gone();
        expect(await pod.isRunning()).toBe(true);
      });
      await world.until('nothing of it runs', async () => {
        const isReadyStill = (await pod.sandboxes()).some(({ ready }) => ready);
        return !isReadyStill && !(await pod.isRunning());
      });
      await world.until('its folder is gone', () => !world.podFolders().includes(pod.uid));
    },
  },
  {
    number: 106,
    title: 'a deletion that a kubelet began is ended by the next',
    alone,
    async run(trial) {
      const { world } = trial;
      const script = 'trap "sleep 4; exit 0" TERM; while true; do sleep 0.1; done';
      const pod = await trial.pod({ terminationGracePeriodSeconds: 30, ...one(script) });
      await pod.running();
      await pod.delete();
      await pod.event('Killing');
      await world.replaceKubelet('kill');
      await pod.gone();
      for (const count of await pod.starts('main')) expect(count).toBe(1);
    },
  },
  {
    number: 107,
    title: 'a kubelet that is asked to end leaves its containers running',
    alone,
    async run(trial) {
      const { world } = trial;
      const pod = await trial.pod(one(forever));
      const before = await pod.running();
      await world.replaceKubelet('stop', async () => {
        expect(await pod.isRunning()).toBe(true);
      });
      await trial.kubeletWorks();
      expect(statusOf(await pod.status(), 'main')?.containerID).toBe(
        statusOf(before, 'main')?.containerID,
      );
      expect(await pod.starts('main')).toEqual([1]);
    },
  },
];
