import { isSidecar } from '../pod/container.ts';
import type { Container } from '../pod/container.ts';
import type { ContainerStatus, PodPhase } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import type { ContainerStatuses } from './container-status.ts';
import { isStaticPod } from '../sources/sourced-pod.ts';
import { mayRestart } from './may-restart.ts';

/** Whether a phase is the last. */
export function isTerminal(phase: PodPhase | undefined): phase is 'Succeeded' | 'Failed' {
  return phase === 'Succeeded' || phase === 'Failed';
}

/** The phase that containers make (Kubernetes: Pod Lifecycle, Pod phase). `isEnding`: nothing of the pod will be started any more. */
export function phaseOf(pod: Pod, statuses: ContainerStatuses, isEnding: boolean): PodPhase {
  const init = initialisation(pod, statuses);
  if (init === 'failed') return 'Failed';
  if (init === 'pending') return 'Pending';
  const counts = count(pod, statuses.regular);
  if (counts.waiting > 0) return 'Pending';
  if (counts.running > 0) return 'Running';
  if (counts.stopped === 0) return 'Pending';
  const ended = counts.stopped === counts.succeeded ? 'Succeeded' : 'Failed';
  if (isEnding && !isStaticPod(pod)) return ended;
  return counts.restartable > 0 ? 'Running' : ended;
}

function initialisation(
  pod: Pod,
  { init, regular }: ContainerStatuses,
): 'failed' | 'pending' | 'done' {
  const begun = regular.some(
    ({ state }) => state.running !== undefined || state.terminated !== undefined,
  );
  let result: 'pending' | 'done' = 'done';
  for (const container of pod.spec.initContainers) {
    const status = init.find(({ name }) => name === container.name);
    const step = isSidecar(container)
      ? begun || status?.started === true
      : initStep(pod, container, status);
    if (step === 'failed') return 'failed';
    if (!step) result = 'pending';
  }
  return result;
}

/** Whether an ordinary init container is done. */
function initStep(
  pod: Pod,
  container: Container,
  status: ContainerStatus | undefined,
): boolean | 'failed' {
  const ended = status?.state.terminated ?? status?.lastState.terminated;
  if (ended === undefined || status?.state.running !== undefined) return false;
  if (ended.exitCode !== 0) return mayRestart(pod, container, ended.exitCode) ? false : 'failed';
  return status?.state.terminated !== undefined;
}

interface Counts {
  /** Never run yet. */
  readonly waiting: number;
  readonly running: number;
  /** In crash-loop back-off, too. */
  readonly stopped: number;
  readonly succeeded: number;
  readonly restartable: number;
}

function count(pod: Pod, statuses: readonly ContainerStatus[]): Counts {
  let [waiting, running, stopped, succeeded, restartable] = [0, 0, 0, 0, 0];
  for (const container of pod.spec.containers) {
    const status = statuses.find(({ name }) => name === container.name);
    const ended = status?.state.terminated ?? status?.lastState.terminated;
    if (status?.state.running !== undefined) running += 1;
    else if (ended === undefined) waiting += 1;
    else {
      stopped += 1;
      if (ended.exitCode === 0) succeeded += 1;
      if (mayRestart(pod, container, ended.exitCode)) restartable += 1;
    }
  }
  return { waiting, running, stopped, succeeded, restartable };
}
