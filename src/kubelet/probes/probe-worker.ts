import type { Clock } from '../../clock.ts';
import { isSidecar } from '../pod/container.ts';
import type { Container, Probe } from '../pod/container.ts';
import type { ContainerStatus, PodStatus } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import type { PodEvents } from '../ports/pod-events.ts';
import type { ProbeResult, ProbeType } from '../ports/probes.ts';
import type { ProbeOutcome } from './outcome.ts';
import type { ProbeResultTable } from './results.ts';

/** What the worker is told of its pod, with each sync. */
export interface ProbedPod {
  readonly pod: Pod;
  readonly status: PodStatus;
}

/** What all workers share. */
export interface ProbeSurroundings {
  readonly clock: Clock;
  /** [0, 1). */
  readonly random: () => number;
  /** Of this process, on the clock's monotonic scale, and as a date. */
  readonly startedAt: { readonly monotonicMs: number; readonly dateMs: number };
  readonly events: PodEvents;
  readonly results: ProbeResultTable;
  /** A published result changed: the pod has to be synced. */
  readonly onChange: (uid: string, type: ProbeType) => void;
  readonly onOutcome: (worker: ProbeWorker, outcome: ProbeOutcome, seconds: number) => void;
  readonly execute: (
    probe: Probe,
    at: ProbedPod & { readonly container: Container; readonly containerId: string },
    signal: AbortSignal,
  ) => Promise<ProbeOutcome>;
}

const titles = { liveness: 'Liveness', readiness: 'Readiness', startup: 'Startup' } as const;
/** Tries in one execution; only errors are tried again. */
const maxTries = 3;
/** A container that started this long before the agent has been probed by another one: its old result stays. */
const adoptedAfterMs = 10_000;

/** `Liveness`, as Events and metrics have it. */
export function probeTitle(type: ProbeType): string {
  return titles[type];
}

/**
 * Workers wake at multiples of this, so that all whose time has come work together: what one probe has brought into the caches of the processor,
 * the next finds there. Ten together take a third of what they take one by one (docs/performance.md, "The kubelet"). No probe comes before its time.
 */
const beatMs = 500;

/** Probes one container for one thing, over all its restarts (Kubernetes: Pod Lifecycle, Container probes). */
export class ProbeWorker {
  readonly uid: string;
  readonly container: Container;
  readonly type: ProbeType;
  readonly #probe: Probe;
  readonly #around: ProbeSurroundings;
  readonly #stop = new AbortController();
  #latest: ProbedPod;
  #wake = new AbortController();
  #triggered = false;
  #containerId: string | undefined;
  #isHeld = false;
  #last: ProbeResult | undefined;
  #run = 0;

  constructor(
    latest: ProbedPod,
    container: Container,
    type: ProbeType,
    probe: Probe,
    around: ProbeSurroundings,
  ) {
    this.uid = latest.pod.metadata.uid;
    this.container = container;
    this.type = type;
    this.#probe = probe;
    this.#around = around;
    this.#latest = latest;
  }

  get metadata(): Pod['metadata'] {
    return this.#latest.pod.metadata;
  }

  update(latest: ProbedPod): void {
    this.#latest = latest;
  }

  /** Probes now instead of when the period is over. */
  trigger(): void {
    this.#triggered = true;
    this.#wake.abort();
  }

  stop(): void {
    this.#stop.abort();
    this.#wake.abort();
  }

  /** Until the worker has nothing more to do, or is stopped. */
  async work(): Promise<void> {
    const { clock, random, startedAt } = this.#around;
    const periodMs = this.#probe.periodSeconds * 1000;
    // After a restart of the agent all workers start at once.
    if (clock.monotonic() - startedAt.monotonicMs < periodMs)
      await this.#pauseUntil(onBeat(clock.monotonic() + random() * periodMs));
    let nextMs = clock.monotonic();
    while (!this.#stop.signal.aborted) {
      if (!(await this.#iterate())) return;
      // Moments missed while a probe took longer are not made up for.
      nextMs += Math.max(1, Math.ceil((clock.monotonic() - nextMs) / periodMs)) * periodMs;
      nextMs = onBeat(nextMs);
      if (await this.#pauseUntil(nextMs)) nextMs = clock.monotonic();
    }
  }

  /** Says whether it was ended early. */
  async #pauseUntil(momentMs: number): Promise<boolean> {
    const { clock } = this.#around;
    if (!this.#triggered && !this.#stop.signal.aborted) {
      this.#wake = new AbortController();
      await clock.sleep(momentMs - clock.monotonic(), this.#wake.signal);
    }
    const early = this.#triggered;
    this.#triggered = false;
    return early;
  }

  /** One look, and one probe where one is due. False: there is nothing more to do. */
  async #iterate(): Promise<boolean> {
    const { pod, status } = this.#latest;
    if (status.phase === 'Failed' || status.phase === 'Succeeded') return false;
    const found = statusOf(status, this.container.name);
    const containerId = found?.containerID;
    if (found === undefined || containerId === undefined) return true;
    if (this.#containerId !== containerId) this.#begin(containerId, found);
    if (this.#isHeld) return true;
    if (found.state.running === undefined) return this.#notRunning(containerId, found);
    if (pod.metadata.deletionTimestamp !== undefined && this.type !== 'readiness') {
      this.#set(containerId, 'success');
      return false;
    }
    if (!this.#isDue(found)) return true;
    await this.#execute(containerId);
    return true;
  }

  #begin(containerId: string, found: ContainerStatus): void {
    this.#containerId = containerId;
    this.#isHeld = false;
    const { uid, container, type } = this;
    // Already known: another worker, that ended since, has said it.
    if (this.#around.results.result(uid, containerId, type) !== undefined) return;
    if (type === 'startup') {
      // It is not probed any more, and what comes after the sidecar waits for this, also where another agent has probed it.
      const hasStarted = isSidecar(container) && found.started === true;
      if (hasStarted && this.#set(containerId, 'success')) this.#around.onChange(uid, type);
      return;
    }
    if (this.#isAdopted(found)) return;
    this.#set(containerId, type === 'liveness' ? 'success' : 'failure');
  }

  #isAdopted(found: ContainerStatus): boolean {
    const startedAt = found.state.running?.startedAt;
    if (startedAt === undefined) return false;
    return this.#around.startedAt.dateMs - Date.parse(startedAt) > adoptedAfterMs;
  }

  #notRunning(containerId: string, found: ContainerStatus): boolean {
    this.#set(containerId, 'failure');
    const ended = found.state.terminated;
    if (ended === undefined || isSidecar(this.container)) return true;
    const policy = this.container.restartPolicy ?? this.#latest.pod.spec.restartPolicy;
    return !(policy === 'Never' || (policy === 'OnFailure' && ended.exitCode === 0));
  }

  #isDue(found: ContainerStatus): boolean {
    const startedAt = Date.parse(found.state.running?.startedAt ?? '');
    const ranSeconds = Math.floor((this.#around.clock.now() - startedAt) / 1000);
    if (ranSeconds < this.#probe.initialDelaySeconds) return false;
    return (this.type === 'startup') !== (found.started === true);
  }

  async #execute(containerId: string): Promise<void> {
    const outcome = await this.#outcome(containerId);
    if (outcome === undefined) return;
    this.#tell(outcome);
    if (outcome.kind === 'error') return;
    const result = outcome.kind === 'failure' ? 'failure' : 'success';
    if (this.#last === result) this.#run += 1;
    else this.#run = 1;
    this.#last = result;
    const { failureThreshold, successThreshold } = this.#probe;
    if (this.#run < (result === 'failure' ? failureThreshold : successThreshold)) return;
    if (this.type === 'startup' || (this.type === 'liveness' && result === 'failure')) {
      this.#isHeld = true;
      this.#run = 0;
    }
    if (this.#set(containerId, result)) this.#around.onChange(this.uid, this.type);
  }

  /** undefined: stopped meanwhile. */
  async #outcome(containerId: string): Promise<ProbeOutcome | undefined> {
    const { execute, clock, onOutcome } = this.#around;
    let outcome: ProbeOutcome | undefined;
    for (let tries = 0; tries < maxTries; tries++) {
      const at = { ...this.#latest, container: this.container, containerId };
      const beganMs = clock.monotonic();
      outcome = await execute(this.#probe, at, this.#stop.signal);
      if (this.#stop.signal.aborted) return undefined;
      onOutcome(this, outcome, (clock.monotonic() - beganMs) / 1000);
      if (outcome.kind !== 'error') break;
    }
    return outcome;
  }

  #tell({ kind, output }: ProbeOutcome): void {
    if (kind === 'success') return;
    const title = probeTitle(this.type);
    const message = {
      warning: `${title} probe warning: ${output}`,
      failure: `${title} probe failed: ${output}`,
      error: `${title} probe errored and resulted in unknown state: ${output}`,
    }[kind];
    const reason = kind === 'warning' ? 'ProbeWarning' : 'Unhealthy';
    this.#around.events.tell(this.#latest.pod, {
      type: 'Warning',
      reason,
      message,
      container: this.container.name,
    });
  }

  #set(containerId: string, result: ProbeResult): boolean {
    const { uid, container, type } = this;
    return this.#around.results.set(uid, container.name, type, { containerId, result });
  }
}

function onBeat(momentMs: number): number {
  return Math.ceil(momentMs / beatMs) * beatMs;
}

function statusOf(status: PodStatus, name: string): ContainerStatus | undefined {
  const all = [...(status.containerStatuses ?? []), ...(status.initContainerStatuses ?? [])];
  return all.find((each) => each.name === name);
}
