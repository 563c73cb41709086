import type { KubeletBase } from '../base/kubelet-base.ts';
import { PodDispatch } from '../dispatch/pod-dispatch.ts';
import type { NodeShutdown } from '../shutdown/node-shutdown.ts';
import { isStaticPod } from '../sources/sourced-pod.ts';
import { PodWorkers, podOperations } from '../worker/pod-workers.ts';
import type { Found } from './ask-runtime.ts';
import type { NodeParts } from './node-parts.ts';
import { NodeRelief } from './node-relief.ts';
import { NodeUpkeep } from './node-upkeep.ts';
import { openShutdown } from './open-shutdown.ts';
import { podStats } from './pod-stats.ts';
import type { PodStats } from './pod-stats.ts';
import type { StandingParts } from './standing-parts.ts';
import { surroundings } from './surroundings.ts';

/** What works on pods, once the runtime has answered. */
export interface WorkingParts {
  readonly workers: PodWorkers;
  readonly dispatch: PodDispatch;
  readonly stats: PodStats;
  readonly upkeep: NodeUpkeep;
  readonly relief: NodeRelief;
  readonly shutdown: NodeShutdown;
}

/** Makes them; they do nothing yet. */
export function workingParts(
  base: KubeletBase,
  node: NodeParts,
  standing: StandingParts,
  { settings, admission }: Found,
): WorkingParts {
  const { config, clock, log, random, events, metrics } = base;
  const { table, status, view, sources } = standing;
  const isReady = (): boolean => sources.allReady;
  const around = surroundings({ base, node, standing, settings, admission });
  const workers = new PodWorkers({
    operations: podOperations(around),
    clock,
    log,
    events,
    random,
    meter: metrics.pods,
    syncFrequencyMs: config.syncMs,
    isStatic: isStaticPod,
    inRuntime: () => view.pods,
    restarting: (pod) => status.beginsAnew(pod),
  });
  const stats = podStats(base, settings, view, () => standing.volumes.claims());
  const dispatch = new PodDispatch({
    table,
    workers,
    events,
    log,
    admit: (pod, others) => admission.judge(pod, others),
    isUp: (uid) => view.isUp(uid),
    meter: metrics.pods,
    refreshNode: async () => node.refresh(),
    seen: (pod) => status.seen(pod),
    mirrorsChanged: () => standing.mirrors?.ring(),
    isReady,
  });
  const upkeep = new NodeUpkeep({ ...standing, base, workers, cgroups: around.cgroups, isReady });
  const usage = stats.stats;
  const relief = new NodeRelief({ base, node, workers, upkeep, usage, isReady });
  const shutdown = openShutdown(base, node, workers, status, table);
  return { workers, dispatch, stats, upkeep, relief, shutdown };
}
