import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';

import { isAbsent } from '../../error.ts';

/** Kinds of volumes with a folder of their own. */
export type VolumePlugin = 'empty-dir' | 'configmap' | 'secret' | 'projected' | 'downward-api';

/**
 * Where the volumes of pods lie below the kubelet's root directory, by the names that upstream's kubelet uses (Kubernetes: Local Files And
 * Paths Used By The Kubelet).
 */
export class PodDirectories {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  get pods(): string {
    return join(this.root, 'pods');
  }

  pod(uid: string): string {
    return join(this.pods, uid);
  }

  volumes(uid: string): string {
    return join(this.pod(uid), 'volumes');
  }

  volume(uid: string, plugin: VolumePlugin, name: string): string {
    return join(this.volumes(uid), `kubernetes.io~${plugin}`, name);
  }

  /** A folder with a file `ready` says that a volume was set up whole. `wrapped_NAME` for all but an emptyDir. */
  marker(uid: string, name: string): string {
    return join(this.pod(uid), 'plugins', 'kubernetes.io~empty-dir', name);
  }

  /** The file that notes what a claim is bound to. */
  claim(uid: string, name: string): string {
    return join(this.pod(uid), 'plugins', 'switchyard~claim', `${name}.json`);
  }

  subPaths(uid: string): string {
    return join(this.pod(uid), 'volume-subpaths');
  }

  subPath(uid: string, volume: string, container: string, index: number): string {
    return join(this.subPaths(uid), volume, container, String(index));
  }

  /** UIDs with a folder. */
  async known(): Promise<readonly string[]> {
    try {
      const entries = await readdir(this.pods, { withFileTypes: true });
      return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    } catch (error) {
      if (isAbsent(error)) return [];
      throw error;
    }
  }

  /** Makes a folder below the root with what is missing above it, for root and its group alone. */
  async make(path: string): Promise<void> {
    await mkdir(path, { recursive: true, mode: 0o750 });
  }
}
