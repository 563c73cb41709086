import type { PodStatus } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import { isMirrorOf } from '../sources/mirror-pods.ts';
import { isStaticPod } from '../sources/sourced-pod.ts';
import { continuedStatus } from './continued-status.ts';
import { shutdownReason } from './shutdown-reason.ts';
import { isTerminal } from './phase.ts';
import { isSame } from './status-patch.ts';
import type { WriteTurn } from './write-turn.ts';

/** One pod's status, as this process knows it. */
export interface KeptStatus {
  pod: Pod;
  status: PodStatus;
  /** What the API had, as it was last seen from elsewhere. */
  seen: PodStatus | undefined;
  /** What an earlier process told of it is in the status, or nothing was. */
  isContinued: boolean;
  isTerminated: boolean;
  /** Its object was deleted from here. */
  isDeleted: boolean;
  /** How far the API knows it. */
  readonly turn: WriteTurn;
}

/** A status that was given. */
export interface Kept {
  readonly entry: KeptStatus;
  /** It says something else than the one before. */
  readonly isChanged: boolean;
}

export interface KeptStatusesOptions {
  /** A static pod's mirror; undefined: there is none yet. */
  readonly mirror: (pod: Pod) => Pod | undefined;
  /** What was known of a pod before this process is part of its status now: what follows from it is to be derived. */
  readonly onContinued: (uid: string) => void;
  readonly newTurn: () => WriteTurn;
}

/** The statuses of pods, by their UIDs. */
export class KeptStatuses {
  readonly #options: KeptStatusesOptions;
  readonly #entries = new Map<string, KeptStatus>();

  constructor(options: KeptStatusesOptions) {
    this.#options = options;
  }

  get all(): Iterable<KeptStatus> {
    return this.#entries.values();
  }

  /** undefined: nothing is kept of it. */
  of(uid: string): KeptStatus | undefined {
    return this.#entries.get(uid);
  }

  /** The last one that was kept, or what the API had when this process first saw the pod. */
  current(pod: Pod): PodStatus {
    const entry = this.#entries.get(pod.metadata.uid);
    return entry?.status ?? (this.#ownMirror(pod) ?? pod).status;
  }

  keep(pod: Pod, status: PodStatus): Kept {
    const { uid } = pod.metadata;
    const known = this.#entries.get(uid);
    const entry = known ?? this.#newEntry(pod, status);
    this.#entries.set(uid, entry);
    entry.pod = pod;
    const isChanged = known === undefined || !isSame(known.status, status);
    if (isChanged) entry.status = status;
    return { entry, isChanged };
  }

  /** The API has this version of a pod now; a static pod comes with its mirror's status. undefined: nothing is kept of it. */
  seen(pod: Pod): KeptStatus | undefined {
    const entry = this.#entries.get(pod.metadata.uid);
    if (entry === undefined) return undefined;
    entry.pod = pod;
    entry.seen = pod.status;
    this.#continue(entry);
    return entry;
  }

  /**
   * Whether the mirror of a static pod still tells how a shutdown of the machine has ended the one that was there before: an object does not
   * leave its last phase (spec 6.2), so that another one has to stand for the pod that runs.
   */
  isMirrorOver(pod: Pod): boolean {
    const { status } = this.#entries.get(pod.metadata.uid) ?? {};
    return (
      status !== undefined &&
      !isTerminal(status.phase) &&
      this.#mirror(pod)?.status.reason === shutdownReason
    );
  }

  forget(uid: string): void {
    this.#entries.delete(uid);
  }

  #newEntry(pod: Pod, status: PodStatus): KeptStatus {
    const isContinued = !isStaticPod(pod) || this.#ownMirror(pod) !== undefined;
    const state = { seen: undefined, isContinued, isTerminated: false, isDeleted: false };
    return { pod, status, ...state, turn: this.#options.newTurn() };
  }

  #continue(entry: KeptStatus): void {
    const before = entry.isContinued ? undefined : this.#ownMirror(entry.pod)?.status;
    if (before === undefined) return;
    entry.isContinued = true;
    if (entry.isTerminated || isTerminal(entry.status.phase)) return;
    entry.status = continuedStatus(entry.status, before);
    this.#options.onContinued(entry.pod.metadata.uid);
  }

  /** One that a shutdown of the machine has ended tells nothing: the pod begins anew. */
  #ownMirror(pod: Pod): Pod | undefined {
    const mirror = this.#mirror(pod);
    return mirror?.status.reason === shutdownReason ? undefined : mirror;
  }

  /** The mirror of this very version of a static pod. */
  #mirror(pod: Pod): Pod | undefined {
    const mirror = isStaticPod(pod) ? this.#options.mirror(pod) : undefined;
    return mirror !== undefined && isMirrorOf(mirror, pod) ? mirror : undefined;
  }
}
