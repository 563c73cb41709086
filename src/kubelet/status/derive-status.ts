import type { PodCondition, PodPhase, PodStatus } from '../pod/pod-status.ts';
import type { StatusInput } from './status-input.ts';
import { addressesOf } from './addresses.ts';
import { apiTime } from '../api/api-time.ts';
import { disruption, isDisruption, podConditions, timed } from './conditions.ts';
import { containerStatuses } from './container-status.ts';
import { isTerminal, phaseOf } from './phase.ts';
import { usableSandbox } from '../runtime/pod-actions.ts';
import { qosClassOf } from '../pod/qos.ts';

/** The status of a pod as the API is to have it: from what the runtime has, and from what was said before (`PodStatus`). */
export function derivePodStatus(input: StatusInput): PodStatus {
  const { pod, previous, nowMs } = input;
  const statuses = containerStatuses(input);
  const isEnding = input.worker !== 'syncing';
  const phase = lastingPhase(input, phaseOf(pod, statuses, isEnding));
  const { generation } = pod.metadata;
  const hasSandbox = usableSandbox(pod, input.runtime) !== undefined;
  const conditions = podConditions({
    pod,
    phase,
    statuses,
    hasSandbox,
    previous: previous.conditions ?? [],
    foreign: pod.status.conditions ?? [],
    nowMs,
  });
  return {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    phase,
    conditions: withDisruption(conditions, input),
    ...words(input, phase),
    ...addressesOf(input),
    startTime: previous.startTime ?? firstSeen(input),
    qosClass: previous.qosClass ?? qosClassOf(pod),
    ...(statuses.init.length === 0 ? {} : { initContainerStatuses: statuses.init }),
    containerStatuses: statuses.regular,
    ...(statuses.ephemeral.length === 0 ? {} : { ephemeralContainerStatuses: statuses.ephemeral }),
  };
}

/** One that was ended for the sake of others says so; nothing takes that back. */
function withDisruption(
  conditions: readonly PodCondition[],
  { pod, previous, forced, nowMs }: StatusInput,
): readonly PodCondition[] {
  const before = previous.conditions?.find(isDisruption);
  const isNew = forced?.isDisruption === true && !isTerminal(previous.phase);
  if (before === undefined && !isNew) return conditions;
  const others = conditions.filter(({ type }) => type !== disruption.type);
  if (before !== undefined || forced === undefined) return [...others, ...(before ? [before] : [])];
  const verdict = { status: 'True', reason: disruption.reason, message: forced.message } as const;
  const { generation } = pod.metadata;
  return [...others, timed(disruption.type, verdict, previous.conditions ?? [], nowMs, generation)];
}

/** Where nobody has said when a pod began, the runtime knows what is left of its beginning. */
function firstSeen({ runtime, nowMs }: StatusInput): string {
  const made = [...(runtime?.sandboxes ?? []), ...(runtime?.containers ?? [])];
  const times = made.map(({ createdAt }) => Number(createdAt / 1_000_000n));
  return apiTime(Math.min(nowMs, ...times.filter((time) => time > 0)));
}

/** What has ended stays as it ended. */
function lastingPhase({ pod, previous, forced }: StatusInput, found: PodPhase): PodPhase {
  const ended = [previous.phase, pod.status.phase].find(isTerminal);
  return ended ?? (forced === undefined ? found : 'Failed');
}

/** Reason and message hold for as long as the phase does. */
function words({ previous, forced }: StatusInput, phase: PodPhase): Partial<PodStatus> {
  const { reason, message } =
    forced !== undefined && !isTerminal(previous.phase)
      ? forced
      : previous.phase === phase
        ? previous
        : {};
  return {
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
  };
}
