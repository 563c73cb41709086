import type {
  Container,
  ContainerStatus,
  PodSandbox,
  PodSandboxStatus,
} from '../cri/gen/api_pb.ts';
import { ContainerState, NamespaceMode, PodSandboxState } from '../cri/gen/api_pb.ts';
import { stopSignalName } from '../cri/stop-signals.ts';
import { annotations, labels } from './labels.ts';
import type { RuntimeContainer, RuntimePod, RuntimeSandbox } from './runtime-pod.ts';

/** A sandbox of a list, as far as it says who has it; a container likewise. */
type Labelled = Pick<PodSandbox, 'labels'>;

/**
 * Whether this node may touch it: it carries the node's own label, or nobody's, and then its pod's UID is one that a source has (an
 * upstream kubelet ran here before).
 */
export function isOwn(
  { labels: given }: Labelled,
  owner: string,
  adopt: (uid: string) => boolean,
): boolean {
  const uid = given[labels.podUid];
  if (uid === undefined) return false;
  const whose = given[labels.managedBy];
  return whose === undefined ? adopt(uid) : whose === owner;
}

/** UIDs of pods that nobody's label is on, and of which something is up: an upstream kubelet's, if a source has them. */
export function unclaimedUp(
  sandboxes: readonly Pick<PodSandbox, 'labels' | 'state'>[],
  containers: readonly Pick<Container, 'labels' | 'state'>[],
): ReadonlySet<string> {
  const up = [
    ...sandboxes.filter(({ state }) => state === PodSandboxState.SANDBOX_READY),
    ...containers.filter(({ state }) => state === ContainerState.CONTAINER_RUNNING),
  ];
  return new Set(up.filter(({ labels: given }) => !(labels.managedBy in given)).map(podUid));
}

/** The UID of the pod that it is of; only what {@link isOwn} has one for sure. */
export function podUid({ labels: given }: Labelled): string {
  return given[labels.podUid] ?? '';
}

/** A sandbox with the details that no list has. */
export function runtimeSandbox(listed: PodSandbox, detail: PodSandboxStatus): RuntimeSandbox {
  const network = detail.linux?.namespaces?.options?.network;
  const ips = [
    detail.network?.ip ?? '',
    ...(detail.network?.additionalIps ?? []).map(({ ip }) => ip),
  ];
  return {
    id: listed.id,
    attempt: listed.metadata?.attempt ?? 0,
    state: listed.state === PodSandboxState.SANDBOX_READY ? 'ready' : 'notReady',
    createdAt: listed.createdAt,
    network: network === NamespaceMode.NODE ? 'node' : 'pod',
    ips: ips.filter((ip) => ip !== ''),
    labels: listed.labels,
    annotations: listed.annotations,
  };
}

const states = {
  [ContainerState.CONTAINER_CREATED]: 'created',
  [ContainerState.CONTAINER_RUNNING]: 'running',
  [ContainerState.CONTAINER_EXITED]: 'exited',
  [ContainerState.CONTAINER_UNKNOWN]: 'unknown',
} as const;

/** A container with the details that no list has; its state is the details', which are younger. */
export function runtimeContainer(listed: Container, detail: ContainerStatus): RuntimeContainer {
  return {
    id: listed.id,
    name: listed.labels[labels.containerName] ?? listed.metadata?.name ?? '',
    sandboxId: listed.podSandboxId,
    attempt: listed.metadata?.attempt ?? 0,
    state: states[detail.state as keyof typeof states] ?? 'unknown',
    createdAt: detail.createdAt,
    startedAt: detail.startedAt,
    finishedAt: detail.finishedAt,
    exitCode: detail.exitCode,
    reason: detail.reason,
    message: detail.message,
    image: detail.image?.image ?? '',
    imageRef: detail.imageRef,
    hash: detail.annotations[annotations.hash] ?? '',
    logPath: detail.logPath,
    terminationMessageFile: terminationMessageFile(detail),
    labels: listed.labels,
    annotations: detail.annotations,
    ...userOf(detail),
    ...signalOf(detail),
  };
}

function signalOf({ stopSignal }: ContainerStatus): Pick<RuntimeContainer, 'stopSignal'> {
  const name = stopSignalName(stopSignal);
  return name === undefined ? {} : { stopSignal: name };
}

function userOf({ user }: ContainerStatus): Pick<RuntimeContainer, 'user'> {
  if (user?.linux === undefined) return {};
  const { uid, gid, supplementalGroups } = user.linux;
  return {
    user: {
      uid: Number(uid),
      gid: Number(gid),
      supplementalGroups: supplementalGroups.map(Number),
    },
  };
}

function terminationMessageFile({ annotations: given, mounts }: ContainerStatus): string {
  const path = given[annotations.terminationMessagePath];
  const mount = mounts.find(({ containerPath }) => containerPath === path);
  return mount?.hostPath ?? '';
}

/** What the two lists have, by the pods' UIDs; newest first, as {@link RuntimePod} says. */
export function groupPods(
  sandboxes: readonly RuntimeSandbox[],
  containers: readonly RuntimeContainer[],
): ReadonlyMap<string, RuntimePod> {
  const bySandbox = Map.groupBy(sandboxes, podUid);
  const byContainer = Map.groupBy(containers, podUid);
  const uids = [...new Set([...bySandbox.keys(), ...byContainer.keys()])].toSorted();
  return new Map(
    uids.map((uid) => {
      const ofSandboxes = (bySandbox.get(uid) ?? []).toSorted(newestFirst);
      const ofContainers = (byContainer.get(uid) ?? []).toSorted(newestFirst);
      const named = (ofSandboxes[0] ?? ofContainers[0])?.labels ?? {};
      const pod: RuntimePod = {
        uid,
        name: named[labels.podName] ?? '',
        namespace: named[labels.podNamespace] ?? '',
        sandboxes: ofSandboxes,
        containers: ofContainers,
      };
      return [uid, pod];
    }),
  );
}

type Aged = Pick<RuntimeContainer, 'createdAt' | 'attempt' | 'id'>;

function newestFirst(a: Aged, b: Aged): number {
  if (a.createdAt !== b.createdAt) return a.createdAt > b.createdAt ? -1 : 1;
  if (a.attempt !== b.attempt) return b.attempt - a.attempt;
  return a.id < b.id ? -1 : 1;
}

/** Two of one pod are alike if they have the same sandboxes and containers in the same states. */
export function podFingerprint({ sandboxes, containers }: RuntimePod): string {
  return [...sandboxes, ...containers].map(({ id, state }) => `${id}=${state}`).join(' ');
}
