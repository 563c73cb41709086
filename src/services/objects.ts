import type { FieldProblem, KubeObject } from '../informer/kind.ts';
import type { Balancing } from './balancing.ts';

/** The fields of a Service the proxy reads, as they stand in the object. */
export interface ServiceObject extends KubeObject {
  readonly type: string;
  readonly clusterIP: string;
  readonly clusterIPs: readonly string[];
  readonly ipFamilies: readonly string[];
  readonly ports: readonly ServiceObjectPort[];
  readonly externalIPs: readonly string[];
  readonly loadBalancerSourceRanges: readonly string[];
  /** status.loadBalancer.ingress */
  readonly ingress: readonly { readonly ip: string; readonly ipMode: string | undefined }[];
  readonly sessionAffinity: string;
  readonly affinityTimeoutSeconds: number | undefined;
  readonly internalTrafficPolicy: string | undefined;
  readonly externalTrafficPolicy: string | undefined;
  readonly healthCheckNodePort: number;
  /** Its annotations that are ours: most Services have none, and none of this. */
  readonly balancing?: Balancing;
  /** What of these annotations is not understood, for the object's Event; never empty. */
  readonly misunderstood?: readonly FieldProblem[];
}

export interface ServiceObjectPort {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  readonly nodePort: number;
}

/** The fields of an EndpointSlice the proxy reads. */
export interface EndpointSliceObject extends KubeObject {
  /** Label kubernetes.io/service-name; '' where missing. */
  readonly serviceName: string;
  readonly addressType: string;
  readonly ports: readonly SliceObjectPort[];
  readonly endpoints: readonly SliceObjectEndpoint[];
  /** Annotation endpoints.kubernetes.io/last-change-trigger-time in ms since the epoch. */
  readonly triggerTimeMs: number | undefined;
}

export interface SliceObjectPort {
  readonly name: string | undefined;
  readonly port: number | undefined;
  readonly protocol: string | undefined;
}

export interface SliceObjectEndpoint {
  readonly addresses: readonly string[];
  readonly ready: boolean | undefined;
  readonly serving: boolean | undefined;
  readonly terminating: boolean | undefined;
  readonly nodeName: string | undefined;
  readonly zoneHints: readonly string[];
  readonly nodeHints: readonly string[];
}

/** The fields of a Node the proxy reads. */
export interface NodeObject extends KubeObject {
  /** status.addresses */
  readonly addresses: readonly { readonly type: string; readonly address: string }[];
  readonly podCIDRs: readonly string[];
  /** Label topology.kubernetes.io/zone, undefined where absent. */
  readonly zone: string | undefined;
  readonly taintKeys: readonly string[];
  readonly deleting: boolean;
}

export interface ServiceCidrObject extends KubeObject {
  readonly cidrs: readonly string[];
}
