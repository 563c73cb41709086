import type { Pod } from '../pod/pod.ts';
import type { RuntimePod } from '../runtime/runtime-pod.ts';
import { finishPod, terminatePod } from './end-pod.ts';
import type { PodSurroundings } from './pod-surroundings.ts';
import { PodWorker } from './pod-worker.ts';
import type { PodOperations, WorkerState, WorkerSurroundings } from './pod-worker.ts';
import { syncPod } from './sync-pod.ts';

export interface PodWorkersOptions extends Omit<WorkerSurroundings, 'mayStart' | 'finished'> {
  /** Whether the pod is a file's or URL's: of those with the same name only one may be there at a time. */
  readonly isStatic: (pod: Pod) => boolean;
  /** What the runtime has, as of the last list: what an earlier process left of a pod with the same name has to end first. */
  readonly inRuntime: () => ReadonlyMap<string, RuntimePod>;
  /** A pod that has ended begins anew. */
  readonly restarting?: (pod: Pod) => void;
}

/** What the operations are outside of tests. */
export function podOperations(around: PodSurroundings): PodOperations {
  return {
    sync: async (pod, memory, signal) => syncPod(pod, memory, around, signal),
    terminate: async (ending, graceSeconds, memory, signal) =>
      terminatePod(ending, graceSeconds, memory, around, signal),
    finish: async (ending, memory, signal) => finishPod(ending, memory, around, signal),
  };
}

/** The workers of all pods of this node, one a UID. */
export class PodWorkers {
  readonly #options: PodWorkersOptions;
  readonly #workers = new Map<string, PodWorker>();
  /** Pods whose UID comes again while it ends: begun anew when it has ended. */
  readonly #again = new Map<string, Pod>();
  /** UIDs of static pods by their full names, in order of arrival. */
  readonly #queues = new Map<string, readonly string[]>();
  #isStopped = false;

  constructor(options: PodWorkersOptions) {
    this.#options = options;
  }

  /** A pod of a source; `kind` tells whether the source had none of this UID before. */
  update(pod: Pod, kind: 'create' | 'update'): void {
    if (this.#isStopped) return;
    const { uid } = pod.metadata;
    const worker = this.#workers.get(uid);
    if (worker === undefined) {
      this.#begin(pod);
    } else if (kind === 'create' && worker.state.kind !== 'syncing') {
      this.#again.set(uid, pod);
      if (worker.state.kind === 'finished') this.#restart(uid);
    } else if (this.#again.has(uid)) {
      this.#again.set(uid, pod);
    } else {
      worker.update(pod);
    }
  }

  /** A pod that is not admitted: it fails, and nothing of it is ever started. */
  reject(pod: Pod, forced: { readonly reason: string; readonly message: string }): void {
    this.update(pod, 'create');
    this.kill(pod.metadata.uid, { forced });
  }

  /** The source has it no more. */
  remove(uid: string): void {
    this.#again.delete(uid);
    this.#workers.get(uid)?.end();
  }

  /** Evicted, preempted, or otherwise made to fail. */
  kill(uid: string, options: Parameters<PodWorker['end']>[0]): void {
    this.#workers.get(uid)?.end(options);
  }

  /** A pod that was made to end is to run after all, once it has ended. */
  beginAnew(uid: string): void {
    const { pod, state } = this.#workers.get(uid) ?? {};
    if (pod !== undefined && state?.kind !== 'syncing') this.update(pod, 'create');
  }

  /** Its containers, its probes or what it refers to have changed. */
  wake(uid: string): void {
    this.#workers.get(uid)?.wake();
  }

  wakeAll(): void {
    for (const worker of this.#workers.values()) worker.wake();
  }

  /** undefined: there is no worker of this UID. */
  state(uid: string): WorkerState | undefined {
    return this.#workers.get(uid)?.state;
  }

  /** Each with its newest pod; undefined: no source ever had it. */
  all(): readonly {
    readonly uid: string;
    readonly state: WorkerState;
    readonly pod: Pod | undefined;
  }[] {
    return [...this.#workers.values()].map(({ uid, state, pod }) => ({ uid, state, pod }));
  }

  /** Whether anything of the pod may still run, or be started. */
  isAlive(uid: string): boolean {
    const kind = this.#workers.get(uid)?.state.kind;
    return kind === 'syncing' || kind === 'terminating';
  }

  /** All that there are workers of, those that have ended and are still in a source, too. */
  uids(): readonly string[] {
    return [...this.#workers.keys()];
  }

  /**
   * Ends what no source has any more, forgets what has ended, and takes up what only the runtime knows of. Only once all sources have told
   * what they have: `configured` would be too few before.
   */
  housekeep(configured: ReadonlySet<string>, inRuntime: ReadonlyMap<string, RuntimePod>): void {
    for (const [uid, worker] of this.#workers) {
      if (configured.has(uid)) continue;
      if (worker.state.kind === 'finished') this.#forget(uid);
      else if (worker.state.kind === 'syncing') worker.end();
    }
    for (const runtime of this.#leftOvers(configured, inRuntime)) {
      const { uid, name, namespace } = runtime;
      this.#options.log.info({ uid, pod: name, namespace }, 'a pod that no source has is ended');
      this.#options.meter?.orphaned();
      this.#workers.set(uid, new PodWorker({ orphan: uid }, this.#around()));
    }
  }

  /** Whether something runs that only the runtime knows of. */
  hasLeftOvers(
    configured: ReadonlySet<string>,
    inRuntime: ReadonlyMap<string, RuntimePod>,
  ): boolean {
    return this.#leftOvers(configured, inRuntime).length > 0;
  }

  /** Leaves off; the containers run on. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all([...this.#workers.values()].map(async (worker) => worker.stop()));
  }

  #leftOvers(
    configured: ReadonlySet<string>,
    inRuntime: ReadonlyMap<string, RuntimePod>,
  ): readonly RuntimePod[] {
    return [...inRuntime.values()].filter(
      (pod) => !configured.has(pod.uid) && !this.#workers.has(pod.uid) && isLeftOver(pod),
    );
  }

  #around(): WorkerSurroundings {
    return {
      ...this.#options,
      mayStart: (pod) => this.#mayStart(pod),
      finished: (uid) => this.#finished(uid),
    };
  }

  #begin(pod: Pod): void {
    const { uid } = pod.metadata;
    if (this.#options.isStatic(pod)) {
      const name = fullName(pod);
      this.#queues.set(name, [...(this.#queues.get(name) ?? []), uid]);
    }
    this.#workers.set(uid, new PodWorker(pod, this.#around()));
  }

  #mayStart(pod: Pod): boolean {
    const { uid, name, namespace } = pod.metadata;
    if (!this.#options.isStatic(pod)) return true;
    const [first = uid] = this.#queues.get(fullName(pod)) ?? [];
    if (first !== uid) return false;
    const others = [...this.#options.inRuntime().values()].filter(
      (other) => other.uid !== uid && other.name === name && other.namespace === namespace,
    );
    return !others.some(isLeftOver);
  }

  #finished(uid: string): void {
    this.#leaveQueue(uid);
    for (const worker of this.#workers.values()) if (!worker.hasStarted) worker.wake();
    if (this.#again.has(uid)) this.#restart(uid);
  }

  #restart(uid: string): void {
    const pod = this.#again.get(uid);
    this.#forget(uid);
    if (pod === undefined || this.#isStopped) return;
    this.#options.restarting?.(pod);
    this.#options.meter?.restarted(this.#options.isStatic(pod));
    this.#begin(pod);
  }

  #forget(uid: string): void {
    this.#again.delete(uid);
    this.#workers.delete(uid);
    this.#leaveQueue(uid);
  }

  #leaveQueue(uid: string): void {
    for (const [name, queue] of this.#queues) {
      if (!queue.includes(uid)) continue;
      const rest = queue.filter((other) => other !== uid);
      if (rest.length === 0) this.#queues.delete(name);
      else this.#queues.set(name, rest);
    }
  }
}

function isLeftOver({ sandboxes, containers }: RuntimePod): boolean {
  return (
    sandboxes.some(({ state }) => state === 'ready') ||
    containers.some(({ state }) => state === 'running' || state === 'unknown')
  );
}

function fullName({ metadata }: Pod): string {
  return `${metadata.name}_${metadata.namespace}`;
}
