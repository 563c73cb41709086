import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import { isUnreachable } from '../cri/cri-error.ts';
import type { Pod } from '../pod/pod.ts';
import type { PodEvents } from '../ports/pod-events.ts';
import type { PodMeter } from '../ports/pod-meter.ts';
import type { ForcedEnd } from '../ports/pod-status.ts';
import { seenAtMs } from '../sources/sourced-pod.ts';
import { StartError } from '../ports/start-error.ts';
import type { Ending } from './end-pod.ts';
import { newMemory } from './pod-surroundings.ts';
import type { PodMemory } from './pod-surroundings.ts';
import type { Synced } from './sync-pod.ts';

/** Where a pod is in its life. Never backwards. */
export type WorkerState =
  | { readonly kind: 'syncing' }
  /** In seconds; it only ever gets less. */
  | { readonly kind: 'terminating'; readonly graceSeconds: number }
  /** Nothing runs any more; what it had is given back. */
  | { readonly kind: 'terminated' }
  /** Nothing is left to be done. */
  | { readonly kind: 'finished' };

/** What is done with a pod; each rejects where it has to be tried again. */
export interface PodOperations {
  sync(pod: Pod, memory: PodMemory, signal: AbortSignal): Promise<Synced>;
  terminate(
    ending: Ending,
    graceSeconds: number,
    memory: PodMemory,
    signal: AbortSignal,
  ): Promise<void>;
  finish(ending: Ending, memory: PodMemory, signal: AbortSignal): Promise<void>;
}

export interface WorkerSurroundings {
  readonly operations: PodOperations;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: PodEvents;
  /** From 0 to 1. */
  readonly random: () => number;
  /** `syncFrequency`. */
  readonly syncFrequencyMs: number;
  /** Whether another pod with the same name has to end before; asked before the first sync alone. */
  readonly mayStart: (pod: Pod) => boolean;
  readonly finished: (uid: string) => void;
  readonly meter?: Pick<PodMeter, 'worked' | 'workerStarted' | 'orphaned' | 'restarted'>;
}

const afterErrorMs = 10_000;
const withoutNetworkMs = 1000;
/**
 * Pods with nothing to do are looked at together, as they are probed: what one has brought into the processor's caches serves the next. Beats are
 * so far apart at the most, counted from a moment of this process's own, so that nodes have none in common.
 */
const longestBeatMs = 5000;
const leastGraceSeconds = 1;
/** More are a quarrel with the runtime, and no progress. */
const mostInARow = 20;
/** What only the runtime knows of. */
const orphanGraceSeconds = 1;

/** Takes one pod through its life: one operation at a time, always by the newest that is known of it. */
export class PodWorker {
  readonly uid: string;
  readonly #around: WorkerSurroundings;
  readonly #memory = newMemory();
  readonly #stopped = new AbortController();
  readonly #running: Promise<void>;
  #pod: Pod | undefined;
  #state: WorkerState;
  #hasStarted = false;
  /** Syncs that had something to do, one after the other. */
  #inARow = 0;
  /** When the next operation is due, by the wall clock; 0: something has changed. */
  #dueMs = 0;
  #wake = new AbortController();
  #operation = new AbortController();

  /** `of`: a pod, or the UID of one that no source has. */
  constructor(of: Pod | { readonly orphan: string }, around: WorkerSurroundings) {
    this.#around = around;
    if ('orphan' in of) {
      this.uid = of.orphan;
      this.#state = { kind: 'terminating', graceSeconds: orphanGraceSeconds };
    } else {
      this.uid = of.metadata.uid;
      this.#state = { kind: 'syncing' };
      this.#take(of);
    }
    this.#running = this.#run();
  }

  get state(): WorkerState {
    return this.#state;
  }

  /** The newest that is known of it; undefined: no source ever had it. */
  get pod(): Pod | undefined {
    return this.#pod;
  }

  /** Whether containers of it may have been started by this worker, or may be yet. */
  get hasStarted(): boolean {
    return this.#hasStarted;
  }

  /** The pod's object is another than before. */
  update(pod: Pod): void {
    this.#take(pod);
    this.wake();
  }

  /** The pod has to end: its source has it no more, or it is evicted, rejected (`forced`). */
  end(
    options: {
      readonly graceSeconds?: number;
      readonly forced?: ForcedEnd;
    } = {},
  ): void {
    if (options.forced !== undefined) this.#memory.forced ??= options.forced;
    this.#terminate(options.graceSeconds ?? this.#ownGrace());
    this.wake();
  }

  /** Something it depends on has changed: its containers, its probes, its turn. */
  wake(): void {
    this.#dueMs = 0;
    this.#memory.knownAtMs = undefined;
    this.#wake.abort();
  }

  /** Leaves off where it is; its containers run on. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#operation.abort();
    this.#wake.abort();
    await this.#running;
  }

  #take(pod: Pod): void {
    this.#pod = pod;
    const { deletionTimestamp } = pod.metadata;
    const { phase } = pod.status;
    if (deletionTimestamp !== undefined || phase === 'Failed' || phase === 'Succeeded') {
      this.#terminate(this.#ownGrace());
    }
  }

  #ownGrace(): number {
    const { metadata, spec } = this.#pod ?? {};
    return metadata?.deletionGracePeriodSeconds ?? spec?.terminationGracePeriodSeconds ?? 0;
  }

  /** Less grace than before interrupts what is under way. */
  #terminate(seconds: number): void {
    const graceSeconds = Math.max(leastGraceSeconds, seconds);
    switch (this.#state.kind) {
      case 'syncing':
        this.#enter({ kind: 'terminating', graceSeconds });
        this.#operation.abort();
        return;
      case 'terminating':
        if (graceSeconds >= this.#state.graceSeconds) return;
        this.#enter({ kind: 'terminating', graceSeconds });
        this.#operation.abort();
        return;
      case 'terminated':
      case 'finished':
        return;
      default:
        this.#state satisfies never;
    }
  }

  #enter(state: WorkerState): void {
    this.#state = state;
    this.#dueMs = 0;
  }

  async #run(): Promise<void> {
    // nothing is done while it is being made
    await Promise.resolve();
    while (!this.#stopped.signal.aborted && this.#state.kind !== 'finished') {
      if (await this.#due()) await this.#step();
    }
  }

  /** Whether an operation is due now; otherwise waits until one may be. */
  async #due(): Promise<boolean> {
    const waitMs = this.#dueMs - this.#around.clock.now();
    if (waitMs <= 0) return true;
    this.#wake = new AbortController();
    await this.#around.clock.sleep(waitMs, this.#wake.signal);
    return false;
  }

  async #step(): Promise<void> {
    const { clock, log, events, meter } = this.#around;
    this.#operation = new AbortController();
    const { signal } = this.#operation;
    const before = this.#state;
    // what comes while it is under way makes the next one due
    this.#dueMs = Infinity;
    const beganMs = clock.monotonic();
    try {
      const nextMs = await this.#operate(before, signal);
      if (this.#state === before) this.#dueMs = Math.min(this.#dueMs, nextMs);
      const operation = before.kind === 'syncing' ? 'sync' : 'kill';
      meter?.worked(operation, (clock.monotonic() - beganMs) / 1000);
    } catch (thrown) {
      if (signal.aborted || this.#state !== before) return;
      const error = errorText(thrown);
      log.warn(
        { pod: this.#pod?.metadata.name, uid: this.uid, error },
        `a pod ${words[before.kind]}`,
      );
      if (this.#pod !== undefined && before.kind === 'syncing') {
        const message = `Error syncing pod, skipping: ${error}`;
        if (!isTold(thrown))
          events.tell(this.#pod, { type: 'Warning', reason: 'FailedSync', message });
      }
      this.#dueMs = Math.min(this.#dueMs, clock.now() + this.#jittered(afterErrorMs));
    }
  }

  /** When the next of the same state is due. */
  async #operate(state: WorkerState, signal: AbortSignal): Promise<number> {
    const { operations, finished } = this.#around;
    const ending = { uid: this.uid, pod: this.#pod };
    switch (state.kind) {
      case 'syncing':
        return this.#sync(signal);
      case 'terminating':
        await operations.terminate(ending, state.graceSeconds, this.#memory, signal);
        this.#enter({ kind: 'terminated' });
        return 0;
      case 'terminated':
        await operations.finish(ending, this.#memory, signal);
        this.#enter({ kind: 'finished' });
        finished(this.uid);
        return 0;
      case 'finished':
        return Infinity;
      default:
        return state satisfies never;
    }
  }

  async #sync(signal: AbortSignal): Promise<number> {
    const { operations, clock, mayStart } = this.#around;
    const pod = this.#pod;
    if (pod === undefined) return Infinity;
    if (!this.#hasStarted && !mayStart(pod)) return clock.now() + this.#jittered(afterErrorMs);
    this.#noteStart(pod);
    const synced = await operations.sync(pod, this.#memory, signal);
    const isQuiet = synced.kind === 'settled' && this.#dueMs > 0;
    this.#memory.knownAtMs = isQuiet ? clock.monotonic() : undefined;
    this.#inARow = synced.kind === 'again' ? this.#inARow + 1 : 0;
    if (synced.kind === 'ended') this.#terminate(this.#ownGrace());
    return this.#afterSync(synced);
  }

  #noteStart(pod: Pod): void {
    const { clock, meter } = this.#around;
    const seenMs = this.#hasStarted ? undefined : seenAtMs(pod);
    if (seenMs !== undefined) meter?.workerStarted(Math.max(0, clock.now() - seenMs) / 1000);
    this.#hasStarted = true;
  }

  #afterSync(synced: Synced): number {
    const now = this.#around.clock.now();
    switch (synced.kind) {
      case 'ended':
        return 0;
      case 'again':
        return this.#inARow < mostInARow ? 0 : now + this.#jittered(withoutNetworkMs);
      case 'noNetwork':
        return now + this.#jittered(withoutNetworkMs);
      case 'failed':
        return Math.min(synced.atMs ?? Infinity, now + this.#jittered(afterErrorMs));
      case 'settled': {
        const waitMs = this.#jittered(this.#around.syncFrequencyMs);
        return Math.min(synced.atMs ?? Infinity, now + this.#untilBeat(waitMs));
      }
      default:
        return synced satisfies never;
    }
  }

  /** As long, and on to the next beat. */
  #untilBeat(waitMs: number): number {
    const { clock, syncFrequencyMs } = this.#around;
    const beatMs = Math.min(longestBeatMs, syncFrequencyMs / 10);
    const beganMs = clock.monotonic();
    return Math.ceil((beganMs + waitMs) / beatMs) * beatMs - beganMs;
  }

  #jittered(ms: number): number {
    return ms * (1 + this.#around.random() / 2);
  }
}

const words = {
  syncing: 'could not be brought to what its spec says; it is tried again',
  terminating: 'could not be ended; it is tried again',
  terminated: 'could not be cleaned up; it is tried again',
  finished: '',
} as const;

/** What has an Event of its own needs no other; that the runtime is away is no matter of each pod. */
function isTold(thrown: unknown): boolean {
  return thrown instanceof StartError || isUnreachable(thrown);
}
