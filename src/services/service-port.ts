import type { Address, Family } from '../ip/address.ts';
import type { Cidr } from '../ip/cidr.ts';
import type { Balancing } from './balancing.ts';

export type Protocol = 'TCP' | 'UDP' | 'SCTP';
export type TrafficPolicy = 'Cluster' | 'Local';

/** `ns/name` of a Service. */
export type ServiceName = string & { readonly __brand: 'ServiceName' };

/**
 * How users, comments and logs name a service port: `ns/name` where the port has no name, else
 * `ns/name:port`. The protocol is no part of it.
 */
export type ServicePortName = string & { readonly __brand: 'ServicePortName' };

/** Unique within a family: `ns/name:port/TCP`. */
export type ServicePortKey = string & { readonly __brand: 'ServicePortKey' };

/** One endpoint of a service port, merged over its slices. */
export interface Endpoint {
  readonly address: Address;
  readonly port: number;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  /** Runs on this node: slice nodeName equals ours. */
  readonly local: boolean;
  readonly nodeName: string | undefined;
  readonly zoneHints: readonly string[];
  readonly nodeHints: readonly string[];
  /** Name of the slice it came from, for explain. */
  readonly slice: string;
}

/** An endpoint that is not used, and why, in words for logs and explain. */
export interface SkippedEndpoint {
  readonly endpoint: Endpoint;
  readonly reason: string;
}

/** Which topology hint narrows the cluster list (`Service.spec.trafficDistribution`). */
export type TopologyMode = 'none' | 'PreferSameZone' | 'PreferSameNode';

/** The two lists traffic may use. */
export type ChoiceList = 'cluster' | 'local';

/**
 * The endpoints chosen for this node (Kubernetes: Virtual IPs and Service Proxies). All lists are sorted bytewise by
 * `ip:port`. `cluster` and `local` are undefined where no traffic of the service port uses them.
 */
export interface EndpointChoice {
  readonly cluster: readonly Endpoint[] | undefined;
  readonly local: readonly Endpoint[] | undefined;
  /** Ready on this node, whatever the policies say: what balancers' health checks count. */
  readonly localReady: readonly Endpoint[];
  /** Some usable endpoint exists somewhere: decides reject against drop. */
  readonly hasAny: boolean;
  readonly topology: TopologyMode;
  /** Why this topology mode, in words. */
  readonly topologyReason: string;
  /** Endpoints in neither list. */
  readonly skipped: readonly SkippedEndpoint[];
}

/** One port of one Service in one family, with everything the rule graph needs. */
export interface ServicePort {
  readonly key: ServicePortKey;
  readonly name: ServicePortName;
  readonly service: ServiceName;
  readonly family: Family;
  readonly protocol: Protocol;
  readonly portName: string;
  readonly port: number;
  readonly clusterIP: Address;
  /** 0: none. */
  readonly nodePort: number;
  readonly externalIPs: readonly Address[];
  readonly loadBalancerIPs: readonly Address[];
  /** Of this family; empty: everybody may use the load balancer addresses. */
  readonly sourceRanges: readonly Cidr[];
  /** ClientIP affinity and its time-out in seconds, or none. */
  readonly affinitySeconds: number | undefined;
  readonly internalPolicy: TrafficPolicy;
  /** Cluster unless the service port can be reached from outside in this family. */
  readonly externalPolicy: TrafficPolicy;
  /** 0: none. */
  readonly healthCheckNodePort: number;
  /** Service creation in milliseconds since the epoch (0: unknown): the older wins a contested address. */
  readonly createdAtMs: number;
  readonly uid: string;
  /** What annotations of the Service ask for; not there where there are none. */
  readonly balancing?: Balancing;
  readonly endpoints: EndpointChoice;
}

/** Whether anything but the cluster IP leads to the service port. */
export function externallyAccessible(
  port: Pick<ServicePort, 'nodePort' | 'externalIPs' | 'loadBalancerIPs'>,
): boolean {
  return port.nodePort !== 0 || port.externalIPs.length > 0 || port.loadBalancerIPs.length > 0;
}
