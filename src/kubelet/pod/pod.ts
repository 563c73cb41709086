import type { Container, ResourceList, Resources, RestartPolicy } from './container.ts';
import type { PodStatus } from './pod-status.ts';
import type { PodSecurityContext } from './security-context.ts';
import type { Volume } from './volume.ts';

/**
 * A Pod as the API has it (core/v1), with the fields that Switchyard reads. Names are the API's, so that what is written back needs no
 * translation. Every source has put the defaults in (the API server, or `defaultPod`), so that a field with a default is never absent.
 */
export interface Pod {
  readonly metadata: PodMeta;
  readonly spec: PodSpec;
  /** What the API server holds; for a static pod what its mirror had. Only ever the base of a new one. */
  readonly status: PodStatus;
}

export interface PodMeta {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly generation?: number;
  readonly resourceVersion?: string;
  /** RFC 3339. */
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly deletionGracePeriodSeconds?: number;
  readonly ownerReferences?: readonly OwnerReference[];
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
}

export interface PodSpec {
  readonly nodeName: string;
  readonly containers: readonly Container[];
  readonly initContainers: readonly Container[];
  /** Put into a pod that runs, to look around in it; each is started once at most (Kubernetes: Ephemeral Containers). */
  readonly ephemeralContainers: readonly Container[];
  readonly volumes: readonly Volume[];
  readonly restartPolicy: RestartPolicy;
  readonly terminationGracePeriodSeconds: number;
  readonly activeDeadlineSeconds?: number;
  readonly dnsPolicy: 'ClusterFirst' | 'ClusterFirstWithHostNet' | 'Default' | 'None';
  readonly dnsConfig?: DnsConfig;
  readonly enableServiceLinks: boolean;
  readonly hostAliases?: readonly { readonly ip: string; readonly hostnames?: readonly string[] }[];
  readonly hostname?: string;
  readonly hostnameOverride?: string;
  readonly subdomain?: string;
  readonly setHostnameAsFQDN?: boolean;
  readonly hostNetwork: boolean;
  readonly hostPID: boolean;
  readonly hostIPC: boolean;
  readonly shareProcessNamespace: boolean;
  readonly securityContext: PodSecurityContext;
  readonly serviceAccountName?: string;
  readonly imagePullSecrets?: readonly { readonly name?: string }[];
  readonly readinessGates?: readonly { readonly conditionType: string }[];
  readonly tolerations?: readonly Toleration[];
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly priority?: number;
  readonly priorityClassName?: string;
  readonly runtimeClassName?: string;
  readonly overhead?: ResourceList;
  readonly resources?: Resources;
  readonly os?: { readonly name: string };
}

export interface Toleration {
  readonly key?: string;
  readonly operator?: 'Exists' | 'Equal';
  readonly value?: string;
  readonly effect?: string;
  readonly tolerationSeconds?: number;
}

export interface DnsConfig {
  readonly nameservers?: readonly string[];
  readonly searches?: readonly string[];
  readonly options?: readonly { readonly name: string; readonly value?: string }[];
}

/** All containers of a pod: init, regular and ephemeral ones. */
export function allContainers({
  initContainers,
  containers,
  ephemeralContainers,
}: Pick<PodSpec, 'initContainers' | 'containers' | 'ephemeralContainers'>): readonly Container[] {
  return [...initContainers, ...containers, ...ephemeralContainers];
}

/** `web_default(uid)`, as messages and logs name a pod. */
export function podText({ metadata }: Pick<Pod, 'metadata'>): string {
  return `${metadata.namespace}/${metadata.name} (${metadata.uid})`;
}
