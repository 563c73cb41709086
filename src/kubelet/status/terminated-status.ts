import type {
  ContainerStatus,
  PodCondition,
  PodStatus,
  TerminatedState,
} from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import { endedVerdict, timed } from './conditions.ts';
import { hasStarted } from './container-state.ts';
import { isTerminal } from './phase.ts';
import { isStaticPod } from '../sources/sourced-pod.ts';

const notLocated: TerminatedState = {
  exitCode: 137,
  reason: 'ContainerStatusUnknown',
  message: 'The container could not be located when the pod was terminated',
};

/**
 * The last status of a pod of which nothing runs any more: what has no end is given one, as far as the pod had begun, and a
 * pod that was none of a file has failed where it did not succeed.
 */
export function terminatedStatus(pod: Pod, status: PodStatus, nowMs: number): PodStatus {
  const init = status.initContainerStatuses ?? [];
  const regular = status.containerStatuses ?? [];
  const lastBegun = init.findLastIndex(hasStarted);
  const phase = isTerminal(status.phase) || isStaticPod(pod) ? status.phase : 'Failed';
  return {
    ...status,
    ...(phase === undefined ? {} : { phase }),
    conditions: isTerminal(phase)
      ? ended(pod, status.conditions ?? [], phase, nowMs)
      : (status.conditions ?? []),
    ...(init.length === 0
      ? {}
      : { initContainerStatuses: init.map((one, at) => (at <= lastBegun ? located(one) : one)) }),
    containerStatuses: hasInitialized(init, regular) ? regular.map(located) : regular,
  };
}

/** Ready and ContainersReady of a pod that has ended. */
export function ended(
  pod: Pod,
  conditions: readonly PodCondition[],
  phase: 'Succeeded' | 'Failed',
  nowMs: number,
): readonly PodCondition[] {
  const verdict = endedVerdict(phase);
  return conditions.map((condition) =>
    condition.type === 'Ready' || condition.type === 'ContainersReady'
      ? timed(condition.type, verdict, conditions, nowMs, pod.metadata.generation)
      : condition,
  );
}

function hasInitialized(
  init: readonly ContainerStatus[],
  regular: readonly ContainerStatus[],
): boolean {
  const last = init.at(-1);
  if (last === undefined) return true;
  if (regular.some(({ state }) => state.waiting === undefined)) return true;
  return last.ready || last.started === true || last.state.terminated?.exitCode === 0;
}

function located(status: ContainerStatus): ContainerStatus {
  if (status.state.terminated !== undefined) return status;
  return { ...status, ready: false, started: false, state: { terminated: notLocated } };
}
