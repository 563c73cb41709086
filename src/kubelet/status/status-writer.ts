import type { Clock } from '../../clock.ts';
import { errorText, SwitchyardError } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { ApiObject, ObjectAnswer, ObjectApi } from '../api/object-api.ts';
import { podText } from '../pod/pod.ts';
import type { Pod, PodStatus } from '../pod/pod.ts';
import type { PodMeter, StatusSink } from '../ports.ts';
import { isTerminal } from './phase.ts';
import { isStaticPod } from '../sources/sourced-pod.ts';
import { isMirrorOf } from '../sources/mirror-pods.ts';
import { continuedStatus } from './continued-status.ts';
import { isSame, statusPatch } from './status-patch.ts';
import { terminatedStatus } from './terminated-status.ts';
import { illegalTransition, toldStatus } from './transitions.ts';

export interface StatusWriterOptions {
  /** Of pods; undefined: there is no API server, and statuses are kept alone. */
  readonly api: Pick<ObjectApi, 'get' | 'send'> | undefined;
  /** A static pod's mirror; undefined: there is none yet. */
  readonly mirror: (pod: Pod) => Pod | undefined;
  /** Whether a source still has the pod. */
  readonly isListed: (pod: Pod) => boolean;
  /** What was known of a pod before this process is part of its status now: what follows from it is to be derived. */
  readonly onContinued: (uid: string) => void;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1). */
  readonly random: () => number;
  readonly meter?: Pick<PodMeter, 'statusWritten'>;
}

/** One pod's status, and how far the API knows it. */
interface Entry {
  pod: Pod;
  status: PodStatus;
  /** Counts changes. */
  version: number;
  /** The version that the API has; what is above it is to be written. */
  written: number;
  /** The version that is being written, or was last tried. */
  tried: number;
  /** When the first change came that is not written. */
  changedAtMs: number;
  /** What the API had, as it was last seen from elsewhere. */
  seen: PodStatus | undefined;
  /** What an earlier process told of it is in the status, or nothing was. */
  isContinued: boolean;
  isTerminated: boolean;
  isDeleted: boolean;
  isBusy: boolean;
  failures: number;
  notBeforeMs: number;
  lastFailure: string;
}

/** External changes are looked for, and failures tried again, at least so often (spec 0.1). */
const batchMs = 10_000;
const firstRetryMs = 200;
/** Writes at once: one that hangs must not hold those of other pods. */
const lanes = 4;

/**
 * Keeps the statuses of pods and writes them to the API: again and again until each is confirmed, whatever happens in between (spec 6.5). What
 * others overwrite is written again within ten seconds. A pod that has ended and is to go is deleted when its last status is there (6.6).
 */
export class StatusWriter implements StatusSink {
  readonly #options: StatusWriterOptions;
  readonly #entries = new Map<string, Entry>();
  /** Ends the present wait of all lanes. */
  #waiting = new AbortController();

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  current(pod: Pod): PodStatus {
    const entry = this.#entries.get(pod.metadata.uid);
    return entry?.status ?? (this.#ownMirror(pod) ?? pod).status;
  }

  set(pod: Pod, status: PodStatus): void {
    const before = this.current(pod);
    const illegal = illegalTransition(pod, before, status);
    if (illegal !== undefined) {
      this.#options.log.error(
        { pod: podText(pod) },
        `status of ${podText(pod)} dropped: ${illegal}`,
      );
      return;
    }
    this.#keep(pod, status);
  }

  terminated(pod: Pod, status: PodStatus): void {
    const entry = this.#keep(pod, terminatedStatus(pod, status, this.#options.clock.now()));
    if (entry.isTerminated) return;
    entry.isTerminated = true;
    this.#touch(entry);
  }

  forget(uid: string): void {
    this.#entries.delete(uid);
  }

  /** The API has this version of a pod now; a static pod comes with its mirror's status. */
  seen(pod: Pod): void {
    const entry = this.#entries.get(pod.metadata.uid);
    if (entry === undefined) return;
    entry.pod = pod;
    entry.seen = pod.status;
    this.#continue(entry);
    if (entry.isTerminated && !entry.isDeleted && isLeaving(pod)) this.#touch(entry);
  }

  #continue(entry: Entry): void {
    const before = entry.isContinued ? undefined : this.#ownMirror(entry.pod)?.status;
    if (before === undefined) return;
    entry.isContinued = true;
    if (entry.isTerminated || isTerminal(entry.status.phase)) return;
    entry.status = continuedStatus(entry.status, before);
    this.#options.onContinued(entry.pod.metadata.uid);
  }

  /** The mirror of this very version of a static pod. */
  #ownMirror(pod: Pod): Pod | undefined {
    const mirror = isStaticPod(pod) ? this.#options.mirror(pod) : undefined;
    return mirror !== undefined && isMirrorOf(mirror, pod) ? mirror : undefined;
  }

  /** Whether all that is known has been confirmed. */
  get isSettled(): boolean {
    return [...this.#entries.values()].every((entry) => !isDue(entry));
  }

  /** Writes until `signal` aborts. Rejects never. */
  async run(signal: AbortSignal): Promise<void> {
    const { api } = this.#options;
    if (api === undefined) return;
    const writing = Array.from({ length: lanes }, async () => this.#lane(api, signal));
    await Promise.all([this.#batches(signal), ...writing]);
  }

  #keep(pod: Pod, status: PodStatus): Entry {
    const { uid } = pod.metadata;
    const known = this.#entries.get(uid);
    const isContinued = !isStaticPod(pod) || this.#ownMirror(pod) !== undefined;
    const entry = known ?? newEntry(pod, status, isContinued);
    this.#entries.set(uid, entry);
    entry.pod = pod;
    if (known !== undefined && isSame(known.status, status)) return entry;
    entry.status = status;
    this.#touch(entry);
    return entry;
  }

  #touch(entry: Entry): void {
    const isFirst = !isDue(entry) || (entry.isBusy && entry.version === entry.tried);
    if (isFirst) entry.changedAtMs = this.#options.clock.monotonic();
    entry.version += 1;
    this.#waiting.abort();
  }

  /** What others have changed is to be written again. */
  async #batches(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#options.clock.sleep(batchMs, signal);
      for (const entry of this.#entries.values()) {
        const { seen } = entry;
        if (seen === undefined || isDue(entry)) continue;
        if (statusPatch(seen, toldStatus(seen, entry.status, entry.isTerminated)) !== undefined) {
          entry.seen = undefined;
          this.#touch(entry);
        }
      }
    }
  }

  async #lane(api: NonNullable<StatusWriterOptions['api']>, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      const { signal: woken } = this.#currentWait();
      const { entry, waitMs } = this.#next();
      if (entry !== undefined) await this.#attempt(api, entry, signal);
      else await clock.sleep(waitMs, AbortSignal.any([signal, woken]));
    }
  }

  #currentWait(): AbortController {
    if (this.#waiting.signal.aborted) this.#waiting = new AbortController();
    return this.#waiting;
  }

  /** The pod that has waited longest for its turn, or how long to wait. */
  #next(): { readonly entry?: Entry; readonly waitMs: number } {
    const nowMs = this.#options.clock.monotonic();
    let waitMs = batchMs;
    let first: Entry | undefined;
    for (const entry of this.#entries.values()) {
      if (entry.isBusy || !isDue(entry)) continue;
      waitMs = Math.min(waitMs, entry.notBeforeMs - nowMs);
      if (entry.notBeforeMs > nowMs) continue;
      if (first === undefined || entry.changedAtMs < first.changedAtMs) first = entry;
    }
    return first === undefined ? { waitMs } : { entry: first, waitMs: 0 };
  }

  async #attempt(
    api: NonNullable<StatusWriterOptions['api']>,
    entry: Entry,
    signal: AbortSignal,
  ): Promise<void> {
    const { version, changedAtMs } = entry;
    const { clock, meter } = this.#options;
    entry.isBusy = true;
    entry.tried = version;
    try {
      await this.#write(api, entry, signal);
      entry.written = version;
      meter?.statusWritten((clock.monotonic() - changedAtMs) / 1000);
      entry.failures = 0;
      entry.lastFailure = '';
    } catch (error) {
      entry.changedAtMs = changedAtMs;
      if (!signal.aborted) this.#failed(entry, error);
    } finally {
      entry.isBusy = false;
    }
  }

  /** Returns when the API has the status, or has no use for it. */
  async #write(
    api: NonNullable<StatusWriterOptions['api']>,
    entry: Entry,
    signal: AbortSignal,
  ): Promise<void> {
    const { pod, status, isTerminated } = entry;
    const uid = this.#uidOf(pod);
    if (uid === undefined) {
      throw new SwitchyardError('source', 'its mirror pod is not there yet', { retryable: true });
    }
    const path = pathOf(pod);
    const found = await api.get(path, signal);
    if (this.#isGone(found, entry)) return;
    const object = objectOf(found);
    if (object.metadata.uid !== uid) return;
    const held = (object['status'] ?? {}) as PodStatus;
    const patch = statusPatch(held, toldStatus(held, status, isTerminated));
    if (patch !== undefined) {
      const body = { metadata: { uid }, status: patch };
      const answer = await api.send('strategicMerge', `${path}/status`, body, signal);
      if (this.#isGone(answer, entry)) return;
      objectOf(answer);
    }
    const phase = (patch?.['phase'] ?? held.phase) as PodStatus['phase'];
    // it may have ended meanwhile: then its last status is not the one that was written
    if (isTerminated && object.metadata.deletionTimestamp !== undefined && isTerminal(phase)) {
      await this.#delete(api, entry, path, uid, signal);
    }
  }

  /** The object goes only when nothing of the pod is left on this node. */
  async #delete(
    api: NonNullable<StatusWriterOptions['api']>,
    entry: Entry,
    path: string,
    uid: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { pod, isDeleted } = entry;
    if (isDeleted || isStaticPod(pod)) return;
    const options = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      gracePeriodSeconds: 0,
      preconditions: { uid },
    };
    const answer = await api.send('delete', path, options, signal);
    // another of its name, or none: this one is gone
    if (answer.status !== 409 && !this.#isGone(answer, entry)) objectOf(answer);
    entry.isDeleted = true;
    this.#options.log.info({ pod: podText(pod) }, `pod ${podText(pod)} is deleted in the API`);
  }

  /** The node authoriser lets a node ask for no pod that is not its own: of one that has gone it says 403, and not 404. */
  #isGone({ status }: ObjectAnswer, { pod, isDeleted }: Entry): boolean {
    return status === 404 || (status === 403 && (isDeleted || !this.#options.isListed(pod)));
  }

  #uidOf(pod: Pod): string | undefined {
    return (isStaticPod(pod) ? this.#options.mirror(pod) : pod)?.metadata.uid;
  }

  #failed(entry: Entry, error: unknown): void {
    const { clock, log, random } = this.#options;
    const delayMs = Math.min(batchMs, firstRetryMs * 2 ** Math.min(entry.failures, 10));
    entry.failures += 1;
    entry.notBeforeMs = clock.monotonic() + Math.round(delayMs * (0.75 + random() / 4));
    const reason = errorText(error);
    const text = `status of ${podText(entry.pod)} is not written yet: ${reason}`;
    const fields = { pod: podText(entry.pod), failures: entry.failures };
    // the same words again and again are for those who look closely
    if (reason === entry.lastFailure || isForAMoment(error, entry)) log.debug(fields, text);
    else {
      log.warn(fields, text);
      entry.lastFailure = reason;
    }
  }
}

function newEntry(pod: Pod, status: PodStatus, isContinued: boolean): Entry {
  const state = {
    isContinued,
    isTerminated: false,
    isDeleted: false,
    isBusy: false,
    seen: undefined,
  };
  const tries = { failures: 0, notBeforeMs: 0, lastFailure: '' };
  return { pod, status, version: 0, written: 0, tried: 0, changedAtMs: 0, ...state, ...tries };
}

function isDue({ version, written }: Entry): boolean {
  return version > written;
}

function isLeaving({ metadata }: Pod): boolean {
  return metadata.deletionTimestamp !== undefined;
}

function pathOf({ metadata }: Pod): string {
  return `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`;
}

function objectOf({ status, object, reason }: ObjectAnswer): ApiObject {
  if (object !== undefined) return object;
  throw new RefusedError(status, reason === '' ? `answered ${status}` : reason);
}

class RefusedError extends SwitchyardError {
  readonly status: number;

  constructor(status: number, reason: string) {
    super('source', reason, { retryable: true });
    this.status = status;
  }
}

/** The node authoriser learns of a new pod, and the source of one that has gone, a moment later than this writer. */
function isForAMoment(error: unknown, { failures }: Entry): boolean {
  return error instanceof RefusedError && error.status === 403 && failures < 4;
}
