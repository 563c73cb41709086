/** What the container runtime has of one pod: read from CRI, never remembered. Times are nanoseconds since the epoch, 0n: not yet. */
export interface RuntimePod {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  /** Newest first. */
  readonly sandboxes: readonly RuntimeSandbox[];
  /** All of the pod, of every kind and state; newest first. */
  readonly containers: readonly RuntimeContainer[];
}

export interface RuntimeSandbox {
  readonly id: string;
  readonly attempt: number;
  readonly state: 'ready' | 'notReady';
  readonly createdAt: bigint;
  readonly network: 'pod' | 'node';
  /** The first is the pod's own; none with the node's network. */
  readonly ips: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface RuntimeContainer {
  readonly id: string;
  readonly name: string;
  readonly sandboxId: string;
  /** Its restart count. */
  readonly attempt: number;
  readonly state: 'created' | 'running' | 'exited' | 'unknown';
  readonly createdAt: bigint;
  readonly startedAt: bigint;
  readonly finishedAt: bigint;
  readonly exitCode: number;
  /** `Completed`, `Error`, `OOMKilled`, `StartError` … */
  readonly reason: string;
  readonly message: string;
  /** The tag, or what the pod asked for. */
  readonly image: string;
  /** A digest reference: the `imageID` of the API. */
  readonly imageRef: string;
  /** Of name and image as its spec had them. */
  readonly hash: string;
  /** Absolute, '' where the runtime says none. */
  readonly logPath: string;
  /** Of the file with the termination message on the node; '' for none. */
  readonly terminationMessageFile: string;
  /** Of its first process; undefined: the runtime does not say it (containerd before 2.0). */
  readonly user?: ContainerUser;
  /** By which it is stopped, as the API names it; undefined: the runtime does not say it (containerd before 2.3). */
  readonly stopSignal?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** As the API has it. */
export interface ContainerUser {
  readonly uid: number;
  readonly gid: number;
  readonly supplementalGroups: readonly number[];
}

/** What is left when those that were made and never started are removed: the agent was killed in between. */
export function withoutCreated(pod: RuntimePod | undefined): RuntimePod | undefined {
  if (pod === undefined) return undefined;
  return { ...pod, containers: pod.containers.filter(({ state }) => state !== 'created') };
}

/** Whether anything of it is up: a sandbox is, if nothing else. */
export function isUp(pod: RuntimePod | undefined): boolean {
  if (pod === undefined) return false;
  const { sandboxes, containers } = pod;
  return (
    sandboxes.some(({ state }) => state === 'ready') ||
    containers.some(({ state }) => state === 'running')
  );
}

/** The newest instance of a container. */
export function newest(pod: RuntimePod | undefined, name: string): RuntimeContainer | undefined {
  return pod?.containers.find((container) => container.name === name);
}
