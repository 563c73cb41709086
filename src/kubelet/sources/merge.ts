import { isDeepStrictEqual } from 'node:util';
import type { Pod } from '../pod/pod.ts';
import { annotation, fullName, localAnnotations, seenText, stamped } from './sourced-pod.ts';
import type { PodSourceName } from './sourced-pod.ts';

/** `DELETE` is a deletion that was asked for; a pod that is gone from its source is a `REMOVE`. */
export type ChangeOp = 'ADD' | 'UPDATE' | 'DELETE' | 'REMOVE' | 'RECONCILE';

/** What happened to some pods of a source. An ADD of none only says that the source has spoken. */
export interface PodChange {
  readonly op: ChangeOp;
  readonly source: PodSourceName;
  readonly pods: readonly Pod[];
}

/** The pods of one source by UID, as they were last delivered. */
export type KnownPods = ReadonlyMap<string, Pod>;

export interface Merged {
  readonly known: KnownPods;
  /** In the order in which they are to be delivered; those of no pods are left out. */
  readonly changes: readonly PodChange[];
  /** Pods of a name that another one of the same set has: they are not run. */
  readonly duplicates: readonly Pod[];
}

export interface MergeInput {
  readonly source: PodSourceName;
  /** undefined: the source has not spoken yet. */
  readonly known: KnownPods | undefined;
  /** All pods that the source has now. */
  readonly set: readonly Pod[];
  readonly nowMs: number;
}

/** What changed between two sets of a source: a pod is the same one if its UID is. Pure. */
export function mergePods({ source, known, set, nowMs }: MergeInput): Merged {
  const { unique, duplicates } = uniqueByName(set);
  const next = new Map<string, Pod>();
  const found: Record<ChangeOp, Pod[]> = {
    REMOVE: [],
    ADD: [],
    UPDATE: [],
    DELETE: [],
    RECONCILE: [],
  };
  for (const pod of unique) {
    const { uid } = pod.metadata;
    const before = known?.get(uid);
    const seen = before?.metadata.annotations[annotation.seen] ?? seenText(nowMs);
    const now = stamped(pod, { [annotation.source]: source, [annotation.seen]: seen });
    next.set(uid, now);
    const op = before === undefined ? 'ADD' : changeOf(before, now);
    if (op !== undefined) found[op].push(now);
  }
  for (const [uid, pod] of known ?? []) if (!next.has(uid)) found.REMOVE.push(pod);
  found.ADD = found.ADD.toSorted(byAge);
  const speaks =
    known === undefined &&
    ['ADD', 'UPDATE', 'DELETE'].every((op) => found[op as ChangeOp].length === 0);
  const changes = (Object.keys(found) as ChangeOp[])
    .map((op): PodChange => ({ op, source, pods: found[op] }))
    .filter(({ op, pods }) => pods.length > 0 || (op === 'ADD' && speaks));
  return { known: next, changes, duplicates };
}

/** undefined: nothing that matters here. Owners, finalizers and versions alone do not. */
function changeOf(before: Pod, now: Pod): ChangeOp | undefined {
  if (!isDeepStrictEqual(meant(before), meant(now))) {
    return now.metadata.deletionTimestamp === undefined ? 'UPDATE' : 'DELETE';
  }
  return isDeepStrictEqual(before.status, now.status) ? undefined : 'RECONCILE';
}

function meant({ metadata, spec }: Pod): readonly unknown[] {
  const annotations = Object.entries(metadata.annotations).filter(
    ([key]) => !localAnnotations.has(key),
  );
  return [
    spec,
    metadata.labels,
    metadata.deletionTimestamp,
    metadata.deletionGracePeriodSeconds,
    Object.fromEntries(annotations),
  ];
}

function uniqueByName(set: readonly Pod[]): {
  readonly unique: readonly Pod[];
  readonly duplicates: readonly Pod[];
} {
  const names = new Set<string>();
  const unique: Pod[] = [];
  const duplicates: Pod[] = [];
  for (const pod of set) {
    const name = fullName(pod);
    (names.has(name) ? duplicates : unique).push(pod);
    names.add(name);
  }
  return { unique, duplicates };
}

/** Oldest first; those without a date before all others. */
function byAge(one: Pod, other: Pod): number {
  return dateOf(one) - dateOf(other);
}

function dateOf({ metadata }: Pod): number {
  const date = Date.parse(metadata.creationTimestamp ?? '');
  return Number.isNaN(date) ? 0 : date;
}
