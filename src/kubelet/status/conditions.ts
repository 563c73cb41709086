import { isSidecar } from '../pod/container.ts';
import type { PodCondition, PodPhase } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import { apiTime } from '../api/api-time.ts';
import { hasStarted } from './container-state.ts';
import type { ContainerStatuses } from './container-status.ts';

/** The conditions that the kubelet alone writes, in the order in which it does. */
export const ownConditions = [
  'PodReadyToStartContainers',
  'Initialized',
  'Ready',
  'ContainersReady',
  'PodScheduled',
] as const;

type OwnCondition = (typeof ownConditions)[number];
/** What a condition says, before it has a time. */
export type Verdict = Pick<PodCondition, 'status' | 'reason' | 'message'>;

/** Whether a condition is one that only the kubelet writes. */
export function isOwnCondition({ type }: Pick<PodCondition, 'type'>): boolean {
  return (ownConditions as readonly string[]).includes(type);
}

/** The condition of a pod that was ended for the sake of others, with the reason that tells by whom; others write it with theirs. */
export const disruption = { type: 'DisruptionTarget', reason: 'TerminationByKubelet' } as const;

/** Whether a condition is that, and from a kubelet. */
export function isDisruption({ type, reason }: Pick<PodCondition, 'type' | 'reason'>): boolean {
  return type === disruption.type && reason === disruption.reason;
}

/** What conditions are made of. */
export interface ConditionsInput {
  readonly pod: Pod;
  readonly phase: PodPhase;
  readonly statuses: ContainerStatuses;
  /** A sandbox that containers can be started in is there. */
  readonly hasSandbox: boolean;
  /** Conditions as they were, those of others too. */
  readonly previous: readonly PodCondition[];
  /** Conditions of others as they are. */
  readonly foreign: readonly PodCondition[];
  readonly nowMs: number;
}

/** All conditions of a pod: the kubelet's own, and after them what others have written (Kubernetes: Pod Lifecycle, Pod conditions). */
export function podConditions(input: ConditionsInput): readonly PodCondition[] {
  const containersReady = containersReadiness(input);
  const verdicts: Readonly<Record<OwnCondition, Verdict>> = {
    PodReadyToStartContainers: { status: input.hasSandbox ? 'True' : 'False' },
    Initialized: initialized(input),
    Ready: containersReady.status === 'True' ? readinessGates(input) : containersReady,
    ContainersReady: containersReady,
    PodScheduled: { status: 'True' },
  };
  const { generation } = input.pod.metadata;
  const own = ownConditions.map((type) =>
    timed(type, verdicts[type], input.previous, input.nowMs, generation),
  );
  return [...own, ...input.foreign.filter((condition) => !isOwnCondition(condition))];
}

/** The condition with the time since when it is so: it changes with the status alone. */
export function timed(
  type: string,
  verdict: Verdict,
  previous: readonly PodCondition[],
  nowMs: number,
  generation: number | undefined,
): PodCondition {
  const before = previous.find((condition) => condition.type === type);
  const isSame = before?.status === verdict.status && before.lastTransitionTime !== undefined;
  return {
    type,
    ...verdict,
    lastProbeTime: null,
    lastTransitionTime: isSame ? before.lastTransitionTime : apiTime(nowMs),
    ...(generation === undefined ? {} : { observedGeneration: generation }),
  };
}

/** What Ready and ContainersReady say of a pod that has ended. */
export function endedVerdict(phase: 'Succeeded' | 'Failed'): Verdict {
  return { status: 'False', reason: phase === 'Succeeded' ? 'PodCompleted' : 'PodFailed' };
}

function containersReadiness({ pod, phase, statuses }: ConditionsInput): Verdict {
  if (phase === 'Succeeded' || phase === 'Failed') return endedVerdict(phase);
  const all = [...statuses.init, ...statuses.regular];
  if (statuses.regular.length === 0) return { status: 'False', reason: 'UnknownContainerStatuses' };
  const sidecars = pod.spec.initContainers.filter(isSidecar);
  const names = [...sidecars, ...pod.spec.containers].map(({ name }) => name);
  const unready = names.filter((name) => all.some((one) => one.name === name && !one.ready));
  const unknown = names.filter((name) => all.every((one) => one.name !== name));
  if (unready.length + unknown.length === 0) return { status: 'True' };
  return incomplete('ContainersNotReady', 'unready', unready, unknown);
}

function incomplete(
  reason: string,
  what: string,
  some: readonly string[],
  unknown: readonly string[],
): Verdict {
  const said = [
    ...(some.length === 0 ? [] : [`containers with ${what} status: [${some.join(' ')}]`]),
    ...(unknown.length === 0 ? [] : [`containers with unknown status: [${unknown.join(' ')}]`]),
  ];
  return { status: 'False', reason, message: said.join(', ') };
}

function readinessGates({ pod, foreign }: ConditionsInput): Verdict {
  const said = (pod.spec.readinessGates ?? []).flatMap(({ conditionType: type }) => {
    const condition = foreign.find((each) => each.type === type);
    if (condition === undefined) {
      return [`corresponding condition of pod readiness gate "${type}" does not exist.`];
    }
    if (condition.status === 'True') return [];
    return [`the status of pod readiness gate "${type}" is not "True", but ${condition.status}`];
  });
  if (said.length === 0) return { status: 'True' };
  return { status: 'False', reason: 'ReadinessGatesNotReady', message: said.join(', ') };
}

function initialized({ pod, phase, statuses }: ConditionsInput): Verdict {
  if (phase === 'Succeeded') return { status: 'True', reason: 'PodCompleted' };
  if (statuses.regular.some(hasStarted)) return { status: 'True' };
  const [late, unknown]: [string[], string[]] = [[], []];
  for (const container of pod.spec.initContainers) {
    const status = statuses.init.find(({ name }) => name === container.name);
    if (status === undefined) unknown.push(container.name);
    else if (!(isSidecar(container) ? status.started : status.ready)) late.push(container.name);
  }
  if (late.length + unknown.length === 0) return { status: 'True' };
  return incomplete('ContainersNotInitialized', 'incomplete', late, unknown);
}
