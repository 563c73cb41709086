import type { DiskUse } from '../host/disk-use.ts';
import type { Container, Pod, PodStatus } from './pod/pod.ts';
import type { RuntimePod } from './runtime/runtime-pod.ts';

/** An Event about a pod or one of its containers; neither waits nor throws. */
export interface PodEvent {
  readonly type: 'Normal' | 'Warning';
  /** `Started`, `BackOff`, `FailedMount` … as upstream's kubelet has them. */
  readonly reason: string;
  readonly message: string;
  /** Its name, for Events about a container. */
  readonly container?: string;
}

export interface PodEvents {
  tell(pod: Pick<Pod, 'metadata' | 'spec'>, event: PodEvent): void;
}

export type ProbeType = 'liveness' | 'readiness' | 'startup';
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

/** A volume that is ready to be mounted into containers. */
export interface MountedVolume {
  readonly hostPath: string;
  /** configMap, secret, projected, downwardAPI, a claim that says so: mounted read-only whatever the mount says. */
  readonly readOnly: boolean;
  /** There already, and labelled for SELinux: all but hostPath. */
  readonly managed: boolean;
}

export interface Volumes {
  /**
   * Sets up all volumes that the pod's containers use, or brings them up to date; may be called in each sync. Throws where one cannot be
   * mounted, after an Event for it (`FailedMount`).
   */
  setUp(pod: Pod, signal: AbortSignal): Promise<ReadonlyMap<string, MountedVolume>>;
  /** The path to bind for a `subPath`, made where it is absent; holds against a container that swaps links meanwhile. */
  subPath(
    pod: Pod,
    volume: string,
    mounted: MountedVolume,
    container: string,
    index: number,
    subPath: string,
  ): Promise<string>;
  /** Unmounts and removes all of a pod that has ended. */
  tearDown(uid: string): Promise<void>;
  /** Pods with a directory on the disk. */
  known(): Promise<readonly string[]>;
}

/** One variable of a container. */
export interface EnvValue {
  readonly name: string;
  readonly value: string;
}

/** What of a pod is only known once its sandbox is there. */
export interface PodAddresses {
  readonly podIPs: readonly string[];
  readonly hostIPs: readonly string[];
}

export interface Environment {
  /** Throws with the reason of a `CreateContainerConfigError`. */
  build(
    pod: Pod,
    container: Container,
    addresses: PodAddresses,
    signal: AbortSignal,
  ): Promise<readonly EnvValue[]>;
}

/** ConfigMaps and Secrets that pods of this node refer to, watched one by one while a pod does. */
export interface ReferencedObjects {
  /** undefined: there is none. Throws where nothing is known yet. */
  configMap(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<ConfigMapData | undefined>;
  secret(namespace: string, name: string, signal: AbortSignal): Promise<SecretData | undefined>;
  /** From now on what this pod refers to is watched; again with each new version of the pod. */
  register(pod: Pod): void;
  unregister(uid: string): void;
}

export interface ConfigMapData {
  readonly data: Readonly<Record<string, string>>;
  readonly binaryData: Readonly<Record<string, Uint8Array>>;
  readonly immutable: boolean;
}

export interface SecretData {
  readonly type: string;
  readonly data: Readonly<Record<string, Uint8Array>>;
  readonly immutable: boolean;
}

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
}

/** Where the status of pods is kept, and written to the API from. */
export interface StatusSink {
  /** The last status set, or what the API had when this process first saw the pod. */
  current(pod: Pod): PodStatus;
  set(pod: Pod, status: PodStatus): void;
  /** All containers have ended: the last status (spec 2.3); the object may be deleted when it is written. */
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

/** All that a pod's status is derived from (spec 6). */
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

/** What a pod of the runtime uses now; undefined: not known. */
export interface PodUsage {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** Without what the kernel can take back at once. */
  readonly memoryBytes: number | undefined;
  readonly processes: number | undefined;
  /** Of containers that run, by name. */
  readonly containers: ReadonlyMap<string, ContainerDisk>;
  /** Volumes whose files lie in the kubelet's own folder, by name. */
  readonly volumes: ReadonlyMap<string, VolumeUse>;
  /** Ephemeral storage: all of the containers' layers and logs, and volumes that are not in memory; as far as it is known. */
  readonly disk: DiskUse;
}

export interface ContainerDisk {
  /** Without what the kernel can take back at once. */
  readonly memoryBytes: number | undefined;
  /** What it has written over its image. */
  readonly layer: DiskUse | undefined;
  /** With those that were rotated. */
  readonly logs: DiskUse | undefined;
}

export interface VolumeUse extends DiskUse {
  readonly inMemory: boolean;
}

/** Readings of pods; not older than some ten seconds, volumes on disk than a minute (and longer where they are very large). */
export interface PodUsages {
  /** By UID. Does not throw: what cannot be read is not known. */
  podUsages(): Promise<ReadonlyMap<string, PodUsage>>;
}
