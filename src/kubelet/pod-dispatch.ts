import type { Log } from '../telemetry/log.ts';
import { podText } from './pod/pod.ts';
import type { Pod } from './pod/pod.ts';
import type { PodTable } from './pod-table.ts';
import type { PodEvents, PodWorkers, ReferencedObjects } from './ports.ts';
import type { Rejection } from './sources/admission.ts';
import type { PodChange } from './sources/merge.ts';
import { isMirrorPod } from './sources/sourced-pod.ts';

/** Who is told what becomes of pods. */
export interface PodDispatchOptions {
  readonly table: PodTable;
  readonly workers: PodWorkers;
  /** undefined: the pod may run. */
  readonly admit: (pod: Pod, others: readonly Pod[]) => Rejection | undefined;
  /** It has failed before it began. */
  readonly reject: (pod: Pod, rejection: Rejection) => void;
  readonly events: PodEvents;
  /** The API has this version of a pod; a static one comes with the status of its mirror. */
  readonly seen: (pod: Pod) => void;
  /** undefined: there is no API server. */
  readonly references: Pick<ReferencedObjects, 'register' | 'unregister'> | undefined;
  /** The mirrors of static pods are to be looked at. */
  readonly mirrorsChanged: () => void;
  /** Whether all sources have spoken. */
  readonly isReady: () => boolean;
  /** No worker, no source: what is kept of the pod elsewhere goes. */
  readonly forget: (uid: string) => void;
  readonly log: Log;
}

/** What a pod's status says that is known to have ended. */
const endings: ReadonlySet<string | undefined> = new Set(['Failed', 'Succeeded']);

/** Tells the pods' workers what the sources say (spec 1.7), and now and then forgets those that nobody needs any more. */
export class PodDispatch {
  readonly #options: PodDispatchOptions;
  /** Pods that were not let in: no worker has them until they are to go. */
  readonly #rejected = new Set<string>();
  /** Pods that came once more while their workers were ending. */
  readonly #again = new Set<string>();

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

  /** Each two seconds: workers without a pod are ended, and forgotten when they have. */
  keepHouse(): void {
    const { table, workers, isReady } = this.#options;
    if (!isReady()) return;
    for (const uid of workers.known()) {
      const state = workers.state(uid);
      if (table.get(uid) === undefined) {
        if (state === 'syncing') workers.remove(uid);
        else if (state === 'terminated' && workers.forget(uid)) this.#forget(uid);
      } else if (state === 'terminated' && this.#again.has(uid) && workers.forget(uid)) {
        this.#again.delete(uid);
      }
    }
  }

  /** Pods that run or will: those that have not ended and were let in. */
  active(): readonly Pod[] {
    const { table, workers } = this.#options;
    return table
      .all()
      .filter(
        ({ metadata, status }) =>
          !this.#rejected.has(metadata.uid) &&
          !endings.has(status.phase) &&
          workers.state(metadata.uid) !== 'terminated',
      );
  }

  #take(op: PodChange['op'], pod: Pod): void {
    const { table, workers, seen } = this.#options;
    const others = op === 'ADD' ? this.active() : [];
    table.set(pod);
    seen(pod);
    if (op === 'ADD') this.#add(pod, others);
    else if (op === 'RECONCILE') this.#reconcile(pod);
    else if (op === 'UPDATE' || op === 'DELETE') {
      if (this.#rejected.has(pod.metadata.uid)) this.#updateRejected(pod);
      else {
        this.#options.references?.register(pod);
        workers.update(pod);
      }
    }
  }

  #add(pod: Pod, others: readonly Pod[]): void {
    const { workers, admit, reject, events, log, mirrorsChanged, references } = this.#options;
    const { uid, deletionTimestamp } = pod.metadata;
    const isEnding = workers.state(uid) === 'terminating' || workers.state(uid) === 'terminated';
    if (isEnding) this.#again.add(uid);
    const isNew = !isEnding && deletionTimestamp === undefined && !endings.has(pod.status.phase);
    const rejection = isNew ? admit(pod, others) : undefined;
    if (rejection !== undefined) {
      this.#rejected.add(uid);
      log.warn({ pod: podText(pod), reason: rejection.reason }, rejection.message);
      events.tell(pod, { type: 'Warning', reason: rejection.reason, message: rejection.message });
      reject(pod, rejection);
      return;
    }
    references?.register(pod);
    workers.add(pod);
    mirrorsChanged();
  }

  /** It only has to go, some time. */
  #updateRejected(pod: Pod): void {
    if (pod.metadata.deletionTimestamp === undefined) return;
    this.#rejected.delete(pod.metadata.uid);
    this.#options.workers.add(pod);
  }

  /** A gate that others open counts for the pod's readiness. */
  #reconcile(pod: Pod): void {
    if ((pod.spec.readinessGates ?? []).length > 0) this.#options.workers.sync(pod.metadata.uid);
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
    const { uid } = pod.metadata;
    table.remove(pod);
    this.#again.delete(uid);
    mirrorsChanged();
    if (isMirrorPod(pod)) return;
    if (this.#rejected.delete(uid) && workers.state(uid) === undefined) this.#forget(uid);
    else if (isReady()) workers.remove(uid);
  }

  #forget(uid: string): void {
    this.#options.references?.unregister(uid);
    this.#options.forget(uid);
  }
}
