import type { Cri } from '../cri/client.ts';
import type { DnsSources } from '../environment/dns-config.ts';
import type { Pod } from '../pod/pod.ts';
import type { RuntimeFeatures } from '../pod/unsupported.ts';
import type { PodMeter } from '../ports/pod-meter.ts';
import type { ForcedEnd, StartFailure, StatusSink } from '../ports/pod-status.ts';
import type { Probes } from '../ports/probes.ts';
import type { ReferencedObjects } from '../ports/referenced-objects.ts';
import type { Log } from '../../telemetry/log.ts';
import type { PodCgroups } from '../runtime/cgroups.ts';
import type { RuntimeHandlers } from '../runtime/runtime-classes.ts';
import type { StartSurroundings } from '../runtime/start-container.ts';
import type { RuntimeView } from '../runtime/view.ts';
import type { BackOff } from '../back-off.ts';

/** All that the operations on pods work with; one for all pods of the node. */
export interface PodSurroundings extends StartSurroundings {
  readonly runtime: Cri['runtime'];
  readonly view: Pick<RuntimeView, 'pod' | 'latest'>;
  readonly status: StatusSink;
  readonly probes: Probes;
  /** undefined: there is no API server. */
  readonly referenced: ReferencedObjects | undefined;
  readonly log: Log;
  readonly cgroups: PodCgroups;
  readonly runtimeHandlers: RuntimeHandlers;
  /** Of crash loops. */
  readonly backOff: BackOff;
  readonly dns: () => DnsSources;
  /** Why pods with a network of their own cannot start now; undefined: they can. */
  readonly networkProblem: () => string | undefined;
  readonly features: RuntimeFeatures;
  /** Has the API server show a static pod as it is; neither waits nor throws. */
  readonly reconcileMirror?: (pod: Pod) => void;
  readonly meter?: Pick<PodMeter, 'podRunning' | 'containerStarting' | 'containerFailed'>;
}

/** What a pod's worker keeps from one operation to the next. All else is read from the runtime. */
export interface PodMemory {
  /** By container's name. */
  readonly failures: Map<string, StartFailure>;
  /** What containers that ended left to say, by their ids. */
  readonly terminationMessages: Map<string, string>;
  /** The pod has to fail, whatever its containers do. */
  forced: ForcedEnd | undefined;
  /** Nothing was synced since this process began. */
  isFirst: boolean;
  /**
   * When the last sync ended, by the monotonic clock, where it left nothing to do and nothing is known to have changed since: what the runtime
   * has been found to have since then is good enough for another. undefined: it is to be read.
   */
  knownAtMs: number | undefined;
  /** The fields that an Event was told of. */
  toldUnsupported: string | undefined;
  /** The same of its ephemeral containers. */
  toldEphemeral: string | undefined;
}

export function newMemory(): PodMemory {
  return {
    failures: new Map(),
    terminationMessages: new Map(),
    forced: undefined,
    isFirst: true,
    knownAtMs: undefined,
    toldUnsupported: undefined,
    toldEphemeral: undefined,
  };
}
