// What a node may do with its own certificate is enough for all that the kubelet writes: its Node, its lease, the statuses of its pods,
// the last word of a pod that is to go, and Events; and a real API server takes each as it is meant.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { readMachineFacts } from '../../src/host/machine-facts.ts';
import { runProgram } from '../../src/host/run-program.ts';
import { loadApiClient } from '../../src/informer/api-client.ts';
import type { ApiClient, ApiWriter } from '../../src/informer/api-client.ts';
import { ObjectApi } from '../../src/kubelet/api/object-api.ts';
import { KubeletEvents } from '../../src/kubelet/events/kubelet-events.ts';
import { NodeLease } from '../../src/kubelet/node/node-lease.ts';
import type { NodeObject } from '../../src/kubelet/node/node-object.ts';
import { readNode } from '../../src/kubelet/node/node-readings.ts';
import { PressureWatch } from '../../src/kubelet/node/pressure-watch.ts';
import { NodeReporter } from '../../src/kubelet/node/node-reporter.ts';
import { RuntimeHealth } from '../../src/kubelet/node/runtime-health.ts';
import { defaultPod } from '../../src/kubelet/pod/default-pod.ts';
import type { PodStatus } from '../../src/kubelet/pod/pod-status.ts';
import type { Pod } from '../../src/kubelet/pod/pod.ts';
import { derivePodStatus } from '../../src/kubelet/status/derive-status.ts';
import { StatusWriter } from '../../src/kubelet/status/status-writer.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { instance, runtime } from '../unit/kubelet/runtime/made-pods.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import { pauseImage } from './images.ts';

const clock = systemClock;
const random = Math.random;
const log = silentLog;
const cluster = new KubeletCluster(['n1']);
const stop = new AbortController();
const running: Promise<void>[] = [];
let client: ApiClient & ApiWriter;
let reporter: NodeReporter;
let writer: StatusWriter;
let events: KubeletEvents;

const api = (apiVersion: string, resource: string): ObjectApi =>
  new ObjectApi(client, clock, { apiVersion, resource });

beforeAll(async () => {
  await cluster.start([pauseImage()]);
  const [machine] = cluster.nodes;
  if (machine === undefined) throw new Error('no node');
  cluster.kubelet(machine);
  const kubeconfig = '/run/sy/pki/n1.kubeconfig';
  client = await loadApiClient({ kubeconfig, log, clock, runProgram });
  const cri = machine.connect();
  const health = new RuntimeHealth({ cri, clock, log, relistedAtMs: () => clock.monotonic() });
  events = new KubeletEvents({
    api: api('v1', 'events'),
    node: 'n1',
    qps: 50,
    burst: 100,
    clock,
    log,
    random,
  });
  const settings = {
    labels: { 'example.com/rack': 'r1' },
    taints: [],
    register: true,
    providerId: '',
    externalCloud: false,
    statusUpdateMs: 1000,
    statusReportMs: 4000,
    leaseSeconds: 4,
    maxImages: 50,
    maxPods: 110,
    podsPerCore: 0,
    systemReserved: {},
    kubeReserved: {},
    evictionHard: {},
    countsLocalStorage: true,
  };
  reporter = new NodeReporter({
    api: api('v1', 'nodes'),
    client,
    name: 'n1',
    settings,
    pressures: new PressureWatch({ thresholds: [], maxPodGraceSeconds: 0, transitionMs: 0 }),
    ips: [machine.address, 'fd00::11'],
    port: 10_250,
    machine: await readMachineFacts(),
    read: async () => readNode('/'),
    health,
    events: events.ofNode,
    clock,
    log,
    random,
  });
  const lease = new NodeLease({
    api: api('coordination.k8s.io/v1', 'leases'),
    name: 'n1',
    seconds: 4,
    nodeUid: () => reporter.node?.metadata.uid,
    clock,
    log,
    random,
  });
  writer = new StatusWriter({
    api: api('v1', 'pods'),
    mirror: () => undefined,
    isListed: () => true,
    onContinued: () => {},
    clock,
    log,
    random,
  });
  for (const part of [health, reporter, lease, writer, events]) running.push(part.run(stop.signal));
});

afterAll(async () => {
  stop.abort();
  await Promise.all(running);
  await client.close();
  await cluster.stop();
});

async function node(): Promise<NodeObject | undefined> {
  return cluster.get<NodeObject>('/api/v1/nodes/n1');
}

function condition(of: NodeObject | undefined, type: string): string | undefined {
  return of?.status?.conditions?.find((each) => each.type === type)?.status;
}

const heartbeat = (of: NodeObject | undefined): string | undefined =>
  of?.status?.conditions?.find((each) => each.type === 'Ready')?.lastHeartbeatTime;

const minor = (text: string | undefined): number => Number(text?.split('.')[1]);

const pods = '/api/v1/namespaces/default/pods';

async function makePod(name: string): Promise<Pod> {
  await cluster.control.until('there is a default account', async () => cluster.hasAccount());
  const spec = {
    nodeName: 'n1',
    containers: [
      { name: 'app', image: 'busybox:1', readinessProbe: { exec: { command: ['true'] } } },
    ],
    readinessGates: [{ conditionType: 'example.com/gate' }],
  };
  await cluster.control.must('POST', pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec,
  });
  return podOf(name);
}

async function podOf(name: string): Promise<Pod> {
  const raw = await cluster.get<Record<string, unknown>>(`${pods}/${name}`);
  if (raw === undefined) throw new Error(`no pod ${name}`);
  return defaultPod(raw);
}

function derived(pod: Pod, state: 'running' | 'exited', ready = true): PodStatus {
  return derivePodStatus({
    pod,
    runtime: runtime([
      instance('app', state, { startedAt: 1_700_000_000_000_000_000n, exitCode: 3 }),
    ]),
    previous: writer.current(pod),
    probes: { result: () => (ready ? 'success' : 'failure') },
    failures: new Map(),
    worker: state === 'running' ? 'syncing' : 'terminated',
    terminationMessages: new Map(),
    hostIPs: ['10.89.0.11'],
    nowMs: Date.now(),
  });
}

describe('the Node', () => {
  it('is registered with its labels, gets Ready, and has a lease that is renewed', async () => {
    await cluster.control.until(
      'it is Ready',
      async () => condition(await node(), 'Ready') === 'True',
    );
    expect(await node()).toMatchObject({
      metadata: { labels: { 'example.com/rack': 'r1', 'kubernetes.io/hostname': 'n1' } },
      status: {
        addresses: [
          { type: 'InternalIP', address: '10.89.0.11' },
          { type: 'InternalIP', address: 'fd00::11' },
          { type: 'Hostname', address: 'n1' },
        ],
        capacity: { pods: '110' },
        nodeInfo: { containerRuntimeVersion: expect.stringContaining('containerd://') },
      },
    });
    const path = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1';
    interface Lease {
      readonly metadata: { readonly ownerReferences: readonly { readonly uid: string }[] };
      readonly spec: { readonly renewTime: string; readonly holderIdentity: string };
    }
    await cluster.control.until('there is a lease', async () => cluster.get(path).then(Boolean));
    const first = await cluster.get<Lease>(path);
    await cluster.control.until('it is renewed', async () => {
      const next = await cluster.get<Lease>(path);
      return next !== undefined && next.spec.renewTime !== first?.spec.renewTime;
    });
    expect(first?.spec.holderIdentity).toBe('n1');
    expect(first?.metadata.ownerReferences[0]?.uid).toBe((await node())?.metadata.uid);
  });

  it('keeps what others add, and tells of itself now and then', async () => {
    const status = { capacity: { 'example.com/dongle': '4' } };
    const type = 'application/merge-patch+json';
    await cluster.control.must('PATCH', '/api/v1/nodes/n1/status', { status }, type);
    const before = heartbeat(await node());
    await cluster.control.until('it is told', async () => heartbeat(await node()) !== before);
    expect((await node())?.status?.capacity?.['example.com/dongle']).toBe('4');
    expect((await node())?.status?.addresses).toHaveLength(3);
  });

  it('never says that it is newer than the API server', async () => {
    const version = await cluster.get<{ readonly gitVersion: string }>('/version');
    const reported = (await node())?.status?.nodeInfo?.kubeletVersion;
    expect(reported).toMatch(/^v\d+\.\d+\.\d+$/);
    expect(minor(reported)).toBeLessThanOrEqual(minor(version?.gitVersion));
  });
});

describe('a pod', () => {
  it('has the status that is derived, whole, and what others say of it', async () => {
    const pod = await makePod('told');
    writer.set(pod, derived(pod, 'running', false));
    await cluster.control.until(
      'it is told',
      async () => (await podOf('told')).status.phase === 'Running',
    );
    const gate = { type: 'example.com/gate', status: 'True' };
    const type = 'application/strategic-merge-patch+json';
    const patch = { status: { conditions: [gate] } };
    await cluster.control.must('PATCH', `${pods}/told/status`, patch, type);
    const seen = await podOf('told');
    const { uid } = seen.metadata;
    const ready = derived(seen, 'running');
    writer.set(seen, ready);
    const says = async (name: string): Promise<string | undefined> =>
      (await podOf('told')).status.conditions?.find((each) => each.type === name)?.status;
    await cluster.control.until('it is Ready', async () => (await says('Ready')) === 'True');
    expect(await says('example.com/gate')).toBe('True');
    const { status, metadata } = await podOf('told');
    expect(metadata.uid).toBe(uid);
    expect(status).toMatchObject({
      podIP: '10.0.0.2',
      podIPs: [{ ip: '10.0.0.2' }],
      hostIPs: [{ ip: '10.89.0.11' }],
      qosClass: 'BestEffort',
      observedGeneration: 1,
      containerStatuses: ready.containerStatuses,
    });
    const moved = { ...ready, podIP: '10.0.0.3', podIPs: [{ ip: '10.0.0.3' }] };
    writer.set(seen, moved);
    await cluster.control.until(
      'it moved',
      async () => (await podOf('told')).status.podIP === '10.0.0.3',
    );
    expect((await podOf('told')).status.podIPs).toEqual([{ ip: '10.0.0.3' }]);
    // what is there already is not written again
    const version = (await podOf('told')).metadata.resourceVersion;
    writer.seen(await podOf('told'));
    writer.set(seen, { ...moved });
    await cluster.control.until('nothing is left to write', async () => writer.isSettled);
    expect((await podOf('told')).metadata.resourceVersion).toBe(version);
  });

  it('goes when it is to go and has ended, not before', async () => {
    const pod = await makePod('going');
    writer.set(pod, derived(pod, 'running'));
    await cluster.control.until(
      'it is told',
      async () => (await podOf('going')).status.phase === 'Running',
    );
    await cluster.control.must('DELETE', `${pods}/going`);
    const leaving = await podOf('going');
    expect(leaving.metadata.deletionTimestamp).toBeDefined();
    writer.seen(leaving);
    writer.terminated(leaving, derived(leaving, 'exited'));
    await cluster.control.until('it is gone', async () =>
      cluster.get(`${pods}/going`).then((found) => found === undefined),
    );
  });

  it('has Events that are counted', async () => {
    const pod = await podOf('told');
    const event = {
      type: 'Warning',
      reason: 'BackOff',
      message: 'Back-off',
      container: 'app',
    } as const;
    interface List {
      readonly items: readonly { readonly count: number; readonly involvedObject: object }[];
    }
    const path = '/api/v1/namespaces/default/events?fieldSelector=reason=BackOff';
    const counted = async (): Promise<List['items']> =>
      (await cluster.get<List>(path))?.items ?? [];
    events.tell(pod, event);
    await cluster.control.until('it is there', async () => (await counted()).length === 1);
    events.tell(pod, event);
    await cluster.control.until('it is counted', async () => (await counted())[0]?.count === 2);
    expect((await counted())[0]?.involvedObject).toMatchObject({
      name: 'told',
      uid: pod.metadata.uid,
      fieldPath: 'spec.containers{app}',
    });
  });
});
