import type { Log } from '../../telemetry/log.ts';
import { podText } from '../pod/pod.ts';
import type { Pod } from '../pod/pod.ts';
import type { PodTable } from './pod-table.ts';
import type { PodEvents } from '../ports/pod-events.ts';
import type { PodMeter } from '../ports/pod-meter.ts';
import type { Rejection } from '../sources/admission.ts';
import type { PodChange } from '../sources/merge.ts';
import { isMirrorPod } from '../sources/sourced-pod.ts';
import type { PodWorkers } from '../worker/pod-workers.ts';

/** Who is told what becomes of pods. */
export interface PodDispatchOptions {
  readonly table: PodTable;
  readonly workers: Pick<PodWorkers, 'update' | 'reject' | 'remove' | 'wake' | 'state'>;
  /** undefined: the pod may run. */
  readonly admit: (pod: Pod, others: readonly Pod[]) => Rejection | undefined;
  /** Whether the runtime has something of it that is up. */
  readonly isUp: (uid: string) => boolean;
  /** Reads the node's object anew: a pod may come before the change of the node that lets it in. Rejects never. */
  readonly refreshNode: () => Promise<void>;
  readonly events: PodEvents;
  /** The API has this version of a pod; a static one comes with the status of its mirror. */
  readonly seen: (pod: Pod) => void;
  /** The mirrors of static pods are to be looked at. */
  readonly mirrorsChanged: () => void;
  /** Whether all sources have spoken. */
  readonly isReady: () => boolean;
  readonly meter?: Pick<PodMeter, 'rejected'>;
  readonly log: Log;
}

const endings: ReadonlySet<string | undefined> = new Set(['Failed', 'Succeeded']);

/** Reasons that lie in labels and taints of the node, which others may have just changed. */
const ofNode: ReadonlySet<string> = new Set(['NodeAffinity', 'TaintToleration']);

/** Whether a pod's worker has something to do by a change; a gate that others open counts for the pod's readiness. */
function matters(op: PodChange['op'], { spec }: Pod): boolean {
  return op !== 'RECONCILE' || (spec.readinessGates ?? []).length > 0;
}

/** Tells the pods' workers what the sources say. */
export class PodDispatch {
  readonly #options: PodDispatchOptions;
  /** Pods that wait for the node to be read anew, by UID. */
  readonly #waiting = new Set<string>();

  constructor(options: PodDispatchOptions) {
    this.#options = options;
  }

  /** What a source says. */
  apply({ op, pods }: PodChange): void {
    for (const pod of op === 'ADD' ? this.#upFirst(pods) : pods) {
      if (op === 'REMOVE') this.#remove(pod);
      else if (isMirrorPod(pod)) this.#mirror(pod);
      else this.#take(op, pod);
    }
  }

  /** What those have that are up already is not there for others. */
  #upFirst(pods: readonly Pod[]): readonly Pod[] {
    const { isUp } = this.#options;
    const { up = [], others = [] } = Object.groupBy(pods, ({ metadata }) =>
      isUp(metadata.uid) ? 'up' : 'others',
    );
    return [...up, ...others];
  }

  #take(op: PodChange['op'], pod: Pod): void {
    const { table, workers, seen, mirrorsChanged } = this.#options;
    const others = op === 'ADD' ? this.#active() : [];
    table.set(pod);
    if (op === 'ADD') {
      this.#add(pod, others);
      mirrorsChanged();
    } else if (!this.#waiting.has(pod.metadata.uid) && matters(op, pod)) {
      workers.update(pod, 'update');
    }
    seen(pod);
  }

  /**
   * Asked once whether it may run, unless it is ending already, or is to be run once more. One that an earlier agent let in and that is
   * up stays, whatever has become of the node since.
   */
  #add(pod: Pod, others: readonly Pod[], isFinal = false): void {
    const { workers, admit, isUp } = this.#options;
    const { uid, deletionTimestamp } = pod.metadata;
    const isOver = deletionTimestamp !== undefined || endings.has(pod.status.phase);
    const isNew = !isOver && workers.state(uid) === undefined && !isUp(uid);
    const rejection = isNew ? admit(pod, others) : undefined;
    if (rejection === undefined) workers.update(pod, 'create');
    else if (isFinal || !ofNode.has(rejection.reason)) this.#reject(pod, rejection);
    else void this.#addAgain(uid);
  }

  /** By the node as it is now. */
  async #addAgain(uid: string): Promise<void> {
    const { table, refreshNode } = this.#options;
    this.#waiting.add(uid);
    await refreshNode();
    this.#waiting.delete(uid);
    const pod = table.get(uid);
    if (pod !== undefined) this.#add(pod, this.#active(), true);
  }

  #reject(pod: Pod, rejection: Rejection): void {
    const { workers, events, log, meter } = this.#options;
    meter?.rejected(rejection.reason);
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
