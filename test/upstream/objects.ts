/** Services and EndpointSlices as they are sent to the API server: the fields that tests set. */
export interface RawPort {
  readonly name: string;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly port: number;
  readonly nodePort?: number;
}

export interface RawIngress {
  readonly ip?: string;
  readonly ipMode?: 'VIP' | 'Proxy';
  readonly hostname?: string;
}

export interface RawServiceSpec {
  readonly type?: string;
  readonly clusterIP?: string;
  readonly clusterIPs?: readonly string[];
  readonly ipFamilies?: readonly string[];
  readonly ports?: readonly RawPort[];
  readonly externalIPs?: readonly string[];
  readonly loadBalancerSourceRanges?: readonly string[];
  readonly internalTrafficPolicy?: string;
  readonly externalTrafficPolicy?: string;
  readonly healthCheckNodePort?: number;
  readonly sessionAffinity?: string;
  readonly [other: string]: unknown;
}

export interface RawService {
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly creationTimestamp?: string;
  };
  readonly spec: RawServiceSpec;
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly RawIngress[] } };
}

export interface RawEndpoint {
  readonly addresses: readonly string[];
  readonly nodeName?: string;
  readonly conditions?: Readonly<Record<string, boolean>>;
  readonly zone?: string;
  readonly hints?: Readonly<Record<string, readonly { readonly name: string }[]>>;
}

export interface RawSlice {
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  readonly addressType: 'IPv4' | 'IPv6';
  readonly ports: readonly {
    readonly name: string;
    readonly protocol: string;
    readonly port: number;
  }[];
  readonly endpoints: readonly RawEndpoint[];
}

/** Objects that are made together. Services of a later wave are younger by at least a second. */
export interface Bundle {
  /** Where they come from: `rule book 04-node-port`, `random 17`. */
  readonly name: string;
  readonly services: readonly (readonly RawService[])[];
  readonly slices: readonly RawSlice[];
}

/** An EndpointSlice of a service, named after it. */
export function sliceOf(service: string, n: number, rest: Omit<RawSlice, 'metadata'>): RawSlice {
  const labels = { 'kubernetes.io/service-name': service };
  return { metadata: { name: `${service}-${n}`, labels }, ...rest };
}
