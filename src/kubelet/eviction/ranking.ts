import type { Pod } from '../pod/pod.ts';
import { wholeUnits } from '../pod/quantity.ts';
import { podRequests } from '../pod/resources.ts';
import type { PodUsage } from '../ports/pod-usage.ts';
import type { Resource } from '../node/observations.ts';
import { podAmount } from './pod-amounts.ts';
import type { StorageParts } from './pod-amounts.ts';

/** A pod that may be evicted for want of something, with what it uses of that. */
export interface Candidate {
  readonly pod: Pod;
  readonly usage: PodUsage;
  readonly used: number;
  readonly requested: number;
}

/**
 * In which order pods go (Kubernetes: Node-pressure Eviction): those above what they asked for before the others, then by priority, then by
 * how much they are above; of processes nobody asks for a number, there priority and use alone count. What is not known to use anything is
 * not among them: ending it would help nobody.
 */
export function ranked(
  pods: readonly Pod[],
  usages: ReadonlyMap<string, PodUsage>,
  resource: Resource,
  parts: StorageParts,
): readonly Candidate[] {
  const candidates = pods.flatMap((pod): readonly Candidate[] => {
    const usage = usages.get(pod.metadata.uid);
    const used = usage && podAmount(usage, resource, parts);
    if (usage === undefined || used === undefined) return [];
    return [{ pod, usage, used, requested: requestOf(pod, resource) }];
  });
  const asked = resource !== 'pids';
  return candidates.toSorted(
    (a, b) =>
      (asked ? Number(isAbove(b)) - Number(isAbove(a)) : 0) ||
      priorityOf(a) - priorityOf(b) ||
      b.used - b.requested - (a.used - a.requested) ||
      (a.pod.metadata.uid < b.pod.metadata.uid ? -1 : 1),
  );
}

function requestOf(pod: Pod, resource: Resource): number {
  if (resource !== 'memory' && resource !== 'ephemeral-storage') return 0;
  return Number(wholeUnits(podRequests(pod).get(resource) ?? 0n));
}

function isAbove({ used, requested }: Candidate): boolean {
  return used > requested;
}

function priorityOf({ pod }: Candidate): number {
  return pod.spec.priority ?? 0;
}
