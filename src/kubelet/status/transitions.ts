import type { ContainerStatus, Pod, PodStatus } from '../pod/pod.ts';
import { isTerminal } from './phase.ts';
import { mayRestart } from './restarts.ts';

/**
 * Why a status cannot follow another (spec 6.5): a container that has ended for good, and of which nothing newer is told, neither waits nor
 * runs. undefined: it can.
 */
export function illegalTransition(
  pod: Pod,
  before: PodStatus,
  after: PodStatus,
): string | undefined {
  const { initContainers, containers } = pod.spec;
  const was = [...(before.initContainerStatuses ?? []), ...(before.containerStatuses ?? [])];
  const is = [...(after.initContainerStatuses ?? []), ...(after.containerStatuses ?? [])];
  if (pod.spec.restartPolicy === 'Always') return undefined;
  for (const container of [...initContainers, ...containers]) {
    const [old, now] = [was, is].map((list) => list.find(({ name }) => name === container.name));
    const end = old?.state.terminated;
    if (old === undefined || now === undefined || end === undefined) continue;
    if (mayRestart(pod, container, end.exitCode) || !isRevived(old, now)) continue;
    return `container ${container.name} has ended for good (exit code ${end.exitCode}), and is said to be ${Object.keys(now.state).join()}`;
  }
  return undefined;
}

function isRevived(old: ContainerStatus, now: ContainerStatus): boolean {
  if (now.state.terminated !== undefined || now.restartCount > old.restartCount) return false;
  return now.state.running === undefined || now.containerID === old.containerID;
}

/** What may be told of a pod now, of which the API has `api`: the last phase only when nothing runs, and none after the last one. */
export function toldStatus(api: PodStatus, status: PodStatus, isStopped: boolean): PodStatus {
  const { phase, reason, message, ...rest } = status;
  if (isTerminal(api.phase) && phase !== api.phase) return withPhase(rest, api);
  if (isTerminal(phase) && !isTerminal(api.phase) && !isStopped && somethingRuns(status)) {
    return withPhase(rest, { phase: 'Running', ...api });
  }
  return status;
}

function withPhase(rest: PodStatus, { phase, reason, message }: PodStatus): PodStatus {
  return {
    ...rest,
    ...(phase === undefined ? {} : { phase }),
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
  };
}

function somethingRuns({ initContainerStatuses, containerStatuses }: PodStatus): boolean {
  return [...(initContainerStatuses ?? []), ...(containerStatuses ?? [])].some(
    ({ state }) => state.running !== undefined,
  );
}
