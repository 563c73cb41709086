// A node that is shut down, under a real API server: what it says of itself and of its pods, in which order they end, where others take their
// place, and what becomes of it when the shutdown is called off. systemd-logind is a stand-in; who waits for whom is settled by files in pods.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { PodStatus } from '../../src/kubelet/pod/pod-status.ts';
import { box } from './contract/trial.ts';
import { conditionOf } from './contract/test-pod.ts';
import { NodeLogind } from './node-logind.ts';
import { WorkloadCluster, chosen, isUp, restarts, template, waits } from './workload-cluster.ts';
import type { PlacedPod } from './workload-cluster.ts';

const world = new WorkloadCluster();
const { first, second } = world;
const logind = new NodeLogind(first);
const message = 'Pod was terminated in response to imminent node shutdown.';
const onFirst = { nodeSelector: { 'kubernetes.io/hostname': first.name } };
const critical = { priorityClassName: 'system-cluster-critical' };

/** Asked to end, it does when it may: when there is a file. */
const patient = {
  lifecycle: {
    preStop: {
      exec: {
        command: ['sh', '-c', 'touch /tmp/asked; while [ ! -f /tmp/go ]; do sleep 0.1; done'],
      },
    },
  },
};

beforeAll(async () => {
  await world.start({
    configuration: { shutdownGracePeriod: '110s', shutdownGracePeriodCriticalPods: '30s' },
    under: logind.under,
  });
  await logind.begin();
  await locksAre('held');
});

afterAll(async () => {
  await logind.end();
  await world.stop();
});

/** What a test left is over. */
afterEach(async () => {
  logind.bus.prepareForShutdown(false);
  await world.nodeReady(first, 'True');
});

async function locksAre(last: 'held' | 'released'): Promise<void> {
  await world.until(`the lock is ${last}`, () => logind.locks.at(-1) === last);
}

async function nodeShutsDown(): Promise<void> {
  await world.nodeReady(first, 'False');
  const node = await world.cluster.get<{ status: PodStatus }>(`/api/v1/nodes/${first.name}`);
  expect(conditionOf(node?.status ?? {}, 'Ready')).toMatchObject({
    reason: 'KubeletNotReady',
    message: 'node is shutting down',
  });
}

async function makePod(name: string, container: object, spec: object = {}): Promise<PlacedPod> {
  const more = { terminationGracePeriodSeconds: 60, ...onFirst, ...spec };
  await world.make('Pod', name, template(name, waits, container, more));
  return one(name);
}

/** The one pod of an app, when it is ready. */
async function one(app: string): Promise<PlacedPod> {
  const [pod = expect.fail()] = await world.ready(`app=${app}`, 1);
  return pod;
}

async function now({ metadata: { name } }: PlacedPod): Promise<PlacedPod> {
  const pod = await world.get<PlacedPod>('Pod', name);
  if (pod === undefined) throw new Error(`${name} is gone`);
  return pod;
}

async function failed(pod: PlacedPod): Promise<void> {
  await world.until(`${pod.metadata.name} has failed`, async () => {
    return (await now(pod)).status.phase === 'Failed';
  });
}

async function isAsked(pod: PlacedPod): Promise<void> {
  const asked = async () =>
    world.exec(pod, 'sh', '-c', 'test ! -f /tmp/asked || echo asked').then((text) => text !== '');
  await world.until(`${pod.metadata.name} is asked to end`, asked);
}

async function mayGo(pod: PlacedPod): Promise<void> {
  await world.exec(pod, 'touch', '/tmp/go');
}

/** As the API server has it at this moment. */
async function wasTerminated(pod: PlacedPod): Promise<void> {
  const { metadata, status } = await now(pod);
  expect(metadata).toMatchObject({ uid: pod.metadata.uid });
  expect(metadata.deletionTimestamp).toBeUndefined();
  expect(status).toMatchObject({ phase: 'Failed', reason: 'Terminated', message });
  const reason = 'TerminationByKubelet';
  expect(conditionOf(status, 'DisruptionTarget')).toMatchObject({
    status: 'True',
    reason,
    message,
  });
  expect(conditionOf(status, 'Ready')).toMatchObject({ status: 'False' });
  expect(status.containerStatuses?.map(({ state }) => state)).toMatchObject([
    { terminated: { exitCode: 0 } },
  ]);
}

/** When the one run of its container ended, by its runtime; undefined: it goes on. */
async function endOf(pod: PlacedPod): Promise<number | undefined> {
  const runs = (await world.runs.of(`default/${pod.metadata.name}`)).filter(
    ({ uid, container }) => uid === pod.metadata.uid && container === 'main',
  );
  expect(runs).toHaveLength(1);
  return runs[0]?.endedMs;
}

/** A pod that is given to the node, whatever the scheduler knows of it. */
async function isRefused(name: string): Promise<void> {
  await world.make('Pod', name, template(name, waits, {}, { nodeName: first.name }));
  let status: PodStatus = {};
  await world.until(`${name} has failed`, async () => {
    status = (await world.get<PlacedPod>('Pod', name))?.status ?? {};
    return status.phase === 'Failed';
  });
  expect(status).toMatchObject({
    reason: 'NodeShutdown',
    message: 'Pod was rejected: Pod was rejected as the node is shutting down.',
  });
}

function isElsewhere(pod: PlacedPod): boolean {
  return isUp(pod) && pod.spec.nodeName === second.name;
}

async function cordonSecond(unschedulable: boolean): Promise<void> {
  const type = 'application/merge-patch+json';
  const path = `/api/v1/nodes/${second.name}`;
  await world.control.must('PATCH', path, { spec: { unschedulable } }, type);
}

async function staticPod(): Promise<PlacedPod> {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'tends', labels: { app: 'tends' } },
    spec: { containers: [box('main', waits)] },
  };
  world.kubelet(first).writeManifest('tends.json', JSON.stringify(pod));
  return one('tends');
}

describe('a node that is shut down', () => {
  it('ends ordinary pods, then critical ones, tells how each has ended, and then lets the shutdown go on; others take their place elsewhere', async () => {
    await cordonSecond(true);
    const spec = { ...chosen('web'), replicas: 1, template: template('web', waits) };
    await world.make('Deployment', 'web', { spec });
    const [web, slow, dns, tends] = await Promise.all([
      one('web'),
      makePod('slow', patient),
      makePod('dns', {}, critical),
      staticPod(),
    ]);
    await cordonSecond(false);
    expect(web.spec.nodeName).toBe(first.name);

    logind.bus.prepareForShutdown(true);
    await nodeShutsDown();
    await failed(web);
    await wasTerminated(web);
    await isAsked(slow);
    await isRefused('late');
    await world.until('another pod runs in the place of the Deployment’s', async () =>
      world.pods('app=web').then((pods) => pods.some(isElsewhere)),
    );
    expect(await endOf(slow)).toBeUndefined();
    expect(await endOf(dns)).toBeUndefined();
    expect(logind.locks).toEqual(['held']);

    await mayGo(slow);
    await locksAre('released');
    for (const pod of [slow, dns]) await wasTerminated(pod);
    expect((await now(tends)).status).toMatchObject({ phase: 'Failed', reason: 'Terminated' });
    const [ofWeb = expect.fail(), ofSlow = expect.fail(), ofDns = expect.fail()] =
      await Promise.all([web, slow, dns].map(endOf));
    expect(ofWeb).toBeLessThan(ofSlow);
    expect(ofSlow).toBeLessThan(ofDns);
    expect(logind.locks).toEqual(['held', 'released']);
    const here = (await world.runs.of(/^default\/(?:web|late)/)).filter(
      ({ node }) => node === first.name,
    );
    expect(new Set(here.map(({ uid }) => uid))).toEqual(new Set([web.metadata.uid]));

    logind.bus.prepareForShutdown(false);
    await world.nodeReady(first, 'True');
    await locksAre('held');
    const anew = await one('tends');
    expect(anew.metadata.uid).not.toBe(tends.metadata.uid);
    await makePod('again', {});
    for (const pod of [slow, dns]) await wasTerminated(pod);
    await world.remove('Deployment', 'web');
    for (const name of ['slow', 'dns', 'late', 'again']) await world.remove('Pod', name);
  });

  it('is ready again when that is called off: who was asked to end does, and critical pods go on as they are', async () => {
    const slow = await makePod('slow', patient);
    const dns = await makePod('dns', {}, critical);
    logind.bus.prepareForShutdown(true);
    await nodeShutsDown();
    await isAsked(slow);
    logind.bus.prepareForShutdown(false);
    await world.nodeReady(first, 'True');
    await makePod('next', {});
    await mayGo(slow);
    await failed(slow);
    await wasTerminated(slow);
    await locksAre('held');
    const after = await one('dns');
    expect([after.metadata.uid, restarts(after)]).toEqual([dns.metadata.uid, 0]);
    expect(await endOf(dns)).toBeUndefined();
    for (const name of ['slow', 'dns', 'next']) await world.remove('Pod', name);
  });

  it('is that of a kubelet that begins meanwhile, too: it ends what is left', async () => {
    const slow = await makePod('slow', patient);
    const dns = await makePod('dns', {}, critical);
    logind.bus.prepareForShutdown(true);
    await nodeShutsDown();
    await isAsked(slow);
    await world.kubelet(first).kill();
    await locksAre('released');
    world.kubelet(first).start();
    await world.until('it is connected', () => logind.bus.isConnected);
    await mayGo(slow);
    for (const pod of [slow, dns]) {
      await failed(pod);
      await wasTerminated(pod);
    }
    await isRefused('late');
    await nodeShutsDown();
    for (const name of ['slow', 'dns', 'late']) await world.remove('Pod', name);
  });
});
