/** The node itself, deletion, and a kubelet that ends and comes back. */
import { expect } from 'vitest';
import type { Scenario } from './scenario.ts';
import { box, conditionOf, forever, isReady, statusOf } from './world.ts';
import type { World } from './world.ts';

/** Ids and restart counts of a pod's containers. */
async function identities(world: World, name: string): Promise<readonly string[]> {
  const { status = {} } = (await world.pod(name)) ?? {};
  return (status.containerStatuses ?? []).map(
    (each) => `${each.name} ${each.containerID} ${each.restartCount}`,
  );
}

export const recovery: readonly Scenario[] = [
  {
    number: 87,
    title: 'the node registers, is Ready, and renews its lease',
    async run(world) {
      const node = await world.cluster.get<{ metadata: { labels: object }; status: object }>(
        `/api/v1/nodes/${world.node}`,
      );
      expect(node?.metadata.labels).toMatchObject({
        'kubernetes.io/hostname': world.node,
        'kubernetes.io/os': 'linux',
      });
      expect(conditionOf(node?.status ?? {}, 'Ready')).toMatchObject({ status: 'True' });
      const path = `/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/${world.node}`;
      type Lease = {
        spec: { holderIdentity: string; renewTime: string; leaseDurationSeconds: number };
      };
      const first = await world.cluster.get<Lease>(path);
      expect(first?.spec).toMatchObject({ holderIdentity: world.node, leaseDurationSeconds: 40 });
      await world.until('the lease is renewed', async () => {
        const lease = await world.cluster.get<Lease>(path);
        return lease?.spec.renewTime !== first?.spec.renewTime;
      });
    },
  },
  {
    number: 91,
    title: 'a deleted pod is gone from the API once its containers have ended',
    async run(world) {
      const name = world.name('deleted');
      const script = 'trap "sleep 1; exit 0" TERM; while true; do sleep 0.1; done';
      const spec = { terminationGracePeriodSeconds: 20, containers: [box('main', script)] };
      const { metadata } = await world.create(name, spec);
      await world.running(name);
      await world.delete(name);
      expect((await world.pod(name))?.metadata.deletionTimestamp).toBeDefined();
      await world.gone(name);
      const running = (await world.containers(metadata.uid)).filter(({ state }) => state === 1);
      expect(running).toEqual([]);
      await world.until(
        'nothing of it is left',
        async () => {
          const containers = await world.containers(metadata.uid);
          return containers.length === 0 && (await world.sandboxes(metadata.uid)).length === 0;
        },
        120,
      );
    },
  },
  {
    number: 104,
    title: 'a kubelet that is killed and comes back leaves running containers alone',
    async run(world) {
      const name = world.name('kept');
      await world.create(name, { containers: [box('a', forever), box('b', forever)] });
      await world.running(name);
      const before = await identities(world, name);
      const started = world.starts.all.length;
      await world.withoutKubelet(async () => {
        await world.kubelet.kill();
        world.restartKubelet();
      });
      // A change that only a kubelet at work can answer shows that it has taken up its work.
      const other = world.name('after');
      await world.create(other, { containers: [box('main', forever)] });
      await world.running(other);
      expect(await identities(world, name)).toEqual(before);
      expect(isReady((await world.pod(name))?.status ?? {})).toBe(true);
      // The other pod's sandbox and container, and nothing else.
      expect(world.starts.all.length - started).toBe(2);
      await world.remove(other);
      await world.remove(name);
    },
  },
  {
    number: 105,
    title: 'a pod that was deleted while the kubelet was away is stopped when it is back',
    async run(world) {
      const name = world.name('missed');
      const { metadata } = await world.create(name, { containers: [box('main', forever)] });
      await world.running(name);
      await world.withoutKubelet(async () => {
        await world.kubelet.kill();
        await world.delete(name, 0);
        await world.gone(name);
        expect((await world.containers(metadata.uid)).map(({ state }) => state)).toEqual([1]);
        world.restartKubelet();
      });
      await world.until('nothing of it runs', async () => {
        const running = (await world.containers(metadata.uid)).some(({ state }) => state === 1);
        return !running && (await world.sandboxes(metadata.uid)).every(({ ready }) => !ready);
      });
      await world.until('its folder is gone', () => !world.podFolders().includes(metadata.uid));
    },
  },
  {
    number: 106,
    title: 'a deletion that a kubelet began is ended by the next',
    async run(world) {
      const name = world.name('resumed');
      const script = 'trap "sleep 4; exit 0" TERM; while true; do sleep 0.1; done';
      const spec = { terminationGracePeriodSeconds: 30, containers: [box('main', script)] };
      const { metadata } = await world.create(name, spec);
      await world.running(name);
      await world.delete(name);
      await world.waitForEvent(name, 'Killing');
      await world.withoutKubelet(async () => {
        await world.kubelet.kill();
        world.restartKubelet();
      });
      await world.gone(name);
      const ids = (await world.containers(metadata.uid)).map(({ id }) => id);
      for (const id of ids) expect(world.starts.count(id)).toBeLessThan(2);
    },
  },
  {
    number: 107,
    title: 'a kubelet that is asked to end leaves its containers running',
    async run(world) {
      const name = world.name('left');
      const { metadata } = await world.create(name, { containers: [box('main', forever)] });
      const before = await world.running(name);
      await world.withoutKubelet(async () => {
        await world.kubelet.stop();
        expect((await world.containers(metadata.uid)).map(({ state }) => state)).toEqual([1]);
        world.restartKubelet();
      });
      const other = world.name('after');
      await world.create(other, { containers: [box('main', forever)] });
      const after = await world.running(other).then(async () => world.pod(name));
      expect(statusOf(after?.status ?? {}, 'main')?.containerID).toBe(
        statusOf(before, 'main')?.containerID,
      );
      await world.remove(other);
      await world.remove(name);
    },
  },
];
