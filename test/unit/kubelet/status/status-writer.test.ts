// How statuses get to the API server, and the objects of pods that have ended away from it, whatever goes wrong.
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { runProgram } from '../../../../src/host/run-program.ts';
import { loadApiClient } from '../../../../src/informer/api-client.ts';
import type { ApiClient } from '../../../../src/informer/api-client.ts';
import { ObjectApi } from '../../../../src/kubelet/api/object-api.ts';
import type {
  ContainerStatus,
  PodStatus,
  PodCondition,
} from '../../../../src/kubelet/pod/pod-status.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { StatusWriter } from '../../../../src/kubelet/status/status-writer.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { startFakeApiServer } from '../../../support/fake-api-server.ts';
import type { FakeApiServer, RawObject } from '../../../support/fake-api-server.ts';
import { settle, VirtualClock } from '../../proxy/virtual-clock.ts';
import { pod } from '../runtime/made-pods.ts';

let server: FakeApiServer;
let client: ApiClient;
let clock: VirtualClock;
let writer: StatusWriter;
let errors: string[];
let stop: AbortController;
let running: Promise<void>;
let mirrors: Map<string, Pod>;
let unlisted: Set<string>;
let continued: string[];
let warnings: string[];
let counted: string[];
const path = '/api/v1/namespaces/default/pods/web';

beforeEach(async () => {
  server = await startFakeApiServer();
  clock = new VirtualClock();
  errors = [];
  mirrors = new Map();
  unlisted = new Set();
  continued = [];
  warnings = [];
  counted = [];
  stop = new AbortController();
  const log = {
    ...silentLog,
    error: (_fields: object, text: string) => void errors.push(text),
    warn: (_fields: object, text: string) => void warnings.push(text),
  };
  const loaded = await loadApiClient({ master: server.url, log, clock, env: {}, runProgram });
  client = loaded;
  writer = new StatusWriter({
    api: new ObjectApi(loaded, clock, { apiVersion: 'v1', resource: 'pods' }),
    mirror: ({ metadata }) => mirrors.get(metadata.uid),
    isListed: ({ metadata }) => !unlisted.has(metadata.uid),
    onContinued: (uid) => void continued.push(uid),
    clock,
    log,
    random: () => 0.5,
    meter: {
      statusWritten: () => {},
      containerEnded: (type, exitCode) => void counted.push(`${type} ${exitCode}`),
    },
  });
  running = writer.run(stop.signal);
});

afterEach(async () => {
  stop.abort();
  await running;
  await client.close();
  await server.close();
});

/** Real sockets answer while time stands still. */
async function until(condition: () => boolean): Promise<void> {
  const endMs = Date.now() + 5000;
  while (!condition()) {
    if (Date.now() > endMs) throw new Error(`waited 5 s until ${condition.toString()}`);
    await settle();
  }
}

/** Moves time on in small steps until the writer has nothing to do. */
async function settled(): Promise<void> {
  await until(() => writer.isSettled);
}

function stored(): RawObject | undefined {
  return server.object(path);
}

function storedStatus(): PodStatus | undefined {
  return stored()?.['status'] as PodStatus | undefined;
}

function inApi(
  of: Pod = pod(),
  status: object = { phase: 'Pending', qosClass: 'BestEffort' },
): Pod {
  const { spec, metadata } = of;
  server.put('/api/v1/pods', { metadata: { ...metadata }, spec, status });
  return of;
}

function writes(method = 'PATCH'): readonly { readonly body: unknown }[] {
  return server.requests.filter((request) => request.method === method);
}

const containerStatus: ContainerStatus = {
  name: 'app',
  image: 'busybox:1',
  imageID: '',
  containerID: 'containerd://app-0',
  ready: true,
  restartCount: 0,
  state: { running: { startedAt: '2026-01-01T00:00:00Z' } },
  lastState: {},
};
const runs: PodStatus = {
  phase: 'Running',
  conditions: [
    {
      type: 'Ready',
      status: 'True',
      lastProbeTime: null,
      lastTransitionTime: '2026-01-01T00:00:00Z',
    },
  ],
  podIP: '10.0.0.2',
  podIPs: [{ ip: '10.0.0.2' }],
  containerStatuses: [containerStatus],
};
const ends: PodStatus = {
  ...runs,
  phase: 'Failed',
  containerStatuses: [{ ...containerStatus, ready: false, state: { terminated: { exitCode: 1 } } }],
};
const target = (reason: string): PodCondition => ({
  type: 'DisruptionTarget',
  status: 'True',
  reason,
  lastProbeTime: null,
  lastTransitionTime: '2026-01-01T00:00:00Z',
});

function staticPod(hash = 'h1'): Pod {
  const annotations = {
    'kubernetes.io/config.source': 'file',
    'kubernetes.io/config.hash': hash,
  };
  return pod({}, { uid: 'static', annotations });
}

function mirrorOf(of: Pod, status: PodStatus = {}): Pod {
  const hash = of.metadata.annotations['kubernetes.io/config.hash'] ?? '';
  const annotations = { 'kubernetes.io/config.mirror': hash };
  return { ...pod({}, { uid: 'mirror', annotations }), status };
}

const leaving = { deletionTimestamp: '2026-01-01T00:00:30Z', deletionGracePeriodSeconds: 30 };

function saying(state: object): PodStatus {
  return { containerStatuses: [{ name: 'app', restartCount: 0, lastState: {}, state }] } as never;
}

test('each end of a container is counted once', () => {
  const terminated = { exitCode: 3, containerID: 'containerd://one' };
  const of = pod();
  writer.set(of, saying({ running: {} }));
  expect(counted).toEqual([]);
  writer.set(of, saying({ terminated }));
  writer.set(of, saying({ terminated }));
  writer.terminated(of, saying({ terminated }));
  expect(counted).toEqual(['container 3']);
});

describe('a status', () => {
  it('is merged into the object, with its UID', async () => {
    writer.set(inApi(), runs);
    await settled();
    expect(storedStatus()).toMatchObject(runs);
    expect(writes()).toHaveLength(1);
    expect(writes()[0]).toMatchObject({
      path: `${path}/status`,
      body: { metadata: { uid: 'u1' }, status: { phase: 'Running' } },
    });
  });

  it('leaves alone what others write, and what the API set once', async () => {
    const paid = { type: 'shop/Paid', status: 'True' };
    const status = {
      phase: 'Pending',
      qosClass: 'Burstable',
      nominatedNodeName: 'n2',
      conditions: [paid],
    };
    writer.set(inApi(pod(), status), { ...runs, qosClass: 'BestEffort' });
    await settled();
    expect(storedStatus()).toMatchObject({ qosClass: 'Burstable', nominatedNodeName: 'n2' });
    expect(storedStatus()?.conditions).toEqual([paid, ...(runs.conditions ?? [])]);
  });

  it('says for whose sake a pod was ended, and leaves that to others who have said it first', async () => {
    const of = inApi();
    writer.set(of, { ...runs, conditions: [target('EvictionByEvictionAPI')] });
    await settled();
    expect(storedStatus()?.conditions).toBeUndefined();
    writer.set(of, { ...runs, conditions: [target('TerminationByKubelet')] });
    await settled();
    expect(storedStatus()?.conditions).toMatchObject([target('TerminationByKubelet')]);
  });

  it('that the API has already is not written', async () => {
    writer.set(inApi(pod(), { ...runs, conditions: runs.conditions }), runs);
    await settled();
    expect(server.requests.map(({ method }) => method)).toEqual(['GET']);
    writer.set(pod(), { ...runs });
    await settled();
    expect(server.requests).toHaveLength(1);
  });

  it('replaces addresses and takes words back', async () => {
    const odd = { phase: 'Pending', reason: 'Odd', message: 'odd', podIPs: [{ ip: '10.0.0.9' }] };
    writer.set(inApi(pod(), odd), runs);
    await settled();
    expect(storedStatus()?.podIPs).toEqual([{ ip: '10.0.0.2' }]);
    expect(storedStatus()).not.toHaveProperty('reason');
  });

  it('is written once the API has it, and each pod by itself', async () => {
    const of = inApi();
    await server.down();
    writer.set(of, runs);
    await clock.advance(5000);
    expect(writer.isWritten('u1')).toBe(false);
    expect(writer.isWritten('another')).toBe(true);
    await server.up();
    await clock.advance(10_000);
    await settled();
    expect(writer.isWritten('u1')).toBe(true);
    writer.terminated(of, ends);
    expect(writer.isWritten('u1')).toBe(false);
  });

  it('goes to no other pod of the same name, and to none that is gone', async () => {
    inApi(pod({}, { uid: 'u2' }));
    writer.set(pod(), runs);
    writer.set(pod({}, { uid: 'u3', name: 'gone' }), runs);
    await settled();
    expect(storedStatus()?.phase).toBe('Pending');
    expect(writes()).toEqual([]);
  });

  it('of a static pod goes to its mirror, once there is one', async () => {
    const ours = staticPod();
    inApi(pod({}, { uid: 'mirror' }));
    writer.set(ours, runs);
    await clock.advance(0);
    expect(writes()).toEqual([]);
    mirrors.set('static', mirrorOf(ours));
    await clock.advance(200);
    await settled();
    expect(writes()[0]).toMatchObject({ body: { metadata: { uid: 'mirror' } } });
  });
});

describe('who has waited longest is written first', () => {
  const [old, young, ...others] = ['old', 'young', 'other-1', 'other-2', 'other-3'].map((name) =>
    pod({}, { name, uid: `uid-${name}` }),
  );
  const all = Promise.withResolvers<void>();
  const one = Promise.withResolvers<void>();

  it('whichever was known first, and although it has changed while it was written', async () => {
    if (old === undefined || young === undefined) throw new Error('no pods');
    for (const each of [old, young, ...others]) inApi(each);
    // all lanes but one have their hands full
    for (const each of others) {
      server.inject({ on: 'get', type: 'hold', until: all.promise });
      writer.set(each, runs);
    }
    await until(() => server.requests.length === others.length);
    server.inject({ on: 'get', type: 'hold', until: one.promise });
    writer.set(old, { ...runs, podIP: '10.0.0.1' });
    await until(() => server.requests.length === others.length + 1);
    await clock.advance(100);
    writer.set(young, runs);
    await clock.advance(100);
    writer.set(old, runs);
    one.resolve();
    await until(() => writes().length === 3);
    const order = server.requests.filter(({ method }) => method === 'PATCH');
    expect(order.map((request) => request.path.split('/').at(-2))).toEqual(['old', 'young', 'old']);
    all.resolve();
    await settled();
  });
});

describe('nothing is lost', () => {
  test.each([
    ['an answer 500', { type: 'status', status: 500 }],
    ['an answer 403', { type: 'status', status: 403 }],
    ['an answer 401', { type: 'status', status: 401 }],
    ['an answer 409', { type: 'status', status: 409 }],
    ['a cut connection', { type: 'reset' }],
    ['garbage', { type: 'garbage' }],
  ] as const)('by %s, to either request', async (_what, fault) => {
    inApi();
    server.inject({ on: 'get', ...fault });
    server.inject({ on: 'patch', ...fault });
    writer.set(pod(), runs);
    for (const requests of [1, 3]) {
      await until(() => server.requests.length === requests);
      await settle();
      await clock.advance(400);
    }
    await settled();
    expect(storedStatus()?.phase).toBe('Running');
  });

  it('by an API server that is away for minutes', async () => {
    inApi();
    await server.down();
    writer.set(pod(), { ...runs, phase: 'Pending' });
    for (let seconds = 0; seconds < 180; seconds += 5) await clock.advance(5000);
    writer.set(pod(), runs);
    await clock.advance(5000);
    expect(writer.isSettled).toBe(false);
    await server.up();
    await clock.advance(10_000);
    await settled();
    expect(storedStatus()?.phase).toBe('Running');
  });

  it('by an answer that never comes', async () => {
    inApi();
    server.inject({ on: 'patch', type: 'freeze' });
    writer.set(pod(), runs);
    await until(() => server.requests.length === 2);
    await clock.advance(10_000);
    await clock.advance(1000);
    await settled();
    expect(storedStatus()?.phase).toBe('Running');
  });

  it('by a change while the one before it is written', async () => {
    inApi();
    const held = Promise.withResolvers<void>();
    server.inject({ on: 'patch', type: 'hold', until: held.promise });
    writer.set(pod(), { ...runs, podIP: '10.0.0.1' });
    await until(() => server.requests.length === 2);
    writer.set(pod(), runs);
    held.resolve();
    await settled();
    expect(storedStatus()?.podIP).toBe('10.0.0.2');
  });

  it('by others who overwrite it: it is there again within ten seconds', async () => {
    writer.set(inApi(), runs);
    await settled();
    const broken = { ...runs, phase: 'Pending' as const, podIP: '10.9.9.9' };
    inApi(pod(), broken);
    writer.seen({ ...pod(), status: broken });
    await clock.advance(10_000);
    await settled();
    expect(storedStatus()).toMatchObject({ phase: 'Running', podIP: '10.0.0.2' });
    const requests = server.requests.length;
    await clock.advance(60_000);
    expect(server.requests).toHaveLength(requests);
    writer.seen({ ...pod(), status: { ...runs, reason: '' } });
    await clock.advance(60_000);
    expect(server.requests).toHaveLength(requests);
  });
});

describe('a static pod that ran before this process', () => {
  const before: PodStatus = {
    ...runs,
    startTime: '2025-12-31T00:00:00Z',
    containerStatuses: [
      { ...containerStatus, restartCount: 3, lastState: { terminated: { exitCode: 7 } } },
    ],
  };
  const first: PodStatus = {
    phase: 'Running',
    startTime: '2026-01-01T00:00:00Z',
    conditions: [
      {
        type: 'Ready',
        status: 'False',
        lastProbeTime: null,
        lastTransitionTime: '2026-01-01T00:00:00Z',
      },
    ],
    containerStatuses: [{ ...containerStatus, restartCount: 3, ready: false }],
  };

  it('goes on from the status of its mirror', () => {
    const ours = staticPod();
    mirrors.set('static', mirrorOf(ours, before));
    expect(writer.current(ours)).toEqual(before);
    writer.set(ours, first);
    writer.seen({ ...ours, status: before });
    expect(writer.current(ours)).toEqual(first);
    expect(continued).toEqual([]);
  });

  it('begins anew where a shutdown of the machine has ended it', () => {
    const ours = staticPod();
    const ended = { phase: 'Failed', reason: 'Terminated', message: 'shutdown' } as const;
    mirrors.set('static', mirrorOf(ours, ended));
    expect(writer.current(ours)).toEqual(ours.status);
    writer.set(ours, first);
    writer.seen({ ...ours, status: ended });
    expect(writer.current(ours)).toEqual(first);
  });

  it('wants another mirror once it has begun anew after a shutdown, and not before', () => {
    const ours = staticPod();
    const ended = { phase: 'Failed', reason: 'Terminated', message: 'shutdown' } as const;
    mirrors.set('static', mirrorOf(ours, ended));
    expect(writer.isMirrorOver(ours)).toBe(false);
    writer.set(ours, ended);
    expect(writer.isMirrorOver(ours)).toBe(false);
    writer.beginsAnew(ours);
    writer.set(ours, first);
    expect(writer.isMirrorOver(ours)).toBe(true);
    mirrors.set('static', mirrorOf(ours, { ...ended, reason: 'DeadlineExceeded' }));
    expect(writer.isMirrorOver(ours)).toBe(false);
    mirrors.set('static', mirrorOf(ours));
    expect(writer.isMirrorOver(ours)).toBe(false);
  });

  it('goes on from it also where the mirror is heard of later, once', () => {
    const ours = staticPod();
    writer.set(ours, first);
    mirrors.set('static', mirrorOf(ours, before));
    writer.seen({ ...ours, status: before });
    expect(writer.current(ours)).toMatchObject({
      startTime: '2025-12-31T00:00:00Z',
      conditions: before.conditions,
      containerStatuses: [
        { ready: true, restartCount: 3, lastState: { terminated: { exitCode: 7 } } },
      ],
    });
    expect(continued).toEqual(['static']);
    writer.set(ours, first);
    writer.seen({ ...ours, status: before });
    expect(writer.current(ours)).toEqual(first);
    expect(continued).toEqual(['static']);
  });

  it('does not go on from the status of another container, nor from a mirror of another version', () => {
    const ours = staticPod();
    writer.set(ours, first);
    const other = { ...containerStatus, containerID: 'containerd://app-9', restartCount: 9 };
    const old = { ...before, containerStatuses: [other] };
    mirrors.set('static', mirrorOf(staticPod('h0'), old));
    writer.seen({ ...ours, status: old });
    expect(writer.current(ours)).toEqual(first);
    mirrors.set('static', mirrorOf(ours, old));
    writer.seen({ ...ours, status: old });
    expect(writer.current(ours).containerStatuses).toEqual(first.containerStatuses);
  });

  it('that has ended here has ended', () => {
    const ours = staticPod();
    writer.set(ours, ends);
    mirrors.set('static', mirrorOf(ours, before));
    writer.seen({ ...ours, status: before });
    expect(writer.current(ours)).toEqual(ends);
    expect(continued).toEqual([]);
  });
});

describe('a pod that has gone, of which the API server says 403', () => {
  it('is left alone, and nobody is warned', async () => {
    server.inject({ on: 'get', type: 'status', status: 403 });
    unlisted.add('u1');
    writer.set(pod(), runs);
    await settled();
    await clock.advance(60_000);
    expect(server.requests).toHaveLength(1);
    expect(warnings).toEqual([]);
  });

  it('may be in the source for a moment longer', async () => {
    server.inject({ on: 'get', type: 'status', status: 403, times: 99 });
    writer.set(pod(), runs);
    for (const requests of [1, 2]) {
      await until(() => server.requests.length === requests);
      await settle();
      await clock.advance(400 * requests);
    }
    unlisted.add('u1');
    await clock.advance(2000);
    await settled();
    expect(warnings).toEqual([]);
  });

  it('and which is there is told of after some tries', async () => {
    inApi();
    server.inject({ on: 'get', type: 'status', status: 403, times: 8 });
    writer.set(pod(), runs);
    for (let requests = 1; requests <= 8; requests += 1) {
      await until(() => server.requests.length >= requests);
      await settle();
      await clock.advance(10_000);
    }
    await settled();
    expect(warnings).toEqual([expect.stringContaining('is not written yet')]);
    expect(storedStatus()?.phase).toBe('Running');
  });
});

describe('what cannot be is not told', () => {
  const never = pod({ restartPolicy: 'Never' });

  it('a container that has ended for good waits or runs again', async () => {
    inApi(never);
    writer.set(never, ends);
    writer.set(never, runs);
    await settled();
    expect(errors).toEqual([expect.stringContaining('has ended for good (exit code 1)')]);
    expect(writer.current(never)).toEqual(ends);
    const again = { ...containerStatus, containerID: 'containerd://app-1', restartCount: 1 };
    writer.set(never, { ...runs, containerStatuses: [again] });
    expect(errors).toHaveLength(1);
  });

  it('the last phase while something runs', async () => {
    inApi(never, { phase: 'Running' });
    writer.set(never, { ...runs, phase: 'Failed', reason: 'DeadlineExceeded' });
    await settled();
    expect(storedStatus()).toMatchObject({ phase: 'Running', podIP: '10.0.0.2' });
    expect(storedStatus()).not.toHaveProperty('reason');
    writer.terminated(never, { ...ends, reason: 'DeadlineExceeded' });
    await settled();
    expect(storedStatus()).toMatchObject({ phase: 'Failed', reason: 'DeadlineExceeded' });
  });

  it('another phase after the last one', async () => {
    inApi(pod(), { phase: 'Failed', reason: 'Evicted' });
    writer.set(pod(), runs);
    await settled();
    expect(storedStatus()).toMatchObject({ phase: 'Failed', reason: 'Evicted' });
  });
});

describe('a pod that has ended', () => {
  it('is deleted when it is to go, by its UID, after its last status', async () => {
    const going = inApi(pod({}, leaving), runs);
    writer.set(going, ends);
    await settled();
    expect(writes('DELETE')).toEqual([]);
    writer.terminated(going, ends);
    await until(() => stored() === undefined);
    expect(writes('DELETE')[0]).toMatchObject({
      path,
      body: { gracePeriodSeconds: 0, preconditions: { uid: 'u1' } },
    });
    const methods = server.requests.map(({ method }) => method);
    expect(methods.lastIndexOf('PATCH')).toBeLessThan(methods.indexOf('DELETE'));
  });

  it('has its last status first, though it has ended while the one before is written', async () => {
    const going = inApi(pod({}, leaving), runs);
    const held = Promise.withResolvers<void>();
    server.inject({ on: 'patch', type: 'hold', until: held.promise });
    writer.set(going, ends);
    await until(() => writes().length === 1);
    writer.terminated(going, { ...ends, message: 'all is over' });
    held.resolve();
    await until(() => stored() === undefined);
    await settled();
    const last = server.requests.map(({ method, body }) => [method, body]).slice(-3);
    expect(last).toMatchObject([
      ['GET', undefined],
      ['PATCH', { status: { message: 'all is over' } }],
      ['DELETE', { preconditions: { uid: 'u1' } }],
    ]);
  });

  it('stays where nobody deletes it, and goes when somebody does later', async () => {
    const done = inApi(pod(), runs);
    writer.terminated(done, ends);
    await settled();
    expect(storedStatus()?.phase).toBe('Failed');
    const going = inApi(pod({}, leaving), storedStatus());
    writer.seen({ ...going, status: ends });
    await until(() => stored() === undefined);
  });

  it('is deleted in the end, whatever the answers are', async () => {
    const going = inApi(pod({}, leaving), runs);
    server.inject({ on: 'delete', type: 'status', status: 500 });
    writer.terminated(going, ends);
    await until(() => writes('DELETE').length === 1);
    expect(stored()).toBeDefined();
    await settle();
    await clock.advance(400);
    await until(() => stored() === undefined);
  });

  it('is not asked to go twice where a finalizer holds it', async () => {
    const going = inApi(pod({}, leaving), runs);
    writer.terminated(going, ends);
    await until(() => stored() === undefined);
    await settled();
    writer.seen(inApi(going, ends));
    await clock.advance(60_000);
    expect(writes('DELETE')).toHaveLength(1);
  });

  it('of a file has a mirror that is not this writer’s to delete', async () => {
    const ours = staticPod();
    inApi(pod({}, { ...leaving, uid: 'mirror' }), runs);
    mirrors.set('static', mirrorOf(ours));
    writer.terminated(ours, ends);
    await settled();
    expect(storedStatus()?.phase).toBe('Failed');
    expect(writes('DELETE')).toEqual([]);
  });

  it('of which nothing is known any more has failed, as far as it had begun', async () => {
    const going = inApi(pod({}, leaving), { phase: 'Running' });
    writer.terminated(going, runs);
    expect(writer.current(going)).toMatchObject({
      phase: 'Failed',
      conditions: [{ type: 'Ready', status: 'False', reason: 'PodFailed' }],
      containerStatuses: [
        {
          ready: false,
          state: { terminated: { exitCode: 137, reason: 'ContainerStatusUnknown' } },
        },
      ],
    });
    const waits = { ...containerStatus, ready: false, state: { waiting: {} } };
    const init = { ...waits, name: 'i1' };
    const early = pod({}, { uid: 'u9' });
    writer.terminated(early, {
      phase: 'Pending',
      initContainerStatuses: [init],
      containerStatuses: [waits],
    });
    expect(writer.current(early)).toMatchObject({
      phase: 'Failed',
      initContainerStatuses: [{ state: { waiting: {} } }],
      containerStatuses: [{ state: { waiting: {} } }],
    });
  });
});
