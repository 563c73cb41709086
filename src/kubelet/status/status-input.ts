import type { PodStatus } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import type { ForcedEnd, StartFailure } from '../ports/pod-status.ts';
import type { ProbeResults } from '../ports/probes.ts';
import type { RuntimePod } from '../runtime/runtime-pod.ts';

/** All that a pod's status is derived from. */
export interface StatusInput {
  readonly pod: Pod;
  readonly runtime: RuntimePod | undefined;
  readonly previous: PodStatus;
  readonly probes: ProbeResults;
  /** By container's name. */
  readonly failures: ReadonlyMap<string, StartFailure>;
  readonly forced?: ForcedEnd;
  readonly worker: 'syncing' | 'terminating' | 'terminated';
  /** Messages of containers that ended, by container's id. */
  readonly terminationMessages: ReadonlyMap<string, string>;
  readonly hostIPs: readonly string[];
  readonly nowMs: number;
}
