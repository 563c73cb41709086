import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import { podText } from '../pod/pod.ts';
import type { PodStatus } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import type { PodMeter } from '../ports/pod-meter.ts';
import type { StatusSink } from '../ports/pod-status.ts';
import { isStaticPod } from '../sources/sourced-pod.ts';
import { newEndings } from './endings.ts';
import { KeptStatuses } from './kept-statuses.ts';
import type { Kept, KeptStatus } from './kept-statuses.ts';
import { shutdownReason } from './shutdown-reason.ts';
import { statusPatch } from './status-patch.ts';
import { terminatedStatus } from './terminated-status.ts';
import { illegalTransition, toldStatus } from './transitions.ts';
import { RefusedError, writeStatus } from './write-status.ts';
import type { PodObjectApi } from './write-status.ts';
import { WriteTurn } from './write-turn.ts';

export interface StatusWriterOptions {
  /** undefined: there is no API server, and statuses are kept alone. */
  readonly api: PodObjectApi | undefined;
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
  readonly meter?: Pick<PodMeter, 'statusWritten' | 'containerEnded'>;
}

/** External changes are looked for, and failures tried again, at least so often. */
const batchMs = 10_000;
const firstRetryMs = 200;
/** Writes at once: one that hangs must not hold those of other pods. */
const lanes = 4;

/**
 * Keeps the statuses of pods and writes them to the API: again and again until each is confirmed, whatever happens in between. What
 * others overwrite is written again within ten seconds. A pod that has ended and is to go is deleted when its last status is there (6.6).
 */
export class StatusWriter implements StatusSink {
  readonly #options: StatusWriterOptions;
  readonly #statuses: KeptStatuses;
  /** What the log has of the failures since the last success. */
  readonly #told = new WeakMap<KeptStatus, string>();
  /** What was found to be alike. */
  readonly #compared = new WeakMap<KeptStatus, readonly unknown[]>();
  /** Ends the present wait of all lanes. */
  #waiting = new AbortController();

  constructor(options: StatusWriterOptions) {
    this.#options = options;
    const { mirror, onContinued, clock, random } = options;
    const turns = { clock, random, firstRetryMs, lastRetryMs: batchMs };
    const newTurn = (): WriteTurn => new WriteTurn(turns);
    this.#statuses = new KeptStatuses({ mirror, onContinued, newTurn });
  }

  current(pod: Pod): PodStatus {
    return this.#statuses.current(pod);
  }

  set(pod: Pod, status: PodStatus): void {
    const illegal = illegalTransition(pod, this.current(pod), status);
    if (illegal !== undefined) {
      const { log } = this.#options;
      log.error({ pod: podText(pod) }, `status of ${podText(pod)} dropped: ${illegal}`);
      return;
    }
    const { entry, isChanged } = this.#keep(pod, status);
    if (isChanged) this.#touch(entry);
  }

  terminated(pod: Pod, status: PodStatus): void {
    const last = terminatedStatus(pod, status, this.#options.clock.now());
    const { entry, isChanged } = this.#keep(pod, last);
    if (isChanged || !entry.isTerminated) this.#touch(entry);
    entry.isTerminated = true;
  }

  /** How a shutdown of the machine has ended a static pod is of no concern to the one that begins in its place. */
  beginsAnew(pod: Pod): void {
    if (isStaticPod(pod) && this.current(pod).reason === shutdownReason)
      this.forget(pod.metadata.uid);
  }

  /** Whether a static pod has begun anew that its mirror says a shutdown has ended: the mirror is to be replaced. */
  isMirrorOver(pod: Pod): boolean {
    return this.#statuses.isMirrorOver(pod);
  }

  forget(uid: string): void {
    this.#statuses.forget(uid);
  }

  /** The API has this version of a pod now; a static pod comes with its mirror's status. */
  seen(pod: Pod): void {
    const entry = this.#statuses.seen(pod);
    if (entry?.isTerminated === true && !entry.isDeleted && isLeaving(pod)) this.#touch(entry);
  }

  /** Whether all that is known has been confirmed. */
  get isSettled(): boolean {
    return [...this.#statuses.all].every(({ turn }) => !turn.isDue);
  }

  /** Whether nothing of this pod is still to be written; also where there is no API server that could be told. */
  isWritten(uid: string): boolean {
    return this.#options.api === undefined || this.#statuses.of(uid)?.turn.isDue !== true;
  }

  /** Writes until `signal` aborts. Rejects never. */
  async run(signal: AbortSignal): Promise<void> {
    const { api } = this.#options;
    if (api === undefined) return;
    const writing = Array.from({ length: lanes }, async () => this.#lane(api, signal));
    await Promise.all([this.#batches(signal), ...writing]);
  }

  #keep(pod: Pod, status: PodStatus): Kept {
    const { meter } = this.#options;
    for (const { type, exitCode } of newEndings(this.current(pod), status)) {
      meter?.containerEnded(type, exitCode);
    }
    return this.#statuses.keep(pod, status);
  }

  #touch({ turn }: KeptStatus): void {
    turn.changed();
    this.#waiting.abort();
  }

  /** What others have changed is to be written again. */
  async #batches(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#options.clock.sleep(batchMs, signal);
      for (const entry of this.#statuses.all) {
        if (entry.turn.isDue || !this.#isOverwritten(entry)) continue;
        entry.seen = undefined;
        this.#touch(entry);
      }
    }
  }

  /** Compares once what is kept with what the API has; most pods stay as they are for days. */
  #isOverwritten(entry: KeptStatus): boolean {
    const { seen, status, isTerminated } = entry;
    if (seen === undefined) return false;
    const now = [seen, status, isTerminated];
    const before = this.#compared.get(entry);
    if (before !== undefined && now.every((each, at) => each === before[at])) return false;
    if (statusPatch(seen, toldStatus(seen, status, isTerminated)) !== undefined) return true;
    this.#compared.set(entry, now);
    return false;
  }

  async #lane(api: PodObjectApi, signal: AbortSignal): Promise<void> {
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
  #next(): { readonly entry?: KeptStatus; readonly waitMs: number } {
    const nowMs = this.#options.clock.monotonic();
    let waitMs = batchMs;
    let first: KeptStatus | undefined;
    for (const entry of this.#statuses.all) {
      const { notBeforeMs, changedAtMs } = entry.turn;
      if (notBeforeMs === undefined) continue;
      waitMs = Math.min(waitMs, notBeforeMs - nowMs);
      if (notBeforeMs > nowMs) continue;
      if (first === undefined || changedAtMs < first.turn.changedAtMs) first = entry;
    }
    return first === undefined ? { waitMs } : { entry: first, waitMs: 0 };
  }

  async #attempt(api: PodObjectApi, entry: KeptStatus, signal: AbortSignal): Promise<void> {
    const outcome = await entry.turn.attempt(async () => this.#write(api, entry, signal));
    if (outcome.kind === 'written') {
      this.#options.meter?.statusWritten(outcome.afterMs / 1000);
      this.#told.delete(entry);
    } else if (!signal.aborted) this.#failed(entry, outcome.error, outcome.failures);
  }

  async #write(api: PodObjectApi, entry: KeptStatus, signal: AbortSignal): Promise<void> {
    const { mirror, isListed, log } = this.#options;
    const { pod } = entry;
    const { uid } = (isStaticPod(pod) ? mirror(pod) : pod)?.metadata ?? {};
    if (!(await writeStatus(entry, { api, uid, isListed }, signal))) return;
    entry.isDeleted = true;
    log.info({ pod: podText(pod) }, `pod ${podText(pod)} is deleted in the API`);
  }

  #failed(entry: KeptStatus, error: unknown, failures: number): void {
    const { log } = this.#options;
    const reason = errorText(error);
    const text = `status of ${podText(entry.pod)} is not written yet: ${reason}`;
    const fields = { pod: podText(entry.pod), failures };
    // the same words again and again are for those who look closely
    if (reason === this.#told.get(entry) || isForAMoment(error, failures)) log.debug(fields, text);
    else {
      log.warn(fields, text);
      this.#told.set(entry, reason);
    }
  }
}

function isLeaving({ metadata }: Pod): boolean {
  return metadata.deletionTimestamp !== undefined;
}

/** The node authoriser learns of a new pod, and the source of one that has gone, a moment later than this writer. */
function isForAMoment(error: unknown, failures: number): boolean {
  return error instanceof RefusedError && error.status === 403 && failures < 4;
}
