import type { NodeConfig } from '../../config/kubelet-config.ts';
import type { PodCondition } from '../pod/pod-status.ts';

/** A Node as far as the kubelet reads and writes it (core/v1). */
export interface NodeObject {
  readonly metadata: {
    readonly name: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: { readonly taints?: readonly Taint[]; readonly unschedulable?: boolean };
  readonly status?: NodeStatus;
}

export interface Taint {
  readonly key: string;
  readonly value: string;
  readonly effect: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
}

export interface NodeCondition extends Omit<PodCondition, 'lastProbeTime'> {
  readonly lastHeartbeatTime?: string;
}

/** Quantities by resource, as the API has them. */
export type Quantities = Readonly<Record<string, string>>;

export interface NodeStatus {
  readonly addresses?: readonly { readonly type: string; readonly address: string }[];
  readonly capacity?: Quantities;
  readonly allocatable?: Quantities;
  readonly conditions?: readonly NodeCondition[];
  readonly daemonEndpoints?: { readonly kubeletEndpoint: { readonly Port: number } };
  readonly nodeInfo?: NodeInfo;
  readonly images?: readonly { readonly names: readonly string[]; readonly sizeBytes: number }[];
  readonly runtimeHandlers?: readonly RuntimeHandlerStatus[];
  readonly features?: { readonly supplementalGroupsPolicy: boolean };
}

/** A way in which the runtime runs containers; '' is the usual one. */
export interface RuntimeHandlerStatus {
  readonly name: string;
  readonly features: {
    readonly recursiveReadOnlyMounts: boolean;
    readonly userNamespaces: boolean;
  };
}

export interface NodeInfo {
  readonly machineID: string;
  readonly systemUUID: string;
  readonly bootID: string;
  readonly kernelVersion: string;
  readonly osImage: string;
  readonly containerRuntimeVersion: string;
  readonly kubeletVersion: string;
  readonly kubeProxyVersion: string;
  readonly operatingSystem: 'linux';
  readonly architecture: string;
}

/** What an operator has said of the node, but for its name and addresses: those are found out. */
export type NodeSettings = Omit<NodeConfig, 'hostnameOverride' | 'ips'>;

const managed = 'volumes.kubernetes.io/controller-managed-attach-detach';
const providedIp = 'alpha.kubernetes.io/provided-node-ip';

/** Labels that each node has of itself, and keeps up to date (Kubernetes: Well-Known Labels, Annotations and Taints). */
export function ownLabels(name: string, architecture: string): Quantities {
  return {
    'beta.kubernetes.io/arch': architecture,
    'beta.kubernetes.io/os': 'linux',
    'kubernetes.io/arch': architecture,
    'kubernetes.io/hostname': name,
    'kubernetes.io/os': 'linux',
  };
}

/** The object to register: labels and taints of the operator are for a new Node alone. */
export function newNode(
  name: string,
  settings: NodeSettings,
  status: NodeStatus,
  ips: readonly string[],
): object {
  const { labels, taints, providerId, externalCloud } = settings;
  const uninitialized: Taint = {
    key: 'node.cloudprovider.kubernetes.io/uninitialized',
    value: 'true',
    effect: 'NoSchedule',
  };
  const all = externalCloud ? [...taints, uninitialized] : taints;
  const own = ownLabels(name, status.nodeInfo?.architecture ?? '');
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels: { ...labels, ...own },
      annotations: ownAnnotations(externalCloud, ips),
    },
    spec: {
      ...(all.length === 0 ? {} : { taints: all }),
      ...(providerId === '' ? {} : { providerID: providerId }),
    },
    status,
  };
}

/** What a Node that was there before lacks of what each has; undefined: nothing. Quantities that others have added stay. */
export function nodePatch(
  { metadata }: NodeObject,
  architecture: string,
  externalCloud: boolean,
  ips: readonly string[],
): object | undefined {
  const labels = missing(metadata.labels, ownLabels(metadata.name, architecture));
  const annotations = missing(metadata.annotations, ownAnnotations(externalCloud, ips));
  if (labels === undefined && annotations === undefined) return undefined;
  return {
    metadata: { ...(labels && { labels }), ...(annotations && { annotations }) },
  };
}

function ownAnnotations(externalCloud: boolean, ips: readonly string[]): Quantities {
  return { [managed]: 'true', ...(externalCloud ? { [providedIp]: ips.join(',') } : {}) };
}

function missing(has: Quantities | undefined, wanted: Quantities): Quantities | undefined {
  const entries = Object.entries(wanted).filter(([name, value]) => has?.[name] !== value);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}
