// What controllers make of pods on nodes that Switchyard runs: Deployments, DaemonSets, Jobs and StatefulSets roll out, scale, roll over to
// another template and are deleted, and nothing of them is left on any node.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WorkloadCluster, chosen, restarts, spread, template, waits } from './workload-cluster.ts';
import type { PlacedPod } from './workload-cluster.ts';

const world = new WorkloadCluster();

beforeAll(async () => {
  await world.start();
});

afterAll(async () => {
  await world.stop();
});

const nodesOf = (pods: readonly PlacedPod[]): readonly string[] =>
  [...new Set(pods.map(({ spec }) => spec.nodeName ?? ''))].toSorted();

/** What each pod was told by its template. */
async function versions(pods: readonly PlacedPod[]): Promise<readonly string[]> {
  const said = pods.map(async (pod) => world.exec(pod, 'sh', '-c', 'echo $VERSION'));
  return (await Promise.all(said)).map((text) => text.trim());
}

const version = (value: string): object => ({ env: [{ name: 'VERSION', value }] });

describe('a Deployment', () => {
  it('rolls out over the nodes, scales, and rolls over to another template', async () => {
    const app = 'web';
    const of = (value: string): object => template(app, waits, version(value), spread(app));
    const spec = { replicas: 4, ...chosen(app), template: of('1') };
    await world.make('Deployment', app, { spec });
    const four = await world.ready(`app=${app}`, 4);
    expect(nodesOf(four)).toEqual(['n1', 'n2']);
    await world.change('Deployment', app, { spec: { replicas: 6 } });
    const six = await world.ready(`app=${app}`, 6);
    const kept = six.filter(({ metadata }) =>
      four.some((pod) => pod.metadata.uid === metadata.uid),
    );
    expect(kept).toHaveLength(4);
    await world.change('Deployment', app, { spec: { replicas: 2 } });
    const two = await world.ready(`app=${app}`, 2);
    await world.change('Deployment', app, { spec: { template: of('2') } });
    const names = new Set(two.map(({ metadata }) => metadata.name));
    const others = await world.ready(`app=${app}`, 2, ({ metadata }) => !names.has(metadata.name));
    expect(await versions(others)).toEqual(['2', '2']);
    await world.tells('Deployment', app, { updatedReplicas: 2, availableReplicas: 2 });
    expect(others.map(restarts)).toEqual([0, 0]);
    await world.remove('Deployment', app);
  });
});

describe('a DaemonSet', () => {
  it('has a pod on each node that is chosen, and replaces them one after the other', async () => {
    const app = 'agent';
    const label = (value: string | null): Promise<unknown> =>
      world.control.must(
        'PATCH',
        '/api/v1/nodes/n2',
        { metadata: { labels: { without: value } } },
        'application/merge-patch+json',
      );
    const elsewhere = {
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [
              { matchExpressions: [{ key: 'without', operator: 'DoesNotExist' }] },
            ],
          },
        },
      },
    };
    const of = (value: string): object => template(app, waits, version(value), elsewhere);
    await world.make('DaemonSet', app, { spec: { ...chosen(app), template: of('1') } });
    const both = await world.ready(`app=${app}`, 2);
    expect(nodesOf(both)).toEqual(['n1', 'n2']);
    await label('yes');
    expect(nodesOf(await world.ready(`app=${app}`, 1))).toEqual(['n1']);
    await label(null);
    await world.ready(`app=${app}`, 2);
    await world.change('DaemonSet', app, { spec: { template: of('2') } });
    await world.tells('DaemonSet', app, { updatedNumberScheduled: 2, numberAvailable: 2 });
    const others = await world.ready(`app=${app}`, 2);
    expect(nodesOf(others)).toEqual(['n1', 'n2']);
    expect(await versions(others)).toEqual(['2', '2']);
    await world.remove('DaemonSet', app);
  });
});

interface JobStatus {
  readonly succeeded?: number;
  readonly failed?: number;
  readonly completedIndexes?: string;
  readonly conditions?: readonly { readonly type: string; readonly reason?: string }[];
}

async function ended(job: string, as: 'Complete' | 'Failed'): Promise<JobStatus> {
  let status: JobStatus = {};
  await world.until(
    `Job ${job} is ${as}`,
    async () => {
      ({ status = {} } = (await world.get<{ status: JobStatus }>('Job', job)) ?? {});
      return status.conditions?.some(({ type }) => type === as) === true;
    },
    60,
    () => status,
  );
  return status;
}

describe('a Job', () => {
  it('runs each of its indexes once, and counts them', async () => {
    const job = 'count';
    const script = 'echo $JOB_COMPLETION_INDEX $(($JOB_COMPLETION_INDEX * 2))';
    const sidecar = {
      name: 'beside',
      image: 'docker.io/local/busybox:1',
      command: ['sh', '-c', waits],
      restartPolicy: 'Always',
    };
    const more = { restartPolicy: 'Never', initContainers: [sidecar] };
    const counts = { completions: 5, parallelism: 2, completionMode: 'Indexed' };
    const spec = { ...counts, template: template(job, script, {}, more) };
    await world.make('Job', job, { spec });
    const status = await ended(job, 'Complete');
    expect(status).toMatchObject({ succeeded: 5, completedIndexes: '0-4' });
    const pods = await world.pods(`app=${job}`);
    expect(pods.map(({ status: { phase } }) => phase)).toEqual(Array(5).fill('Succeeded'));
    const logs = await Promise.all(pods.map(async (pod) => world.logOf(pod)));
    expect(logs.toSorted()).toEqual(['0 0\n', '1 2\n', '2 4\n', '3 6\n', '4 8\n']);
    const runs = (await world.runs.of(/^default\/count-/)).filter(
      (run) => run.container === 'main',
    );
    expect(runs).toHaveLength(5);
    await world.remove('Job', job);
  });

  it('tries again in the same pod, or in another, as its policy says', async () => {
    const again = 'again';
    // A container's own files are new with each start; those of the pod stay.
    const script = 'test -f /kept/was && exit 0; touch /kept/was; exit 7';
    const volumes = { volumes: [{ name: 'kept', emptyDir: {} }] };
    const mounts = { volumeMounts: [{ name: 'kept', mountPath: '/kept' }] };
    const same = template(again, script, mounts, { restartPolicy: 'OnFailure', ...volumes });
    await world.make('Job', again, { spec: { template: same } });
    const other = 'other';
    const never = template(other, 'exit 7', {}, { restartPolicy: 'Never' });
    await world.make('Job', other, { spec: { backoffLimit: 0, template: never } });
    expect(await ended(again, 'Complete')).toMatchObject({ succeeded: 1 });
    const [pod, ...more] = await world.pods(`app=${again}`);
    expect(more).toEqual([]);
    expect(pod?.status.containerStatuses?.[0]).toMatchObject({ restartCount: 1 });
    const failed = await ended(other, 'Failed');
    expect(failed).toMatchObject({ failed: 1 });
    expect(failed.conditions?.map(({ reason }) => reason)).toContain('BackoffLimitExceeded');
    await world.remove('Job', again);
    await world.remove('Job', other);
  });
});

describe('a StatefulSet', () => {
  it('starts its pods by number, each when the one before is ready, and ends them the other way round', async () => {
    const app = 'store';
    await world.make('Service', app, {
      spec: { clusterIP: 'None', selector: { app }, ports: [{ port: 8080 }] },
    });
    // That the next one waits shows only where being ready takes its time.
    const probe = {
      readinessProbe: { exec: { command: ['test', '-f', '/kept/ready'] }, periodSeconds: 1 },
      volumeMounts: [{ name: 'kept', mountPath: '/kept' }],
    };
    const script = `sleep 1; touch /kept/ready; ${waits}`;
    const volumes = { volumes: [{ name: 'kept', emptyDir: {} }] };
    const of = (value: string): object =>
      template(app, script, { ...probe, ...version(value) }, volumes);
    const spec = { replicas: 3, serviceName: app, ...chosen(app), template: of('1') };
    await world.make('StatefulSet', app, { spec });
    const three = await world.ready(`app=${app}`, 3);
    expect(three.map(({ metadata }) => metadata.name)).toEqual(['store-0', 'store-1', 'store-2']);
    const begun = (await world.runs.of(/^default\/store-/)).filter(
      ({ container }) => container === 'main',
    );
    expect(begun.map(({ pod }) => pod)).toEqual(
      three.map(({ metadata }) => `default/${metadata.name}`),
    );
    const gapsMs = begun.slice(1).map((run, at) => run.startedMs - (begun[at]?.startedMs ?? NaN));
    for (const gapMs of gapsMs) expect(gapMs).toBeGreaterThan(1000);
    const [, middle = expect.fail()] = three;
    expect(await world.exec(middle, 'hostname', '-f')).toBe(
      'store-1.store.default.svc.cluster.local\n',
    );
    await world.change('StatefulSet', app, { spec: { template: of('2') } });
    const uidsBefore = new Set(three.map(({ metadata }) => metadata.uid));
    const others = await world.ready(
      `app=${app}`,
      3,
      ({ metadata }) => !uidsBefore.has(metadata.uid),
    );
    expect(await versions(others)).toEqual(['2', '2', '2']);
    const ends = (await world.runs.of(/^default\/store-/)).filter(
      ({ container, endedMs }) => container === 'main' && endedMs !== undefined,
    );
    const byEnd = ends.toSorted((a, b) => (a.endedMs ?? 0) - (b.endedMs ?? 0));
    expect(byEnd.map(({ pod }) => pod)).toEqual(
      three.map(({ metadata }) => `default/${metadata.name}`).toReversed(),
    );
    await world.change('StatefulSet', app, { spec: { replicas: 1 } });
    const [last] = await world.ready(`app=${app}`, 1);
    expect(last?.metadata.name).toBe('store-0');
    await world.remove('StatefulSet', app);
    await world.remove('Service', app);
  });
});

describe('the nodes', () => {
  it('have run nothing twice, and have nothing left of all that was deleted', async () => {
    expect(await world.runs.twice()).toEqual([]);
    const uids = new Set((await world.runs.all()).map(({ uid }) => uid));
    expect(uids.size).toBeGreaterThan(20);
    for (const node of world.cluster.nodes) {
      let left: readonly string[] = [];
      await world.until(
        `nothing is left on ${node.name}`,
        async () => {
          left = await world.remains(node, uids);
          return left.length === 0;
        },
        120,
        () => left,
      );
    }
    const stillRun = (await world.runs.all()).filter(({ endedMs }) => endedMs === undefined);
    expect(stillRun).toEqual([]);
  });
});
