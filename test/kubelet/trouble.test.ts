// What becomes of workloads in trouble: a machine that is switched off, one that nobody reaches, a runtime that is away, an API server and its
// store that are away. Pods go on, come back or are replaced as they should be, and nothing runs twice by what the runtimes themselves tell.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from './ask.ts';
import { box } from './contract/trial.ts';
import { until } from './node-machine.ts';
import type { NodeMachine } from './node-machine.ts';
import type { Run } from './runs.ts';
import {
  WorkloadCluster,
  chosen,
  isUp,
  restarts,
  serves,
  template,
  waits,
} from './workload-cluster.ts';
import type { PlacedPod } from './workload-cluster.ts';
import { WorkloadTruth, identities } from './workload-truth.ts';

const seconds = 5;
const world = new WorkloadCluster({
  apiServerFlags: [
    `--default-not-ready-toleration-seconds=${seconds}`,
    `--default-unreachable-toleration-seconds=${seconds}`,
  ],
});
const { first, second } = world;
const truth = new WorkloadTruth(world);

/** Pods that stay on their node whatever is said of it. */
const loyal = { tolerations: [{ operator: 'Exists', effect: 'NoExecute' }] };
const on = ({ name }: NodeMachine): object => ({
  nodeSelector: { 'kubernetes.io/hostname': name },
});

/** Lives as long as a file is there. */
const lively = {
  command: ['sh', '-c', `touch /tmp/alive; ${waits}`],
  livenessProbe: {
    exec: { command: ['test', '-f', '/tmp/alive'] },
    periodSeconds: 1,
    failureThreshold: 2,
  },
};

beforeAll(async () => {
  await world.start();
  await world.make('Service', 'everywhere', {
    spec: { type: 'NodePort', selector: { app: 'everywhere' }, ports: [{ port: 8080 }] },
  });
  const probe = { readinessProbe: { httpGet: { port: 8080 }, periodSeconds: 1 } };
  const everywhere = template('everywhere', serves, probe);
  await world.make('DaemonSet', 'everywhere', {
    spec: { ...chosen('everywhere'), template: everywhere },
  });
  await world.ready('app=everywhere', 2);
});

afterAll(async () => {
  await world.stop();
});

async function makePod(name: string, node: NodeMachine, container: object, spec: object = {}) {
  await world.make(
    'Pod',
    name,
    template(name, waits, container, { ...on(node), ...loyal, ...spec }),
  );
}

/** The one pod of an app, when it is ready. */
async function one(app: string, holds?: (pod: PlacedPod) => boolean): Promise<PlacedPod> {
  const [pod = expect.fail()] = await world.ready(`app=${app}`, 1, holds);
  return pod;
}

async function running(pod: string, count: number): Promise<void> {
  await world.until(`${pod} was started ${count} times`, async () => {
    const runs = await truth.mainRuns(pod);
    return runs.length >= count && runs.at(-1)?.endedMs === undefined;
  });
}

describe('a machine that is switched off', () => {
  it('is not ready, and its pods are there again when it is', async () => {
    await makePod(
      'stays',
      second,
      {
        volumeMounts: [{ name: 'memory', mountPath: '/memory' }],
      },
      { volumes: [{ name: 'memory', emptyDir: { medium: 'Memory' } }] },
    );
    await makePod('once', second, {}, { restartPolicy: 'Never' });
    const job = template('done', 'exit 0', {}, { restartPolicy: 'Never', ...on(second), ...loyal });
    await world.make('Job', 'done', { spec: { template: job } });
    const stays = await one('stays');
    await one('once');
    await world.until('the Job is done', async () => {
      const found = await world.get<{ status: { succeeded?: number } }>('Job', 'done');
      return found?.status.succeeded === 1;
    });
    await world.switchOff(second);
    await world.nodeReady(second, 'Unknown');
    await world.until('no pod of it counts as ready', async () => {
      const pods = await world.pods('');
      return pods.every((pod) => pod.spec.nodeName !== second.name || !isUp(pod));
    });
    const here = (await world.pods('app=everywhere')).find(
      ({ spec }) => spec.nodeName === first.name,
    );
    const service = await world.get<{ spec: { ports: readonly { nodePort: number }[] } }>(
      'Service',
      'everywhere',
    );
    const port = service?.spec.ports[0]?.nodePort ?? 0;
    // The pod that is gone is one of two: that it is never asked is no chance after so many.
    let answered = 0;
    await world.until('the other node’s pod alone is asked', async () => {
      const answer = await ask(first.address, port);
      answered = answer.endsWith(here?.metadata.name ?? ' ') ? answered + 1 : 0;
      return answered === 20;
    });
    await world.switchOn(second);
    await world.nodeReady(second, 'True');
    const back = await one('stays', (pod) => restarts(pod) === 1);
    expect(back.metadata.uid).toBe(stays.metadata.uid);
    expect(await world.exec(back, 'grep', '-c', ' /memory tmpfs ', '/proc/mounts')).toBe('1\n');
    await world.ready('app=everywhere', 2);
    // What has ended stays ended, and what may run once alone is not started again.
    await world.until('the pod that may run once has failed', async () => {
      const [pod] = await world.pods('app=once');
      return pod?.status.phase === 'Failed';
    });
    const [done] = await world.pods('app=done');
    expect(done?.status.phase).toBe('Succeeded');
    const counts = await Promise.all(
      ['stays', 'once', done?.metadata.name ?? ''].map(
        async (pod) => (await truth.mainRuns(pod)).length,
      ),
    );
    expect(counts).toEqual([2, 1, 1]);
    await truth.ranOnce();
    await world.remove('Job', 'done');
    for (const name of ['stays', 'once']) await world.remove('Pod', name);
  });
});

describe('a machine that nobody reaches', () => {
  it('keeps its pods, none of which is run elsewhere under its name before it has ended there; what was missed is done when it is back', async () => {
    const cordon = async (unschedulable: boolean): Promise<unknown> =>
      world.control.must(
        'PATCH',
        `/api/v1/nodes/${first.name}`,
        { spec: { unschedulable } },
        'application/merge-patch+json',
      );
    const text = async (value: string): Promise<void> =>
      value === 'old'
        ? world.make('ConfigMap', 'words', { data: { text: value } })
        : world.change('ConfigMap', 'words', { data: { text: value } });
    await text('old');
    await cordon(true);
    const keeper = {
      ...chosen('keeper'),
      serviceName: 'keeper',
      template: template('keeper', waits),
    };
    await world.make('StatefulSet', 'keeper', { spec: keeper });
    await world.make('Deployment', 'moves', {
      spec: { ...chosen('moves'), template: template('moves', waits) },
    });
    await makePod('lively', second, lively);
    await makePod('goes', second, {});
    await makePod(
      'reader',
      second,
      { volumeMounts: [{ name: 'words', mountPath: '/words' }] },
      { volumes: [{ name: 'words', configMap: { name: 'words' } }] },
    );
    const old = await one('keeper');
    const moved = await one('moves');
    const reader = await one('reader');
    for (const app of ['lively', 'goes']) await one(app);
    await cordon(false);

    second.partition(true);
    await world.nodeReady(second, 'Unknown');
    await world.exec(await firstOf('lively'), 'rm', '/tmp/alive');
    await world.control.must('DELETE', '/api/v1/namespaces/default/pods/goes');
    await text('new');
    await world.make('Pod', 'comes', {
      metadata: { labels: { app: 'comes' } },
      spec: { nodeName: second.name, ...loyal, containers: [box('main', waits)] },
    });
    await world.until('another pod runs in the place of the Deployment’s', async () => {
      const pods = await world.pods('app=moves');
      return pods.some((pod) => isUp(pod) && pod.spec.nodeName === first.name);
    });
    // As far as it went with the one, it went with the other.
    const pending = await firstOf('keeper');
    expect(pending.metadata.uid).toBe(old.metadata.uid);
    expect(pending.metadata.deletionTimestamp).toBeDefined();
    await running('lively', 2);
    for (const pod of ['keeper-0', 'goes', moved.metadata.name]) {
      expect(await truth.mainRuns(pod)).toMatchObject([{ node: second.name, endedMs: undefined }]);
    }

    second.partition(false);
    await world.nodeReady(second, 'True');
    const other = await one('keeper', ({ metadata }) => metadata.uid !== old.metadata.uid);
    expect(other.metadata.name).toBe('keeper-0');
    const [before = expect.fail(), after = expect.fail()] = await truth.mainRuns('keeper-0');
    expect(before.endedMs).toBeLessThan(after.startedMs);
    await one('moves', (pod) => pod.spec.nodeName === first.name);
    expect(await truth.mainRuns(moved.metadata.name)).toMatchObject([
      { endedMs: expect.any(Number) },
    ]);
    await one('comes');
    await world.until('the pod that was deleted is gone', async () =>
      world.pods('app=goes').then((pods) => pods.length === 0),
    );
    expect((await truth.mainRuns('goes'))[0]?.endedMs).toBeDefined();
    await world.until('the pod reads the new words', async () =>
      world.exec(reader, 'cat', '/words/text').then((words) => words === 'new'),
    );
    expect(restarts(await one('lively'))).toBe(1);
    await truth.statusesAreTrue();
    await truth.ranOnce();
    await world.remove('StatefulSet', 'keeper');
    await world.remove('Deployment', 'moves');
    for (const name of ['lively', 'reader', 'comes']) await world.remove('Pod', name);
  });
});

async function firstOf(app: string): Promise<PlacedPod> {
  const [pod = expect.fail()] = await world.pods(`app=${app}`);
  return pod;
}

describe('a runtime that is away', () => {
  it('makes its node not ready, and its containers live on', async () => {
    await makePod('ends', first, { command: ['sh', '-c', 'sleep 4242 & wait'] });
    await one('ends');
    const ofNode = async (): Promise<readonly PlacedPod[]> =>
      (await world.pods('')).filter(({ spec }) => spec.nodeName === first.name);
    const before = (await ofNode()).filter(({ metadata }) => metadata.name !== 'ends');
    expect(before.length).toBeGreaterThan(0);
    await first.stopContainerd();
    await world.nodeReady(first, 'False');
    const found = await world.cluster.get<{ status: PlacedPod['status'] }>('/api/v1/nodes/n1');
    const ready = found?.status.conditions?.find(({ type }) => type === 'Ready');
    expect(ready).toMatchObject({
      reason: 'KubeletNotReady',
      message: expect.stringContaining('container runtime is down'),
    });
    const server = before.find(({ metadata }) => metadata.labels?.['app'] === 'everywhere');
    expect(await ask(server?.status.podIP ?? '', 8080)).toContain(server?.metadata.name);
    first.run('sh', '-c', 'kill -9 $(pgrep -fx "sleep 4242")');

    await first.startContainerd();
    await world.nodeReady(first, 'True');
    await world.ready('app=everywhere', 2);
    const after = (await ofNode()).filter(({ metadata }) => metadata.name !== 'ends');
    expect(identities(after)).toEqual(identities(before));
    await one('ends', (pod) => restarts(pod) === 1);
    await makePod('later', first, {});
    await one('later');
    await truth.ranOnce();
    for (const name of ['ends', 'later']) await world.remove('Pod', name);
  });
});

/** Without the API server. */
async function remove(node: NodeMachine, { id }: Run, file: string): Promise<void> {
  await node.connect().runtime.execSync({ containerId: id, cmd: ['rm', file], timeout: 20n });
}

/** How long the API server is away. */
const outageMs = 180_000;

/** Ready as long as a file is there. */
const choosy = {
  command: ['sh', '-c', `touch /tmp/ready; ${waits}`],
  readinessProbe: { exec: { command: ['test', '-f', '/tmp/ready'] }, periodSeconds: 1 },
};

describe('an API server that is away, with its store', () => {
  it('is not needed by what runs; statuses are true when it is back', async () => {
    await makePod('tended', first, lively);
    await makePod('loops', second, { command: ['sh', '-c', 'sleep 1; exit 3'] });
    await makePod('choosy', second, choosy);
    await one('tended');
    await one('choosy');
    await running('loops', 1);
    const begun = performance.now();
    await world.control.stopApiServer();
    await world.control.stopEtcd();
    const startedBefore = (await truth.mainRuns('loops')).length;
    const [alive = expect.fail()] = await truth.mainRuns('tended');
    const [ready = expect.fail()] = await truth.mainRuns('choosy');
    await remove(first, alive, '/tmp/alive');
    await remove(second, ready, '/tmp/ready');
    world.kubelet(first).writeManifest(
      'static.json',
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'static', labels: { app: 'static' } },
        spec: { containers: [box('main', waits)] },
      }),
    );
    await running('tended', 2);
    await running('static-n1', 1);
    await until(
      'containers are started anew for three minutes',
      async () =>
        (await truth.mainRuns('loops')).length > startedBefore + 1 &&
        performance.now() - begun > outageMs,
      300,
    );
    const served = await world.runs.of(/^default\/everywhere-/);
    expect(served.filter(({ endedMs }) => endedMs === undefined)).not.toEqual([]);

    world.control.startEtcd();
    // Watches cannot go on where they were.
    await world.control.compactEtcd();
    await world.control.startApiServer();
    for (const node of world.cluster.nodes) await world.nodeReady(node, 'True');
    await world.ready(
      'app=everywhere',
      2,
      (pod) => restarts(pod) === 0 || pod.spec.nodeName === second.name,
    );
    await one('tended', (pod) => restarts(pod) === 1);
    await world.until('what a probe found meanwhile is told', async () => {
      const [pod] = await world.pods('app=choosy');
      return pod !== undefined && !isUp(pod) && restarts(pod) === 0;
    });
    const mirror = await one('static');
    expect(mirror.metadata.name).toBe('static-n1');
    await world.remove('Pod', 'loops');
    await truth.statusesAreTrue();
    await truth.ranOnce();
    for (const name of ['tended', 'choosy']) await world.remove('Pod', name);
  }, 600_000);

  it('may be started anew at any time: what is changed then is done', async () => {
    await world.make('Deployment', 'web', {
      spec: { ...chosen('web'), replicas: 2, template: template('web', waits) },
    });
    const before = await world.ready('app=web', 2);
    await world.control.stopApiServer();
    await world.control.stopEtcd();
    world.control.startEtcd();
    await world.control.startApiServer();
    await world.change('Deployment', 'web', { spec: { replicas: 4 } });
    const after = await world.ready('app=web', 4);
    expect(identities(after)).toEqual(expect.arrayContaining([...identities(before)]));
    await world.remove('Deployment', 'web');
    await truth.ranOnce();
  });
});
