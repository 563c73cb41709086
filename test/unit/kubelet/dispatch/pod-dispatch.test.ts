// What the sources say is handed on to the pods' workers.
import { beforeEach, describe, expect, test } from 'vitest';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { PodDispatch } from '../../../../src/kubelet/dispatch/pod-dispatch.ts';
import { PodTable } from '../../../../src/kubelet/dispatch/pod-table.ts';
import type { ChangeOp } from '../../../../src/kubelet/sources/merge.ts';
import type { WorkerState } from '../../../../src/kubelet/worker/pod-worker.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { settle } from '../../proxy/virtual-clock.ts';
import { bare } from '../support/pods.ts';

const states = new Map<string, WorkerState>();
/** What the runtime has of pods before they come. */
const up = new Set<string>();
const told: string[] = [];
/** Of each pod that was asked about: beside which others. */
const asked: string[] = [];
let refusing = '';
let refusal = 'OutOfpods';
/** The node was read anew. */
let refreshed = Promise.withResolvers<void>();
let ready = true;
let table = new PodTable();
let dispatch = newDispatch();

function newDispatch(): PodDispatch {
  return new PodDispatch({
    table,
    workers: {
      update: (of, kind) => {
        told.push(`${kind} ${of.metadata.uid}`);
        states.set(of.metadata.uid, { kind: 'syncing' });
      },
      reject: (of, { reason }) => void told.push(`reject ${of.metadata.uid} ${reason}`),
      remove: (uid) => void told.push(`remove ${uid}`),
      wake: (uid) => void told.push(`wake ${uid}`),
      state: (uid) => states.get(uid),
    },
    admit: (of, others) => {
      asked.push([of, ...others].map(({ metadata }) => metadata.uid).join(' beside '));
      return of.metadata.uid === refusing ? { reason: refusal, message: 'no' } : undefined;
    },
    isUp: (uid) => up.has(uid),
    refreshNode: async () => {
      told.push('node');
      return refreshed.promise;
    },
    events: { tell: (of, { reason }) => void told.push(`event ${of.metadata.uid} ${reason}`) },
    seen: (of) => void told.push(`seen ${of.metadata.uid} ${of.status.phase ?? ''}`.trim()),
    mirrorsChanged: () => void told.push('mirrors'),
    isReady: () => ready,
    meter: { rejected: (of) => void told.push(`metered ${of}`) },
    log: silentLog,
  });
}

beforeEach(() => {
  states.clear();
  up.clear();
  told.length = 0;
  asked.length = 0;
  refusing = '';
  refusal = 'OutOfpods';
  refreshed = Promise.withResolvers();
  ready = true;
  table = new PodTable();
  dispatch = newDispatch();
});

function after(op: ChangeOp, ...pods: readonly Pod[]): readonly string[] {
  told.length = 0;
  dispatch.apply({ op, source: 'api', pods });
  return told;
}

test('a pod that comes, changes and is to go', () => {
  expect(after('ADD', bare('a'))).toEqual(['create a', 'mirrors', 'seen a']);
  expect(after('UPDATE', bare('a'))).toEqual(['update a', 'seen a']);
  expect(after('DELETE', bare('a'))).toEqual(['update a', 'seen a']);
  expect(after('RECONCILE', bare('a', { status: { phase: 'Running' } }))).toEqual([
    'seen a Running',
  ]);
  expect(table.get('a')?.status.phase).toBe('Running');
  expect(after('REMOVE', bare('a'))).toEqual(['mirrors', 'remove a']);
  expect(table.all()).toEqual([]);
});

test('gates that others open wake its worker', () => {
  const gated = bare('a', { spec: { readinessGates: [{ conditionType: 'x' }] } });
  after('ADD', gated);
  expect(after('RECONCILE', gated)).toEqual(['update a', 'seen a']);
});

test('one that is not let in fails, with an Event', () => {
  after('ADD', bare('a'), bare('b', { status: { phase: 'Succeeded' } }));
  refusing = 'c';
  expect(after('ADD', bare('c'))).toEqual([
    'metered OutOfpods',
    'event c OutOfpods',
    'reject c OutOfpods',
    'mirrors',
    'seen c',
  ]);
});

describe('after a restart of the agent, one that is up', () => {
  beforeEach(() => {
    up.add('old');
    refusal = 'Evicted';
  });

  test('is not asked whether it fits', () => {
    refusing = 'old';
    expect(after('ADD', bare('old'))).toEqual(['create old', 'mirrors', 'seen old']);
    expect(asked).toEqual([]);
  });

  test('counts for those that come with it', () => {
    after('ADD', bare('new'), bare('old'));
    expect(asked).toEqual(['new beside old']);
  });
});

/** What follows when the node has been read anew. */
async function read(): Promise<readonly string[]> {
  told.length = 0;
  refreshed.resolve();
  await settle();
  return told;
}

describe('one that the node as it is known does not let in', () => {
  beforeEach(() => {
    refusing = 'a';
    refusal = 'NodeAffinity';
  });

  test('is let in by the node as it is now', async () => {
    expect(after('ADD', bare('a'))).toEqual(['node', 'mirrors', 'seen a']);
    expect(after('UPDATE', bare('a', { metadata: { labels: { x: 'y' } } }))).toEqual(['seen a']);
    refusing = '';
    expect(await read()).toEqual(['create a']);
    expect(after('UPDATE', bare('a'))).toEqual(['update a', 'seen a']);
  });

  test('fails where that does not either, and is not asked a third time', async () => {
    after('ADD', bare('a'));
    expect(await read()).toEqual([
      'metered NodeAffinity',
      'event a NodeAffinity',
      'reject a NodeAffinity',
    ]);
  });

  test('and that is to go meanwhile, or is gone, is not asked for', async () => {
    after('ADD', bare('a'));
    expect(after('REMOVE', bare('a'))).toEqual(['mirrors', 'remove a']);
    expect(await read()).toEqual([]);
    refreshed = Promise.withResolvers();
    after('ADD', bare('a'));
    after('DELETE', bare('a', { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }));
    expect(await read()).toEqual(['create a']);
  });
});

test.for<readonly [string, Parameters<typeof bare>[1], WorkerState | undefined]>([
  ['is to go already', { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }, undefined],
  ['has ended already', { status: { phase: 'Failed' } }, undefined],
  ['comes again while it ends', {}, { kind: 'terminating', graceSeconds: 1 }],
])('one that %s is not asked whether it fits', ([, change, state]) => {
  refusing = 'a';
  if (state !== undefined) states.set('a', state);
  expect(after('ADD', bare('a', change))[0]).toBe('create a');
});

test('nothing is removed before all sources have spoken', () => {
  after('ADD', bare('a'));
  ready = false;
  expect(after('REMOVE', bare('a'))).toEqual(['mirrors']);
});

test('a mirror is never run, and brings the status of its static pod', () => {
  const source = { 'kubernetes.io/config.source': 'file' };
  after('ADD', bare('s', { metadata: { annotations: source } }));
  const mirror = bare('m', {
    metadata: { name: 'pod-s', annotations: { 'kubernetes.io/config.mirror': 's' } },
    status: { phase: 'Running' },
  });
  expect(after('ADD', mirror)).toEqual(['seen s Running', 'mirrors']);
  expect(table.mirrorOf(bare('s', { metadata: { annotations: source } }))).toBe(mirror);
  expect(after('REMOVE', mirror)).toEqual(['mirrors']);
});
