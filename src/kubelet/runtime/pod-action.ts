import type { Container } from '../pod/container.ts';
import type { Pod } from '../pod/pod.ts';
import type { RuntimeFeatures } from '../pod/unsupported.ts';
import type { ProbeResults } from '../ports/probes.ts';
import { containerHash, labels } from './labels.ts';
import { newest } from './runtime-pod.ts';
import type { RuntimeContainer, RuntimePod } from './runtime-pod.ts';

export type ContainerKind = 'init' | 'sidecar' | 'regular' | 'ephemeral';

/** Why one container is killed while its pod lives on; the grace period depends on it. */
export type KillReason = 'changed' | 'liveness' | 'startup' | 'unknown';

/** One step of bringing a pod to what its spec says, in the order of the list. */
export type PodAction =
  /** All containers and sandboxes; `recreate`: a new sandbox follows. */
  | { readonly kind: 'killPod'; readonly why: 'recreate' | 'ended' | 'terminating' }
  | {
      readonly kind: 'killContainer';
      readonly container: RuntimeContainer;
      readonly why: KillReason;
      readonly message: string;
    }
  | { readonly kind: 'removeContainer'; readonly container: RuntimeContainer }
  | { readonly kind: 'createSandbox'; readonly attempt: number }
  | StartAction
  /** Crash-loop back-off: not started before. */
  | {
      readonly kind: 'wait';
      readonly container: Container;
      readonly untilMs: number;
      readonly delayMs: number;
    };

interface StartAction {
  readonly kind: 'start';
  readonly container: Container;
  readonly as: ContainerKind;
  /** At least; more where its log files say so. */
  readonly attempt: number;
}

/** Asked, never told: what counts as a try is noted where it is made. */
export interface BackOffView {
  waits(
    key: string,
    sinceMs: number,
  ): { readonly untilMs: number; readonly delayMs: number } | undefined;
}

export interface ActionsInput {
  readonly pod: Pod;
  readonly runtime: RuntimePod | undefined;
  readonly probes: ProbeResults;
  readonly backOff: BackOffView;
  readonly terminating: boolean;
  readonly features: RuntimeFeatures;
}

/** The key of a container's crash-loop back-off: with another image or other resources it begins anew. */
export function crashLoopKey(pod: Pick<Pod, 'metadata'>, container: Container): string {
  const { name, image, resources } = container;
  return `${pod.metadata.uid}/${name}/${image}/${JSON.stringify(resources)}`;
}

/** When a container last ended; undefined: no dead instance is known. */
export function lastExitMs(runtime: RuntimePod | undefined, name: string): number | undefined {
  const dead = runtime?.containers.find((one) => one.name === name && one.state === 'exited');
  return dead === undefined ? undefined : Number(dead.finishedAt / 1_000_000n);
}

/** Starts it, or waits for its back-off. */
export function startOrWait(
  input: ActionsInput,
  container: Container,
  as: ContainerKind,
): PodAction {
  const { pod, runtime } = input;
  const endedMs = lastExitMs(runtime, container.name);
  const waits =
    endedMs === undefined ? undefined : input.backOff.waits(crashLoopKey(pod, container), endedMs);
  if (waits !== undefined) return { kind: 'wait', container, ...waits };
  const last = newest(runtime, container.name);
  return { kind: 'start', container, as, attempt: last === undefined ? 0 : last.attempt + 1 };
}

/**
 * Whether the spec asks for another container than this one. What an upstream kubelet started is taken as it is: its hash is another
 * algorithm's.
 */
export function isChanged(container: Container, running: RuntimeContainer): boolean {
  return labels.managedBy in running.labels && running.hash !== containerHash(container);
}

/** Which probe says that a running container is to be killed. */
export function failedProbe(
  probes: ProbeResults,
  { metadata }: Pick<Pod, 'metadata'>,
  { id }: RuntimeContainer,
): 'liveness' | 'startup' | undefined {
  if (probes.result(metadata.uid, id, 'liveness') === 'failure') return 'liveness';
  if (probes.result(metadata.uid, id, 'startup') === 'failure') return 'startup';
  return undefined;
}
