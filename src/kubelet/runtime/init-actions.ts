import { isSidecar } from '../pod/container.ts';
import type { Container } from '../pod/container.ts';
import { failedProbe, isChanged, startOrWait } from './pod-action.ts';
import type { ActionsInput, PodAction } from './pod-action.ts';
import { newest } from './runtime-pod.ts';
import type { RuntimeContainer, RuntimePod, RuntimeSandbox } from './runtime-pod.ts';

/** How far a pod's initialisation is, and what it needs next (Kubernetes: Init Containers, Sidecar Containers). */
export interface InitActions {
  /** Regular containers may start. */
  readonly done: boolean;
  /** An init container failed, and the pod with it. */
  readonly failed: boolean;
  readonly kills: readonly PodAction[];
  readonly starts: readonly PodAction[];
}

/**
 * The newest init container in order that left a trace decides; sidecars before it are kept running. Once a regular container is
 * there, init containers are past, even where nothing of them is left. Only what ran in this sandbox counts. Of `input.runtime` those
 * containers are taken out that were made and never started; that there was a regular one among them is `hasRegular`.
 */
export function initActions(
  input: ActionsInput,
  sandbox: RuntimeSandbox,
  hasRegular: boolean,
): InitActions {
  const init = input.pod.spec.initContainers;
  const runtime = within(input.runtime, sandbox);
  const steps = new Steps(input, runtime);
  if (init.length === 0) return steps.end(true);
  if (hasRegular) {
    for (const container of init) if (isSidecar(container)) steps.keep(container);
    return steps.end(true);
  }
  const at = init.findLastIndex(({ name }) => newest(runtime, name) !== undefined);
  for (const container of init.slice(0, Math.max(at, 0))) {
    if (isSidecar(container)) steps.keep(container);
  }
  const current = init[at];
  if (current !== undefined && !steps.isPast(current)) return steps.end(false);
  const next = init[at + 1];
  if (next === undefined) return steps.end(true);
  steps.start(next);
  return steps.end(false);
}

/** What a pod has in one sandbox. */
export function within(
  runtime: RuntimePod | undefined,
  sandbox: RuntimeSandbox,
): RuntimePod | undefined {
  if (runtime === undefined) return undefined;
  const containers = runtime.containers.filter(({ sandboxId }) => sandboxId === sandbox.id);
  return { ...runtime, containers };
}

/** Of one that has ended. */
export function hasPassed({ exitCode, reason }: RuntimeContainer): boolean {
  return exitCode === 0 && reason !== 'OOMKilled';
}

class Steps {
  readonly #input: ActionsInput;
  readonly #runtime: RuntimePod | undefined;
  readonly #kills: PodAction[] = [];
  readonly #starts: PodAction[] = [];
  #failed = false;

  constructor(input: ActionsInput, runtime: RuntimePod | undefined) {
    this.#input = input;
    this.#runtime = runtime;
  }

  end(done: boolean): InitActions {
    return { done, failed: this.#failed, kills: this.#kills, starts: this.#starts };
  }

  start(container: Container): void {
    const kind = isSidecar(container) ? 'sidecar' : 'init';
    this.#starts.push(startOrWait(this.#input, container, kind));
  }

  /** Keeps a sidecar running; whether it is, and has started up. */
  keep(container: Container): boolean {
    const last = newest(this.#runtime, container.name);
    if (last?.state !== 'running') {
      if (last?.state === 'unknown') this.#killUnknown(last);
      this.start(container);
      return false;
    }
    if (isChanged(container, last)) {
      this.#kill(last, 'changed', `Init container ${last.name} definition changed`);
      this.start(container);
      return false;
    }
    const failed = failedProbe(this.#input.probes, this.#input.pod, last);
    if (failed !== undefined) {
      this.#kill(last, failed, `Init container ${last.name} failed ${failed} probe`);
      this.start(container);
      return false;
    }
    if (container.startupProbe === undefined) return true;
    return (
      this.#input.probes.result(this.#input.pod.metadata.uid, last.id, 'startup') === 'success'
    );
  }

  /** Whether what comes after this one may start; where not, what it needs itself. */
  isPast(container: Container): boolean {
    if (isSidecar(container)) return this.keep(container);
    const last = newest(this.#runtime, container.name);
    if (last === undefined || last.state === 'running') return false;
    if (last.state === 'exited' && hasPassed(last)) return true;
    if (this.#input.pod.spec.restartPolicy === 'Never') {
      this.#failed = true;
      return false;
    }
    if (last.state === 'unknown') this.#killUnknown(last);
    this.start(container);
    return false;
  }

  #killUnknown(container: RuntimeContainer): void {
    const message = 'Init container is in "unknown" state, try killing it before restart';
    this.#kill(container, 'unknown', message);
  }

  #kill(
    container: RuntimeContainer,
    why: 'changed' | 'liveness' | 'startup' | 'unknown',
    message: string,
  ): void {
    this.#kills.push({ kind: 'killContainer', container, why, message });
  }
}
