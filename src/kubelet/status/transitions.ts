import type { ContainerStatus, PodStatus } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import { isTerminal } from './phase.ts';
import { mayRestart } from './may-restart.ts';

/**
 * Why a status cannot follow another: a container that has ended for good, and of which nothing newer is told, neither waits nor
 * runs. undefined: it can.
 */
export function illegalTransition(
  pod: Pod,
  before: PodStatus,
  after: PodStatus,
): string | undefined {
  if (pod.spec.restartPolicy === 'Always') return undefined;
  const was = statusesOf(before);
  const is = statusesOf(after);
  for (const container of [...pod.spec.initContainers, ...pod.spec.containers]) {
    const now = is.get(container.name);
    const old = was.get(container.name);
    const end = old?.state.terminated;
    if (now === undefined || old === undefined || end === undefined) continue;
    if (mayRestart(pod, container, end.exitCode) || !isRevived(old, now)) continue;
    return `container ${container.name} has ended for good (exit code ${end.exitCode}), and is said to be ${Object.keys(now.state).join()}`;
  }
  return undefined;
}

function statusesOf(status: PodStatus): ReadonlyMap<string, ContainerStatus> {
  const { initContainerStatuses: init = [], containerStatuses: regular = [] } = status;
  const all = [...init, ...regular, ...(status.ephemeralContainerStatuses ?? [])];
  return new Map(all.map((one) => [one.name, one]));
}

function isRevived(old: ContainerStatus, now: ContainerStatus): boolean {
  if (now.state.terminated !== undefined || now.restartCount > old.restartCount) return false;
  return now.state.running === undefined || now.containerID === old.containerID;
}

/** What may be told of a pod now, of which the API has `api`: the last phase only when nothing runs, and none after the last one. */
export function toldStatus(api: PodStatus, status: PodStatus, isStopped: boolean): PodStatus {
  const { phase } = status;
  if (isTerminal(api.phase)) return phase === api.phase ? status : withPhaseOf(api, status);
  const isEarly = isTerminal(phase) && !isStopped && somethingRuns(status);
  return isEarly ? withPhaseOf({ phase: 'Running', ...api }, status) : status;
}

function withPhaseOf({ phase, reason, message }: PodStatus, status: PodStatus): PodStatus {
  const { phase: _phase, reason: _reason, message: _message, ...rest } = status;
  return {
    ...rest,
    ...(phase === undefined ? {} : { phase }),
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
  };
}

function somethingRuns(status: PodStatus): boolean {
  return [...statusesOf(status).values()].some(({ state }) => state.running !== undefined);
}
