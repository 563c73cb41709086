import type { FilledSpace } from '../../host/disk-space.ts';
import type { DiskUse } from '../../host/disk-use.ts';
import type { MountedClaim } from './volumes.ts';

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

/** What a container uses now; undefined: not known. */
export interface ContainerDisk {
  /** Without what the kernel can take back at once. */
  readonly memoryBytes: number | undefined;
  /** What it has written over its image. */
  readonly layer: DiskUse | undefined;
  /** With those that were rotated. */
  readonly logs: DiskUse | undefined;
}

/** What lies in a volume. */
export interface VolumeUse extends DiskUse {
  /** It counts as memory, and not as ephemeral storage. */
  readonly inMemory: boolean;
}

/** A claim that a pod has, and the room of the file system that its folder is on. */
export interface ClaimUse extends MountedClaim {
  readonly space: FilledSpace;
}

/** Readings of pods; not older than some ten seconds, volumes on disk than a minute (and longer where they are very large). */
export interface PodUsages {
  /** By UID. Does not throw: what cannot be read is not known. */
  podUsages(): Promise<ReadonlyMap<string, PodUsage>>;
}
