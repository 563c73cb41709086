import { isSidecar } from '../pod/container.ts';
import type { Container, Resources } from '../pod/container.ts';
import type { ContainerStateValue, ContainerStatus } from '../pod/pod-status.ts';
import type { StatusInput } from './status-input.ts';
import { annotations } from '../runtime/labels.ts';
import type { RuntimeContainer } from '../runtime/runtime-pod.ts';
import { apiContainerId, lostWhileRunning, stateOf } from './container-state.ts';
import { mayRestart } from './may-restart.ts';
import { messageShare } from './termination-message.ts';

/** The statuses of a pod's containers (`ContainerStatus`). */
export interface ContainerStatuses {
  /** In the order of the spec. */
  readonly init: readonly ContainerStatus[];
  /** By name. */
  readonly regular: readonly ContainerStatus[];
  /** By name; they count for nothing else. */
  readonly ephemeral: readonly ContainerStatus[];
}

export function containerStatuses(input: StatusInput): ContainerStatuses {
  const { initContainers, containers, ephemeralContainers } = input.pod.spec;
  const before = input.previous;
  const statusesOf = (
    specs: readonly Container[],
    statuses: readonly ContainerStatus[] | undefined,
  ): readonly ContainerStatus[] =>
    specs.map((container) => statusOf(input, container, named(statuses, container)));
  return {
    init: statusesOf(initContainers, before.initContainerStatuses),
    regular: byName(statusesOf(containers, before.containerStatuses)),
    ephemeral: byName(statusesOf(ephemeralContainers, before.ephemeralContainerStatuses)),
  };
}

function byName(statuses: readonly ContainerStatus[]): readonly ContainerStatus[] {
  return statuses.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function named(
  statuses: readonly ContainerStatus[] | undefined,
  { name }: Container,
): ContainerStatus | undefined {
  return statuses?.find((status) => status.name === name);
}

function statusOf(
  input: StatusInput,
  container: Container,
  before: ContainerStatus | undefined,
): ContainerStatus {
  const known = (input.runtime?.containers ?? []).filter(({ name }) => name === container.name);
  const [last] = known;
  const status =
    last === undefined
      ? withoutRuntime(input, container, before)
      : fromRuntime(input, container, known, last, before);
  const shown = withFailure(input, container, last, status);
  return { ...shown, ...health(input, container, last, shown, before) };
}

/** Nothing of it is in the runtime. */
function withoutRuntime(
  input: StatusInput,
  container: Container,
  before: ContainerStatus | undefined,
): ContainerStatus {
  const { name, image } = container;
  const state: ContainerStateValue = { waiting: { reason: waitingReason(input) } };
  const never = { name, image, imageID: '', ready: false };
  if (before === undefined) {
    const isPast = isPastInit(input, container);
    return { ...never, restartCount: 0, state: isPast ? removed : state, lastState: {} };
  }
  const { restartCount, lastState } = before;
  if (before.state.terminated !== undefined) return before;
  if (isPastInit(input, container)) return { ...before, state: removed };
  if (before.state.running === undefined) return { ...never, restartCount, state, lastState };
  const isEphemeral = input.pod.spec.ephemeralContainers.includes(container);
  if (isEphemeral) return { ...before, ready: false, state: lost(before) };
  return { ...never, restartCount: restartCount + again(input), state, lastState: lost(before) };
}

/** A completed init container may be collected once the containers after it run. */
const removed: ContainerStateValue = {
  terminated: {
    exitCode: 0,
    reason: 'Completed',
    message:
      'The container is gone from the container runtime, and the pod is initialized: it counts as completed',
  },
};

function isPastInit({ pod, runtime }: StatusInput, container: Container): boolean {
  if (!pod.spec.initContainers.includes(container) || isSidecar(container)) return false;
  return pod.spec.containers.some(({ name }) =>
    runtime?.containers.some((one) => one.name === name && one.state !== 'exited'),
  );
}

function waitingReason({ pod }: StatusInput): string {
  return pod.spec.initContainers.length > 0 ? 'PodInitializing' : 'ContainerCreating';
}

/** A pod that is being deleted starts nothing again. */
function again({ pod }: StatusInput): number {
  return pod.metadata.deletionTimestamp === undefined ? 1 : 0;
}

function lost({ state, containerID }: ContainerStatus): ContainerStateValue {
  const startedAt = state.running?.startedAt;
  return {
    terminated: {
      ...lostWhileRunning,
      ...(startedAt === undefined ? {} : { startedAt }),
      ...(containerID === undefined ? {} : { containerID }),
    },
  };
}

/** The newest of the runtime's makes the state, the one before it the last state; older ones say nothing. */
function fromRuntime(
  input: StatusInput,
  container: Container,
  [, second]: readonly RuntimeContainer[],
  last: RuntimeContainer,
  before: ContainerStatus | undefined,
): ContainerStatus {
  const { pod, terminationMessages: messages } = input;
  const bytes = messageShare(pod.spec.initContainers.length + pod.spec.containers.length);
  const read = (one: RuntimeContainer): ContainerStateValue =>
    stateOf(one, messages.get(one.id) ?? '', bytes, before);
  const isUnknown = last.state === 'unknown' && before?.containerID === apiContainerId(last.id);
  if (isUnknown && before.state.terminated !== undefined) return before;
  const wasRunning = isUnknown && before.state.running !== undefined;
  return {
    name: container.name,
    image: last.image === '' ? container.image : last.image,
    imageID: last.imageRef,
    containerID: apiContainerId(last.id),
    ready: false,
    restartCount: last.attempt + (wasRunning ? 1 : 0),
    state: wasRunning ? lost(before) : read(last),
    lastState: second?.state === 'exited' ? read(second) : lastStateBefore(last, before),
    ...mountsOf(container),
    ...resourcesOf(last),
    ...(last.user !== undefined && { user: { linux: last.user } }),
    ...signalOf(container, last),
  };
}

/**
 * Where the pod asks for one. Of others upstream tells what the image says; but API servers drop the field unless a gate is on that is off
 * by default (ContainerStopSignals), and what they drop would be written anew with each change.
 */
function signalOf(
  { lifecycle }: Container,
  { stopSignal }: RuntimeContainer,
): Pick<ContainerStatus, 'stopSignal'> {
  return lifecycle?.stopSignal === undefined || stopSignal === undefined ? {} : { stopSignal };
}

/** What was before this one, as far as it was told: its record may have been collected since. */
function lastStateBefore(
  last: RuntimeContainer,
  before: ContainerStatus | undefined,
): ContainerStateValue {
  if (before === undefined) return {};
  const isOther = before.containerID !== apiContainerId(last.id);
  return isOther && before.state.terminated !== undefined ? before.state : before.lastState;
}

function mountsOf({ volumeMounts }: Container): Pick<ContainerStatus, 'volumeMounts'> {
  if (volumeMounts.length === 0) return {};
  return {
    volumeMounts: volumeMounts.map(({ name, mountPath, readOnly }) => ({
      name,
      mountPath,
      ...(readOnly === true ? { readOnly, recursiveReadOnly: 'Disabled' } : {}),
    })),
  };
}

/** As it was made; of what another kubelet made nothing is known. */
function resourcesOf({
  annotations: { [annotations.resources]: text },
}: RuntimeContainer): Pick<ContainerStatus, 'allocatedResources' | 'resources'> {
  if (text === undefined) return {};
  const resources = JSON.parse(text) as Resources;
  return {
    ...(resources.requests && { allocatedResources: resources.requests }),
    resources,
  };
}

/** One that is to be started again, and could not be, waits; its end is the last state. */
function withFailure(
  { pod, failures }: StatusInput,
  container: Container,
  last: RuntimeContainer | undefined,
  status: ContainerStatus,
): ContainerStatus {
  const failure = failures.get(container.name);
  if (failure === undefined || pod.metadata.deletionTimestamp !== undefined) return status;
  if (last?.state === 'running') return status;
  const { terminated } = status.state;
  if (terminated !== undefined && !mayRestart(pod, container, terminated.exitCode)) return status;
  const lastState = terminated === undefined ? status.lastState : { terminated };
  const { reason, message } = failure;
  return { ...status, lastState, state: { waiting: { reason, message } } };
}

/** Spec 5.3. What probes have not spoken of yet stays as it was for this very container. */
function health(
  { pod, probes }: StatusInput,
  container: Container,
  last: RuntimeContainer | undefined,
  { state }: ContainerStatus,
  before: ContainerStatus | undefined,
): Pick<ContainerStatus, 'started' | 'ready'> {
  const isOrdinaryInit = pod.spec.initContainers.includes(container) && !isSidecar(container);
  if (isOrdinaryInit && state.running === undefined) {
    return { started: false, ready: state.terminated?.exitCode === 0 };
  }
  if (last === undefined || state.running === undefined) return { started: false, ready: false };
  const isSame = before?.containerID === apiContainerId(last.id);
  const passes = (type: 'startup' | 'readiness', was: boolean | undefined): boolean => {
    if (container[`${type}Probe`] === undefined) return true;
    const result = probes.result(pod.metadata.uid, last.id, type);
    return result === undefined ? isSame && was === true : result === 'success';
  };
  const started = passes('startup', before?.started);
  return { started, ready: !isOrdinaryInit && started && passes('readiness', before?.ready) };
}
