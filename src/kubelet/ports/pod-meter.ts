/** What kind of container it is, as metrics say it. */
export type MeteredContainer = 'container' | 'init_container' | 'ephemeral_container';

/** Counts and times what becomes of pods; all durations in seconds. Neither waits nor throws. */
export interface PodMeter {
  /** Since the pod was seen first. */
  podRunning(seconds: number): void;
  workerStarted(seconds: number): void;
  worked(operation: 'sync' | 'kill', seconds: number): void;
  /** Since the status changed. */
  statusWritten(seconds: number): void;
  /** `sinceLast`: from the begin of the list before; undefined: it is the first. */
  listed(seconds: number, sinceLast: number | undefined): void;
  containerStarting(type: MeteredContainer): void;
  containerFailed(type: MeteredContainer, reason: string): void;
  containerEnded(type: MeteredContainer, exitCode: number): void;
  pulled(seconds: number, bytes: number): void;
  rejected(reason: string): void;
  /** No source has a pod of the runtime. */
  orphaned(): void;
  restarted(isStatic: boolean): void;
  /** One of a pod or of a class of pods. */
  cgroupChanged(operation: CgroupOperation, seconds: number): void;
}

/** What was done to a cgroup, as metrics say it. */
export type CgroupOperation = 'create' | 'update' | 'destroy';
