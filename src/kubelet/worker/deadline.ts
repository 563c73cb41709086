import type { PodStatus } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';

/** What a pod that ran for too long is forced to (`PodSpec.activeDeadlineSeconds` of the API). */
export const deadlineExceeded = {
  reason: 'DeadlineExceeded',
  message: 'Pod was active on the node longer than the specified deadline',
} as const;

/** When a pod's time is over; undefined: it has no deadline, or has not begun. */
export function deadlineMs(
  { spec }: Pick<Pod, 'spec'>,
  { startTime }: PodStatus,
): number | undefined {
  if (spec.activeDeadlineSeconds === undefined || startTime === undefined) return undefined;
  const startMs = Date.parse(startTime);
  return Number.isNaN(startMs) ? undefined : startMs + spec.activeDeadlineSeconds * 1000;
}
