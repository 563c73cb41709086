import type { PodStatus } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';

/** Where the status of pods is kept, and written to the API from. */
export interface StatusSink {
  /** The last status set, or what the API had when this process first saw the pod. */
  current(pod: Pod): PodStatus;
  set(pod: Pod, status: PodStatus): void;
  /** All containers have ended: the last status; the object may be deleted when it is written. */
  terminated(pod: Pod, status: PodStatus): void;
  forget(uid: string): void;
}

/** Why a container waits; kept by the pod's worker from one sync to the next, for the status. */
export interface StartFailure {
  readonly reason: string;
  readonly message: string;
}

/** Why a pod has to fail whatever its containers do: deadline, eviction, rejection, shutdown. */
export interface ForcedEnd {
  readonly reason: string;
  readonly message: string;
  /** It is ended for the sake of others: its status says so (condition DisruptionTarget). */
  readonly isDisruption?: boolean;
}
