import type { PodStatus } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';

/** What a probe is asked for (Kubernetes: Liveness, Readiness, and Startup Probes). */
export type ProbeType = 'liveness' | 'readiness' | 'startup';
/** What it says of a container, after as many answers alike as its thresholds ask for. */
export type ProbeResult = 'success' | 'failure';

/** What probes found of the container that runs now. */
export interface ProbeResults {
  /** undefined: no probe of this type, or it has said nothing of `containerId` (the runtime's, or the API's `containerd://…`) yet. */
  result(uid: string, containerId: string, type: ProbeType): ProbeResult | undefined;
}

/** Runs the probes of a pod's containers. */
export interface Probes extends ProbeResults {
  /** Starts what is missing; called in each sync, with the status just derived. */
  ensure(pod: Pod, status: PodStatus): void;
  /** A pod is being terminated: liveness and startup probes end, readiness goes on. */
  terminating(uid: string): void;
  remove(uid: string): void;
}
