import type { ShutdownGroup } from '../../config/eviction-config.ts';
import type { Pod } from '../pod/pod.ts';

/** Pods that end together, within so many seconds. */
export interface LeavingPods {
  readonly seconds: number;
  readonly pods: readonly Pod[];
}

/** In the order in which they end: each pod is of the group with the highest priority that its own reaches, or of the lowest one (KEP-2712). */
export function leavingPods(
  groups: readonly ShutdownGroup[],
  pods: readonly Pod[],
): readonly LeavingPods[] {
  const of = (pod: Pod): ShutdownGroup | undefined =>
    groups.findLast(({ priority }) => priority <= (pod.spec.priority ?? 0)) ?? groups[0];
  return groups.map((group) => ({
    seconds: group.seconds,
    pods: pods.filter((pod) => of(pod) === group),
  }));
}
