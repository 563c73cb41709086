import { CgroupReader } from '../../host/cgroup-usage.ts';
import type { KubeletBase } from '../base/kubelet-base.ts';
import type { MountedClaim } from '../ports/volumes.ts';
import type { RuntimePod } from '../runtime/runtime-pod.ts';
import type { RuntimeSettings } from '../runtime/settings.ts';
import type { RuntimeView } from '../runtime/view.ts';
import { ClaimSizes } from '../stats/claim-sizes.ts';
import { readNodeUse } from '../stats/node-reading.ts';
import { PodReadings } from '../stats/pod-readings.ts';
import { Stats } from '../stats/stats.ts';
import { VolumeSizes } from '../stats/volume-sizes.ts';
import { PodDirectories } from '../volumes/pod-directories.ts';

/** What pods use, as it is read on this node. */
export interface PodStats {
  readonly stats: Stats;
  /** What is being read of disks is waited for no longer. */
  readonly stop: () => void;
}

/** Puts together what reads it; nothing is read yet. */
export function podStats(
  { cri, clock, rootDir, config }: KubeletBase,
  { cgroup }: RuntimeSettings,
  view: Pick<RuntimeView, 'pods'>,
  mounted: () => readonly MountedClaim[],
): PodStats {
  const claims = new ClaimSizes({ claims: mounted, clock, everyMs: config.volumeStatsMs });
  const volumes = new VolumeSizes({
    directories: new PodDirectories(rootDir),
    clock,
    everyMs: config.volumeStatsMs,
  });
  const cgroups = new CgroupReader(cgroup);
  const pods = (): Iterable<RuntimePod> => view.pods.values();
  const stats = new Stats({
    readings: new PodReadings({ pods, cgroups, settings: cgroup, clock }),
    readNode: async () =>
      readNodeUse({ rootDir, images: cri.images, cgroups, settings: cgroup, clock }),
    volumes,
    claims,
    runtime: cri.runtime,
    clock,
  });
  const stop = (): void => {
    volumes.stop();
    claims.stop();
  };
  return { stats, stop };
}
