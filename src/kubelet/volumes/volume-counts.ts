import type { CountedVolumes } from '../../telemetry/storage-metrics.ts';

interface PodVolumesState {
  /** Whose each is, by its key. */
  readonly plugins: ReadonlyMap<string, string>;
  /** Keys of those that are set up. */
  readonly done: ReadonlySet<string>;
}

/** Volumes of all pods, by plugin; sorted. */
export function countVolumes(pods: Iterable<PodVolumesState>): readonly CountedVolumes[] {
  const counts = new Map<string, { desired: number; actual: number }>();
  for (const { plugins, done } of pods) {
    for (const [key, plugin] of plugins) {
      const { desired, actual } = counts.get(plugin) ?? { desired: 0, actual: 0 };
      counts.set(plugin, {
        desired: desired + 1,
        actual: actual + (done.has(key) ? 1 : 0),
      });
    }
  }
  return [...counts]
    .map(([plugin, count]) => ({ plugin, ...count }))
    .toSorted((a, b) => (a.plugin < b.plugin ? -1 : 1));
}
