// What changed between two sets of pods of a source.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { mergePods } from '../../../../src/kubelet/sources/merge.ts';
import type { KnownPods, Merged } from '../../../../src/kubelet/sources/merge.ts';
import { bare } from '../support/pods.ts';

function merge(set: readonly Pod[], before?: KnownPods): Merged {
  return mergePods({ source: 'api', known: before, set, nowMs: 0 });
}

function ops({ changes }: Merged): readonly string[] {
  return changes.map(({ op, pods }) => [op, ...pods.map(({ metadata }) => metadata.uid)].join(' '));
}

const { known } = merge([bare('a'), bare('b')]);

test('a first set without pods says that the source has spoken', () => {
  expect(ops(merge([]))).toEqual(['ADD']);
  expect(ops(merge([], new Map()))).toEqual([]);
});

test('all at once come in order', () => {
  const before = merge(['a', 'b', 'c', 'd', 'e'].map((uid) => bare(uid))).known;
  const set = [
    bare('f'),
    bare('b', { status: { phase: 'Running' } }),
    bare('c', { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }),
    bare('d', { metadata: { labels: { a: '1' } } }),
    bare('e'),
  ];
  expect(ops(merge(set, before))).toEqual([
    'REMOVE a',
    'ADD f',
    'UPDATE d',
    'DELETE c',
    'RECONCILE b',
  ]);
});

function at(uid: string, day: number): Pod {
  return bare(uid, { metadata: { creationTimestamp: `2026-01-0${day}T00:00:00Z` } });
}

test('older pods are added first', () => {
  expect(ops(merge([at('a', 3), at('b', 1), at('c', 2)]))).toEqual(['ADD b c a']);
});

describe('a pod that is known', () => {
  test.for<readonly [string | undefined, Parameters<typeof bare>[1]]>([
    [undefined, {}],
    [undefined, { metadata: { resourceVersion: '9', ownerReferences: [{}], finalizers: ['x'] } }],
    [
      undefined,
      {
        metadata: {
          annotations: { 'kubernetes.io/config.mirror': 'x', 'kubernetes.io/config.seen': 'y' },
        },
      },
    ],
    ['UPDATE a', { metadata: { annotations: { 'kubernetes.io/config.hash': 'x' } } }],
    ['UPDATE a', { metadata: { annotations: { mine: 'x' } } }],
    ['UPDATE a', { metadata: { labels: { a: 'b' } } }],
    ['UPDATE a', { spec: { activeDeadlineSeconds: 5 } }],
    ['UPDATE a', { metadata: { deletionGracePeriodSeconds: 5 } }],
    ['DELETE a', { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }],
    ['RECONCILE a', { status: { phase: 'Failed' } }],
  ])('%s for %j', ([op, change]) => {
    expect(ops(merge([bare('a', change), bare('b')], known))).toEqual(op === undefined ? [] : [op]);
  });

  test('was first seen when it was', () => {
    const later = mergePods({
      source: 'api',
      known,
      set: [bare('a', { metadata: { labels: { a: 'b' } } })],
      nowMs: 5000,
    });
    expect(later.known.get('a')?.metadata.annotations).toEqual({
      'kubernetes.io/config.source': 'api',
      'kubernetes.io/config.seen': '1970-01-01T00:00:00.000000000Z',
    });
  });

  test('is another one with another UID', () => {
    const again = bare('c', { metadata: { name: 'pod-a' } });
    expect(ops(merge([again, bare('b')], known))).toEqual(['REMOVE a', 'ADD c']);
  });
});

test('of two pods of a name the first counts', () => {
  const twice = merge([bare('a'), bare('b', { metadata: { name: 'pod-a' } })]);
  expect(ops(twice)).toEqual(['ADD a']);
  expect(twice.duplicates.map(({ metadata }) => metadata.uid)).toEqual(['b']);
});

test('however sets follow each other, what was told makes up what is there', () => {
  const version = fc.record({
    uid: fc.constantFrom('a', 'b', 'c', 'd'),
    label: fc.constantFrom('1', '2'),
    phase: fc.constantFrom('Pending', 'Running'),
    deleted: fc.option(fc.constantFrom('2026-01-01T00:00:00Z'), { nil: undefined }),
    grace: fc.integer({ min: 0, max: 1 }),
  });
  const sets = fc.array(fc.uniqueArray(version, { selector: ({ uid }) => uid }), { maxLength: 6 });
  const order = ['REMOVE', 'ADD', 'UPDATE', 'DELETE', 'RECONCILE'];
  fc.assert(
    fc.property(sets, (all) => {
      let before: KnownPods | undefined;
      const told = new Map<string, Pod>();
      for (const each of all) {
        const set = each.map(({ uid, label, phase, deleted, grace }) =>
          bare(uid, {
            metadata: {
              labels: { label },
              deletionGracePeriodSeconds: grace,
              ...(deleted && { deletionTimestamp: deleted }),
            },
            status: { phase },
          }),
        );
        const merged = merge(set, before);
        const names = merged.changes.map(({ op }) => order.indexOf(op));
        expect(names).toEqual(names.toSorted((one, other) => one - other));
        for (const { op, pods } of merged.changes) {
          for (const one of pods) {
            expect(told.has(one.metadata.uid)).toBe(op !== 'ADD');
            if (op === 'REMOVE') told.delete(one.metadata.uid);
            else told.set(one.metadata.uid, one);
          }
        }
        expect(new Set(told.keys())).toEqual(new Set(set.map(({ metadata }) => metadata.uid)));
        for (const one of set) {
          const last = told.get(one.metadata.uid);
          expect(last?.spec).toEqual(one.spec);
          expect(last?.status).toEqual(one.status);
          expect(last?.metadata.labels).toEqual(one.metadata.labels);
        }
        expect(merge(set, merged.known).changes).toEqual([]);
        before = merged.known;
      }
    }),
  );
});
