// How a Node comes to the API server, and what is told of it when.
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import type { MachineFacts } from '../../../../src/host/machine-facts.ts';
import { evictionThresholds } from '../../../../src/config/eviction-config.ts';
import { ObjectApi } from '../../../../src/kubelet/api/object-api.ts';
import { PressureWatch } from '../../../../src/kubelet/node/pressure-watch.ts';
import type { NodeReadings } from '../../../../src/kubelet/node/node-readings.ts';
import type { NodeSettings, NodeStatus } from '../../../../src/kubelet/node/node-object.ts';
import { NodeReporter } from '../../../../src/kubelet/node/node-reporter.ts';
import type { RuntimeAbilities } from '../../../../src/kubelet/node/runtime-health.ts';
import { apiRig, field, until } from '../support/api-rig.ts';
import type { ApiRig } from '../support/api-rig.ts';

const nodes = '/api/v1/nodes';
const gib = 1024 ** 3;
const settings: NodeSettings = {
  labels: { 'example.com/rack': 'r1' },
  taints: [{ key: 'example.com/new', value: 'true', effect: 'NoSchedule' }],
  register: true,
  providerId: '',
  externalCloud: false,
  statusUpdateMs: 10_000,
  statusReportMs: 300_000,
  leaseSeconds: 40,
  maxImages: 50,
  maxPods: 110,
  podsPerCore: 0,
  systemReserved: { cpu: '100m' },
  kubeReserved: {},
  evictionHard: {
    'memory.available': '100Mi',
    'nodefs.available': '10%',
    'imagefs.available': '15%',
    'imagefs.inodesFree': '5%',
  },
  countsLocalStorage: true,
};
const thresholds = evictionThresholds({
  hard: settings.evictionHard,
  soft: {},
  graceMs: {},
  reclaim: {},
});
const machine: MachineFacts = {
  cpus: 2,
  memoryBytes: 4 * gib,
  hugePages: new Map([[2 * 1024 ** 2, 0]]),
  machineId: 'm1',
  systemUuid: 's1',
  bootId: 'b1',
  kernelVersion: '6.18.0',
  osImage: 'Debian GNU/Linux 13 (trixie)',
  architecture: 'amd64',
};

let rig: ApiRig;
let problems: string[];
let readings: Omit<NodeReadings, 'problems'>;
let told: string[];
let abilities: RuntimeAbilities;
let isShuttingDown = false;

beforeEach(async () => {
  rig = await apiRig();
  problems = [];
  told = [];
  abilities = {};
  isShuttingDown = false;
  const disk = { bytes: 100 * gib, availableBytes: 50 * gib, inodes: 1000, freeInodes: 900 };
  const memory = { total: 4 * gib, available: 2 * gib };
  readings = { memory, disk, imageDisk: undefined, processes: undefined };
});

afterEach(async () => rig.stop());

function reporter(more: Partial<NodeSettings> = {}, version = 'v1.36.2'): NodeReporter {
  const { client, clock, log } = rig;
  return new NodeReporter({
    api: new ObjectApi(client, clock, { apiVersion: 'v1', resource: 'nodes' }),
    client: {
      get: async (path) =>
        Promise.resolve({
          status: path === '/version' ? 200 : 404,
          headers: {},
          body: Readable.from([JSON.stringify({ gitVersion: version })]),
        }),
    },
    name: 'n1',
    settings: { ...settings, ...more },
    pressures: new PressureWatch({ thresholds, maxPodGraceSeconds: 0, transitionMs: 300_000 }),
    ips: ['10.1.0.1'],
    port: 10_250,
    machine,
    read: async () => Promise.resolve(readings),
    problems: () => (isShuttingDown ? ['node is shutting down'] : []),
    health: {
      get problems() {
        return problems;
      },
      version: 'containerd://1.6.20',
      get abilities() {
        return abilities;
      },
      images: [
        { repoTags: ['local/small:1'], repoDigests: [], size: 10n },
        { repoTags: ['local/big:1'], repoDigests: ['local/big@sha256:1'], size: 20n },
      ] as never,
    },
    events: { tell: (type, reason, message) => void told.push(`${type} ${reason} ${message}`) },
    clock,
    log,
    random: () => 0.5,
  });
}

/** This Node at some version, with a label. */
function at(resourceVersion: string, rack: string) {
  return { metadata: { name: 'n1', resourceVersion, labels: { rack } } };
}

function node() {
  return rig.server.object(`${nodes}/n1`);
}

function status(): NodeStatus | undefined {
  return node()?.['status'] as NodeStatus | undefined;
}

function condition(type: string): string {
  const found = status()?.conditions?.find((each) => each.type === type);
  return [found?.status, found?.reason, found?.message].join(' | ');
}

function patches(): number {
  return rig.server.requests.filter(({ method }) => method === 'PATCH').length;
}

async function started(of: NodeReporter): Promise<void> {
  rig.start(async (signal) => of.run(signal));
  await until('it is registered and told of', () => of.node !== undefined && patches() > 0);
}

describe('a new node', () => {
  it('is registered with labels, taints, annotation and its whole status', async () => {
    await started(reporter());
    expect(node()).toMatchObject({
      metadata: {
        name: 'n1',
        labels: {
          'example.com/rack': 'r1',
          'kubernetes.io/hostname': 'n1',
          'kubernetes.io/os': 'linux',
          'kubernetes.io/arch': 'amd64',
          'beta.kubernetes.io/os': 'linux',
          'beta.kubernetes.io/arch': 'amd64',
        },
        annotations: { 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' },
      },
      spec: { taints: settings.taints },
      status: {
        addresses: [
          { type: 'InternalIP', address: '10.1.0.1' },
          { type: 'Hostname', address: 'n1' },
        ],
        capacity: {
          cpu: '2',
          memory: '4194304Ki',
          pods: '110',
          'ephemeral-storage': '104857600Ki',
          'hugepages-2Mi': '0',
        },
        allocatable: { cpu: '1900m', memory: '4091904Ki', pods: '110' },
        daemonEndpoints: { kubeletEndpoint: { Port: 10_250 } },
        nodeInfo: {
          machineID: 'm1',
          bootID: 'b1',
          containerRuntimeVersion: 'containerd://1.6.20',
          kubeletVersion: 'v1.36.2',
          kubeProxyVersion: '',
          operatingSystem: 'linux',
          architecture: 'amd64',
        },
        images: [
          { names: ['local/big@sha256:1', 'local/big:1'], sizeBytes: 20 },
          { names: ['local/small:1'], sizeBytes: 10 },
        ],
      },
    });
    expect(status()?.conditions?.map((each) => each.type)).toEqual([
      'MemoryPressure',
      'DiskPressure',
      'PIDPressure',
      'Ready',
    ]);
    expect(told).toEqual([
      'Normal Starting Starting kubelet.',
      'Normal NodeHasSufficientMemory Node n1 status is now: NodeHasSufficientMemory',
      'Normal NodeHasNoDiskPressure Node n1 status is now: NodeHasNoDiskPressure',
      'Normal NodeHasSufficientPID Node n1 status is now: NodeHasSufficientPID',
      'Normal NodeReady Node n1 status is now: NodeReady',
    ]);
  });

  test.each([
    ['older than this kubelet', 'v1.34.1+k3s1', 'v1.34.1'],
    ['of the same minor version, and newer', 'v1.37.9', 'v1.37.0'],
    ['newer', 'v1.40.0', 'v1.37.0'],
    ['unreadable', 'master', 'v1.37.0'],
  ])(
    'of an API server that is %s reports a version that may be',
    async (_what, server, expected) => {
      await started(reporter({}, server));
      expect(status()?.nodeInfo?.kubeletVersion).toBe(expected);
    },
  );

  it('is tried until the API server takes it', async () => {
    rig.server.inject({ on: 'create', type: 'status', status: 403, times: 3 });
    const of = reporter();
    rig.start(async (signal) => of.run(signal));
    for (const tries of [1, 2, 3]) {
      await until(
        `tried ${tries} times`,
        () => rig.lines.length >= 1 && rig.server.requests.length >= tries,
      );
      await rig.clock.advance(100 * 2 ** tries);
    }
    await until('it is registered', () => of.node !== undefined);
    expect(rig.lines.filter((line) => line.startsWith('warn'))).toHaveLength(1);
  });

  it('of a cloud is for others to give addresses to', async () => {
    await started(reporter({ externalCloud: true }));
    expect(status()).not.toHaveProperty('addresses');
    expect(field(node(), 'metadata', 'annotations')).toMatchObject({
      'alpha.kubernetes.io/provided-node-ip': '10.1.0.1',
    });
    expect(field(node(), 'spec', 'taints')).toContainEqual({
      key: 'node.cloudprovider.kubernetes.io/uninitialized',
      value: 'true',
      effect: 'NoSchedule',
    });
  });
});

describe('a node that was there before', () => {
  it('keeps its taints, its labels, and the quantities that others have added', async () => {
    rig.server.put(nodes, {
      metadata: { name: 'n1', labels: { mine: 'yes', 'kubernetes.io/arch': 'arm64' } },
      spec: { taints: [] },
      status: {
        capacity: { cpu: '64', 'example.com/dongle': '4' },
        allocatable: { 'example.com/dongle': '4' },
        conditions: [{ type: 'NetworkUnavailable', status: 'False' }],
        nodeInfo: { bootID: 'b0' },
        addresses: [{ type: 'ExternalIP', address: '192.0.2.1' }],
      },
    });
    await started(reporter());
    await until('its status is told', () => status()?.capacity?.['cpu'] === '2');
    expect(field(node(), 'spec', 'taints')).toEqual([]);
    expect(field(node(), 'metadata', 'labels')).toMatchObject({
      mine: 'yes',
      'kubernetes.io/arch': 'amd64',
    });
    expect(status()?.capacity?.['example.com/dongle']).toBe('4');
    expect(status()?.addresses?.map(({ address }) => address)).toEqual(['10.1.0.1', 'n1']);
    expect(status()?.allocatable?.['example.com/dongle']).toBe('4');
    expect(condition('NetworkUnavailable')).toContain('False');
    expect(told).toContain('Warning Rebooted Node n1 has been rebooted, boot id: b1');
  });

  it('is waited for where this kubelet does not register', async () => {
    const of = reporter({ register: false });
    rig.start(async (signal) => of.run(signal));
    await until('it was asked for', () =>
      rig.lines.some((line) => line.includes('not registered')),
    );
    expect(rig.server.requests.some(({ method }) => method === 'POST')).toBe(false);
    rig.server.put(nodes, { metadata: { name: 'n1' } });
    await rig.clock.advance(100);
    await until('it is told of', () => status()?.capacity?.['cpu'] === '2');
    expect(node()?.metadata).not.toHaveProperty('labels');
  });

  it('has the labels and taints that others give it meanwhile', async () => {
    const of = reporter();
    of.seen({ metadata: { name: 'n1' } });
    expect(of.node).toBeUndefined();
    await started(of);
    const labels = { rack: 'r2' };
    of.seen(rig.server.put(nodes, { ...node(), metadata: { name: 'n1', labels } }));
    expect(of.node?.metadata.labels).toEqual(labels);
  });

  it('is known as it is after the past came back, and not by what overtakes the watch', async () => {
    const of = reporter();
    await started(of);
    const rack = () => of.node?.metadata.labels?.['rack'];
    await of.refresh(new AbortController().signal);
    of.seen(at('1', 'late'));
    expect(rack()).toBeUndefined();
    of.seen(at('1000', 'new'));
    expect(rack()).toBe('new');
    // an answer of a server that is behind
    await of.refresh(new AbortController().signal);
    expect(rack()).toBe('new');
    of.seen(at('900', 'restored'));
    expect(rack()).toBe('restored');
    of.seen(at('901', 'since'));
    expect(rack()).toBe('since');
    await of.refresh(new AbortController().signal);
    expect(rack()).toBe('since');
  });

  it('that is deleted stays so until the next start', async () => {
    await started(reporter());
    rig.server.remove(nodes, 'n1');
    problems = ['container runtime is down'];
    await rig.clock.advance(11_000);
    await until('it was missed', () => rig.lines.some((line) => line.includes('not told of yet')));
    await rig.clock.advance(60_000);
    expect(node()).toBeUndefined();
  });
});

describe('a status', () => {
  it('is told when something has changed, and else now and then', async () => {
    const of = reporter();
    await started(of);
    const before = patches();
    for (let seconds = 0; seconds < 200; seconds += 10) await rig.clock.advance(10_500);
    expect(patches()).toBe(before);
    await rig.clock.advance(120_000);
    await until('the heartbeat is told', () => patches() === before + 1);
    problems = ['container runtime network not ready: x', 'PLEG is not healthy: y'];
    await rig.clock.advance(10_500);
    await until('it is told', () => patches() === before + 2);
    expect(condition('Ready')).toBe(
      'False | KubeletNotReady | [container runtime network not ready: x, PLEG is not healthy: y]',
    );
    expect(told.at(-1)).toBe('Normal NodeNotReady Node n1 status is now: NodeNotReady');
  });

  it('is told again when others have said something else of the node', async () => {
    const of = reporter();
    await started(of);
    const before = patches();
    const now = status()?.conditions ?? [];
    const conditions = now.map((each) =>
      each.type === 'Ready' ? { ...each, status: 'Unknown', reason: 'NodeStatusUnknown' } : each,
    );
    const doubted = rig.server.put(nodes, {
      ...node(),
      status: { ...status(), conditions },
    } as never);
    of.seen(doubted);
    await rig.clock.advance(10_500);
    await until('it is told', () => patches() === before + 1);
    expect(condition('Ready')).toContain('True');
    of.seen(doubted);
    await rig.clock.advance(10_500);
    expect([patches(), of.node?.status?.conditions?.at(-1)?.status]).toEqual([before + 1, 'True']);
  });

  it('says what the runtime can do, from when it says so', async () => {
    await started(reporter());
    expect(status()).not.toHaveProperty('runtimeHandlers');
    expect(status()).not.toHaveProperty('features');
    const features = { recursiveReadOnlyMounts: true, userNamespaces: false };
    abilities = {
      runtimeHandlers: [{ name: '', features }],
      features: { supplementalGroupsPolicy: true },
    };
    await rig.clock.advance(10_500);
    await until('it is told', () => status()?.features !== undefined);
    expect(status()).toMatchObject(abilities);
    const asked = patches();
    await rig.clock.advance(10_500);
    expect(patches()).toBe(asked);
    // one that does not answer yet has not lost what it can do
    abilities = {};
    await rig.clock.advance(10_500);
    expect(patches()).toBe(asked);
    expect(status()?.features).toEqual({ supplementalGroupsPolicy: true });
  });

  it('is told at once when a node that starts gets ready', async () => {
    problems = ['container runtime is down'];
    await started(reporter());
    expect(condition('Ready')).toBe('False | KubeletNotReady | container runtime is down');
    problems = [];
    await rig.clock.advance(100);
    await until('it is ready', () => condition('Ready').startsWith('True'));
    expect(condition('Ready')).toBe('True | KubeletReady | kubelet is posting ready status');
  });

  it('is told at once where somebody rings, with what else is wrong', async () => {
    const of = reporter();
    await started(of);
    isShuttingDown = true;
    of.ring();
    await until('it is told', () => condition('Ready').startsWith('False'));
    expect(condition('Ready')).toBe('False | KubeletNotReady | node is shutting down');
  });

  it('is judged, and counts here, also where the API server is not told', async () => {
    const of = reporter();
    await started(of);
    await rig.server.down();
    readings = { ...readings, memory: { total: 4 * gib, available: 1024 } };
    await rig.clock.advance(10_500);
    const pressing = (): readonly string[] =>
      of.conditions.filter((each) => each.status === 'True').map((each) => each.type);
    await until('it presses', () => pressing().includes('MemoryPressure'));
    expect(of.node?.status?.conditions?.[0]?.status).toBe('False');
    await rig.server.up();
  });

  it('is read anew when somebody asks for it', async () => {
    const of = reporter();
    await started(of);
    rig.server.put(nodes, { ...node(), metadata: { name: 'n1', labels: { new: 'yes' } } });
    expect(of.node?.metadata.labels).not.toHaveProperty('new');
    await of.refresh(new AbortController().signal);
    expect(of.node?.metadata.labels).toHaveProperty('new', 'yes');
  });

  it('comes through after an API server that was away for minutes', async () => {
    await started(reporter());
    await rig.server.down();
    problems = ['container runtime is down'];
    for (let seconds = 0; seconds < 180; seconds += 10) await rig.clock.advance(10_500);
    await rig.server.up();
    await rig.clock.advance(10_500);
    await until('it is told', () => patches() > 0 && condition('Ready').startsWith('False'));
    expect(told.at(-1)).toContain('NodeNotReady');
  });

  test.each([
    ['space', { availableBytes: 14 * gib }],
    ['files', { freeInodes: 49 }],
  ])('has pressure of the disk where images lack %s', async (_what, more) => {
    await started(reporter());
    expect(condition('DiskPressure')).toMatch(/^False/);
    const imageDisk = { bytes: 100 * gib, availableBytes: 16 * gib, inodes: 1000, freeInodes: 51 };
    readings = { ...readings, imageDisk };
    await rig.clock.advance(10_500);
    expect(condition('DiskPressure')).toMatch(/^False/);
    readings = { ...readings, imageDisk: { ...imageDisk, ...more } };
    await rig.clock.advance(10_500);
    await until('it presses', () => condition('DiskPressure').startsWith('True'));
  });

  it('has a pressure for as long as it lasts, and five minutes more', async () => {
    await started(reporter());
    readings = { ...readings, memory: { total: 4 * gib, available: 1024 } };
    await rig.clock.advance(10_500);
    await until('it presses', () => condition('MemoryPressure').startsWith('True'));
    expect(condition('MemoryPressure')).toContain('KubeletHasInsufficientMemory');
    readings = { ...readings, memory: { total: 4 * gib, available: gib } };
    const asked = patches();
    await rig.clock.advance(200_000);
    expect(condition('MemoryPressure')).toContain('True');
    await rig.clock.advance(120_000);
    await until(
      'it is over',
      () => patches() > asked && condition('MemoryPressure').startsWith('False'),
    );
  });
});
