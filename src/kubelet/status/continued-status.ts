import type { ContainerStatus, PodStatus } from '../pod/pod-status.ts';
import { isOwnCondition } from './conditions.ts';

/**
 * A static pod's status, after what its mirror says of it: the agent was started anew while its containers ran on, and the API server was
 * heard of later than the file. The pod began when it began, conditions have changed when they changed, and a container is as ready as it
 * was told to be; what is to be derived of it now goes on from there.
 */
export function continuedStatus(status: PodStatus, before: PodStatus): PodStatus {
  const startTime = earlier(status.startTime, before.startTime);
  const conditions = (before.conditions ?? []).filter(isOwnCondition);
  const told = new Set(conditions.map(({ type }) => type));
  const others = (status.conditions ?? []).filter(({ type }) => !told.has(type));
  const { initContainerStatuses: init, containerStatuses: regular } = status;
  return {
    ...status,
    conditions: [...conditions, ...others],
    ...(startTime === undefined ? {} : { startTime }),
    ...(init && { initContainerStatuses: goneOn(init, before.initContainerStatuses) }),
    ...(regular && { containerStatuses: goneOn(regular, before.containerStatuses) }),
  };
}

function earlier(one: string | undefined, other: string | undefined): string | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return Date.parse(other) < Date.parse(one) ? other : one;
}

/** Of the very same containers alone. */
function goneOn(
  now: readonly ContainerStatus[],
  before: readonly ContainerStatus[] | undefined,
): readonly ContainerStatus[] {
  return now.map((one) => {
    const old = before?.find(({ containerID }) => containerID === one.containerID);
    if (old === undefined || one.containerID === undefined) return one;
    const lastState = Object.keys(one.lastState).length === 0 ? old.lastState : one.lastState;
    if (one.state.running === undefined) return { ...one, lastState };
    const { ready, started } = old;
    return { ...one, lastState, ready, ...(started === undefined ? {} : { started }) };
  });
}
