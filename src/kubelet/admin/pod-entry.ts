import { isSidecar } from '../pod/container.ts';
import type { Container } from '../pod/container.ts';
import type { ContainerStatus } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import type { RuntimePod } from '../runtime/runtime-pod.ts';
import { seenAtMs, sourceOf } from '../sources/sourced-pod.ts';
import type { ContainerEntry, PodEntry } from './pods-document.ts';
import { statusWord } from './status-word.ts';

/** What is known of one pod. */
export interface PodFacts {
  /** With the status that counts now. */
  readonly pod: Pod;
  readonly runtime: RuntimePod | undefined;
  /** It is being ended, be it that its source has it no more. */
  readonly isEnding: boolean;
}

/** One line of what the kubelet runs. */
export function podEntry({ pod, runtime, isEnding }: PodFacts): PodEntry {
  const { metadata, spec, status } = pod;
  const isTerminating = isEnding || metadata.deletionTimestamp !== undefined;
  const containers = containerEntries(pod);
  const lasting = containers.filter(({ kind }) => kind === 'container' || kind === 'sidecar');
  const counted = containers.filter(({ kind }) => kind !== 'ephemeral');
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    uid: metadata.uid,
    source: sourceOf(pod) ?? null,
    status: statusWord(pod, isTerminating),
    message: messageOf(pod, containers),
    ready: lasting.filter(({ ready }) => ready).length,
    total: spec.containers.length + spec.initContainers.filter(isSidecar).length,
    restarts: counted.reduce((sum, { restarts }) => sum + restarts, 0),
    lastRestart: lastRestart(status),
    created: createdOf(pod, runtime),
    ips: (status.podIPs ?? []).map(({ ip }) => ip),
    containers,
  };
}

/** Of a pod that only the runtime knows: an earlier agent ran it. */
export function orphanEntry(runtime: RuntimePod): PodEntry {
  const { uid, name, namespace, containers } = runtime;
  return {
    namespace,
    name,
    uid,
    source: null,
    status: 'Terminating',
    message: 'no source has it any more',
    ready: 0,
    total: new Set(containers.map((each) => each.name)).size,
    restarts: 0,
    lastRestart: null,
    created: oldest(runtime),
    ips: [],
    containers: [],
  };
}

/** By namespace and name. */
export function byName(one: PodEntry, other: PodEntry): number {
  const [a, b] = [one, other].map((each) => `${each.namespace}/${each.name} ${each.uid}`);
  return (a ?? '') < (b ?? '') ? -1 : 1;
}

function containerEntries({ spec, status }: Pod): readonly ContainerEntry[] {
  const of = (
    containers: readonly Container[],
    statuses: readonly ContainerStatus[] = [],
  ): readonly ContainerEntry[] =>
    containers.map((container) => {
      const kind = !spec.initContainers.includes(container)
        ? 'container'
        : isSidecar(container)
          ? 'sidecar'
          : 'init';
      return containerEntry(
        container,
        kind,
        statuses.find(({ name }) => name === container.name),
      );
    });
  return [
    ...of(spec.initContainers, status.initContainerStatuses),
    ...of(spec.containers, status.containerStatuses),
    ...(status.ephemeralContainerStatuses ?? []).map((each) =>
      containerEntry(each, 'ephemeral', each),
    ),
  ];
}

function containerEntry(
  { name, image }: Pick<Container, 'name' | 'image'>,
  kind: ContainerEntry['kind'],
  status: Partial<ContainerStatus> = {},
): ContainerEntry {
  const { state = {}, containerID = '', ready = false, restartCount = 0 } = status;
  return { name, kind, image, id: containerID, ...stateOf(state), ready, restarts: restartCount };
}

function stateOf({
  running,
  terminated,
  waiting,
}: ContainerStatus['state']): Pick<ContainerEntry, 'state' | 'reason' | 'message' | 'exitCode'> {
  if (running !== undefined) return { state: 'running', reason: '', message: '', exitCode: null };
  const { reason = '', message = '' } = terminated ?? waiting ?? {};
  if (terminated === undefined) return { state: 'waiting', reason, message, exitCode: null };
  return { state: 'terminated', reason, message, exitCode: terminated.exitCode };
}

/** Of the pod itself, or of what of it does not run. */
function messageOf({ status }: Pod, containers: readonly ContainerEntry[]): string {
  if (status.message !== undefined && status.message !== '') return status.message;
  const waiting = containers.find(({ state, message }) => state === 'waiting' && message !== '');
  const ended = containers.find(({ exitCode, message }) => exitCode !== 0 && message !== '');
  return (waiting ?? ended)?.message.trim() ?? '';
}

function lastRestart(status: Pod['status']): string | null {
  const ends = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])]
    .filter(({ restartCount }) => restartCount > 0)
    .flatMap(({ lastState }) => lastState.terminated?.finishedAt ?? []);
  return ends.toSorted().at(-1) ?? null;
}

/** The API server knows it; of a static pod the runtime may remember more than an agent that was started since. */
function createdOf(pod: Pod, runtime: RuntimePod | undefined): string | null {
  if (sourceOf(pod) === 'api') return pod.metadata.creationTimestamp ?? null;
  const seenMs = seenAtMs(pod);
  const moments = [
    ...(seenMs === undefined ? [] : [new Date(seenMs).toISOString()]),
    ...(runtime === undefined ? [] : [oldest(runtime) ?? []].flat()),
  ];
  return moments.toSorted()[0] ?? null;
}

function oldest({ sandboxes, containers }: RuntimePod): string | null {
  const made = [...sandboxes, ...containers].map(({ createdAt }) => createdAt);
  const [first] = made.toSorted((one, other) => (one < other ? -1 : 1));
  return first === undefined ? null : new Date(Number(first / 1_000_000n)).toISOString();
}
