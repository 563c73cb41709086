import type { Log } from '../telemetry/log.ts';
import { podText } from './pod/pod.ts';
import type { Pod } from './pod/pod.ts';
import type { PodTable } from './pod-table.ts';
import type { PodEvents } from './ports.ts';
import type { Rejection } from './sources/admission.ts';
import type { PodChange } from './sources/merge.ts';
import { isMirrorPod } from './sources/sourced-pod.ts';
import type { PodWorkers } from './worker/pod-workers.ts';

/** Who is told what becomes of pods. */
export interface PodDispatchOptions {
  readonly table: PodTable;
  readonly workers: Pick<PodWorkers, 'update' | 'reject' | 'remove' | 'wake' | 'state'>;
  /** undefined: the pod may run. */
  readonly admit: (pod: Pod, others: readonly Pod[]) => Rejection | undefined;
  readonly events: PodEvents;
  /** The API has this version of a pod; a static one comes with the status of its mirror. */
  readonly seen: (pod: Pod) => void;
  /** The mirrors of static pods are to be looked at. */
  readonly mirrorsChanged: () => void;
  /** Whether all sources have spoken. */
  readonly isReady: () => boolean;
  readonly log: Log;
}

const endings: ReadonlySet<string | undefined> = new Set(['Failed', 'Succeeded']);

/** Tells the pods' workers what the sources say (spec 1.7). */
export class PodDispatch {
  readonly #options: PodDispatchOptions;

  constructor(options: PodDispatchOptions) {
    this.#options = options;
  }

  /** What a source says. */
  apply({ op, pods }: PodChange): void {
    for (const pod of pods) {
      if (op === 'REMOVE') this.#remove(pod);
      else if (isMirrorPod(pod)) this.#mirror(pod);
      else this.#take(op, pod);
    }
  }

  #take(op: PodChange['op'], pod: Pod): void {
    const { table, workers, seen, mirrorsChanged } = this.#options;
    const others = op === 'ADD' ? this.#active() : [];
    table.set(pod);
    if (op === 'ADD') {
      this.#add(pod, others);
      mirrorsChanged();
    } else if (op !== 'RECONCILE') workers.update(pod, 'update');
    else if ((pod.spec.readinessGates ?? []).length > 0) {
      // a gate that others open counts for the pod's readiness
      workers.update(pod, 'update');
    }
    seen(pod);
  }

  /** Asked once whether it may run, unless it is ending already, or is to be run once more. */
  #add(pod: Pod, others: readonly Pod[]): void {
    const { workers, admit, events, log } = this.#options;
    const { uid, deletionTimestamp } = pod.metadata;
    const isOver = deletionTimestamp !== undefined || endings.has(pod.status.phase);
    const isNew = !isOver && workers.state(uid) === undefined;
    const rejection = isNew ? admit(pod, others) : undefined;
    if (rejection === undefined) {
      workers.update(pod, 'create');
      return;
    }
    log.warn({ pod: podText(pod), reason: rejection.reason }, rejection.message);
    events.tell(pod, { type: 'Warning', ...rejection });
    workers.reject(pod, rejection);
  }

  /** Those that run or will. */
  #active(): readonly Pod[] {
    const { table, workers } = this.#options;
    return table.all().filter(({ metadata, status }) => {
      const kind = workers.state(metadata.uid)?.kind;
      return !endings.has(status.phase) && (kind === 'syncing' || kind === 'terminating');
    });
  }

  #mirror(mirror: Pod): void {
    const { table, seen, mirrorsChanged } = this.#options;
    table.set(mirror);
    const pod = table.staticOf(mirror);
    if (pod !== undefined) seen({ ...pod, status: mirror.status });
    mirrorsChanged();
  }

  #remove(pod: Pod): void {
    const { table, workers, isReady, mirrorsChanged } = this.#options;
    table.remove(pod);
    mirrorsChanged();
    if (!isMirrorPod(pod) && isReady()) workers.remove(pod.metadata.uid);
  }
}
