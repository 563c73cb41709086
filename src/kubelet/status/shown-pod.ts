import type { PodStatus } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import { ownFields } from './status-patch.ts';

/** A pod as it is shown to those who ask this node: with the status that counts now, and what of it others have written. */
export function shownPod(pod: Pod, own: PodStatus): Pod {
  const foreign = Object.entries(pod.status).filter(([name]) => !ownFields.has(name));
  return { ...pod, status: { ...Object.fromEntries(foreign), ...own } };
}
