import type { Pod } from '../pod/pod.ts';

/** A volume that is ready to be mounted into containers. */
export interface MountedVolume {
  readonly hostPath: string;
  /** configMap, secret, projected, downwardAPI, a claim that says so: mounted read-only whatever the mount says. */
  readonly readOnly: boolean;
  /** There already, and labelled for SELinux: all but hostPath. */
  readonly managed: boolean;
}

/** A claim that a pod has. */
export interface MountedClaim {
  /** The pod's. */
  readonly uid: string;
  /** The volume's name in it. */
  readonly volume: string;
  readonly namespace: string;
  readonly claim: string;
  /** The folder that it is bound to. */
  readonly path: string;
}

/** The volumes of pods, from the first container until the pod is gone. */
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
