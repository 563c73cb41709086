import type { Cri } from '../cri/client.ts';
import type { ContainerStats, FilesystemUsage, PodSandboxStats } from '../cri/gen/api_pb.ts';
import type { DiskUse } from '../../host/disk-use.ts';

/** What the container runtime itself measures. */
export interface RuntimeStats {
  /** By container's ID. */
  readonly containers: ReadonlyMap<string, ContainerStats>;
  /** By sandbox's; none where it is not asked for. */
  readonly sandboxes: ReadonlyMap<string, PodSandboxStats>;
}

export type StatsCalls = Pick<Cri['runtime'], 'listContainerStats' | 'listPodSandboxStats'>;

/**
 * Asks the runtime. `wantsSandboxes`: a pod's cgroup cannot be read, so that the runtime is asked of pods, too; one that has no such
 * call (it came with CRI 1.23) is asked of containers alone. Throws where it does not answer.
 */
export async function readRuntimeStats(
  runtime: StatsCalls,
  { wantsSandboxes }: { readonly wantsSandboxes: boolean },
): Promise<RuntimeStats> {
  const [{ stats }, ofSandboxes] = await Promise.all([
    runtime.listContainerStats({}),
    wantsSandboxes
      ? runtime.listPodSandboxStats({}).then(
          (answer) => answer.stats,
          () => [],
        )
      : [],
  ]);
  return {
    containers: new Map(stats.map((each) => [each.attributes?.id ?? '', each])),
    sandboxes: new Map(ofSandboxes.map((each) => [each.attributes?.id ?? '', each])),
  };
}

/** A layer or an image store; undefined: the runtime does not say it. */
export function diskUseOf(usage: FilesystemUsage | undefined): DiskUse | undefined {
  const bytes = usage?.usedBytes?.value;
  if (bytes === undefined) return undefined;
  return { bytes: Number(bytes), inodes: Number(usage?.inodesUsed?.value ?? 0n) };
}
