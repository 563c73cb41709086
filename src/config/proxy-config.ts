import type { Address } from '../ip/address.ts';
import type { Cidr } from '../ip/cidr.ts';
import type { PortRange } from '../ip/port-range.ts';

/** Where objects come from. Manifest files may be several; kinds of sources do not mix. */
export type SourceConfig =
  | { readonly kind: 'kubernetes'; readonly kubeconfig: string; readonly master: string }
  | { readonly kind: 'files'; readonly paths: readonly string[] }
  | { readonly kind: 'url'; readonly url: string };

/** How this node's pods are told from others, as configured. */
export type DetectLocalConfig =
  | { readonly mode: 'ClusterCIDR' }
  | { readonly mode: 'NodeCIDR' }
  | { readonly mode: 'BridgeInterface'; readonly name: string }
  | { readonly mode: 'InterfaceNamePrefix'; readonly prefix: string };

export type NodePortAddressesConfig =
  | { readonly kind: 'all' }
  | { readonly kind: 'primary' }
  | {
      readonly kind: 'cidrs';
      readonly cidrs: readonly Cidr[];
      /** The node IPs too. */
      readonly primary?: true;
    };

export interface BindConfig {
  readonly address: Address;
  readonly port: number;
}

/** Connection tracking settings; 0 and false leave the kernel's value. */
export interface ConntrackConfig {
  readonly maxPerCore: number;
  readonly min: number;
  readonly tcpEstablishedTimeoutMs: number;
  readonly tcpCloseWaitTimeoutMs: number;
  readonly tcpBeLiberal: boolean;
  readonly udpTimeoutMs: number;
  readonly udpStreamTimeoutMs: number;
  /** Connections are counted in packets and bytes; false leaves the kernel's setting. */
  readonly accounting: boolean;
}

/** Counting the traffic of each service port, for metrics. */
export interface TrafficConfig {
  /** `bytes`: and connections. */
  readonly what: 'none' | 'connections' | 'bytes';
  readonly intervalMs: number;
  /** So many service ports have series of their own at most. */
  readonly series: number;
  /** Only those of these namespaces; empty: of all. */
  readonly namespaces: readonly string[];
}

/** Settings of the ipvs mode; a time-out of 0 leaves the kernel's value. */
export interface IpvsConfig {
  /** As the kernel names it; `rr` where nothing was said. */
  readonly scheduler: string;
  /** Virtual servers at these addresses belong to others. */
  readonly excludeCidrs: readonly Cidr[];
  readonly strictArp: boolean;
  readonly tcpTimeoutMs: number;
  readonly tcpFinTimeoutMs: number;
  readonly udpTimeoutMs: number;
  /** How long open connections to an endpoint that went away may last; in iptables mode: those that ipvs mode has begun. */
  readonly drainMs: number;
}

/** Settings of the userspace mode. */
export interface UserspaceConfig {
  /** How clients reach listeners: by rules, or at addresses of the listeners' own. */
  readonly portals: 'iptables' | 'none';
  /** undefined: the usual ports. */
  readonly portRange: PortRange | undefined;
  /** When a UDP flow ends, where a Service says nothing. */
  readonly udpTimeoutMs: number;
  /** How long connections to an endpoint that left may last, where a Service says nothing. */
  readonly drainMs: number;
  /** How long connections may last when the agent ends. */
  readonly shutdownMs: number;
  /** undefined: as many as suit the machine. */
  readonly workers: number | undefined;
  /** By how much a port that is refused to this user is moved; without portals only. */
  readonly portOffset: number;
  /** '': nowhere; undefined: the usual place. */
  readonly stateFile: string | undefined;
}

export interface LoggingConfig {
  /** `auto`: text on a terminal, else JSON. */
  readonly format: 'auto' | 'json' | 'text';
  readonly verbosity: number;
}

/** What is served besides the usual metrics. */
export interface MetricsConfig {
  /** So many Services of a family have a series of their own for their state; 0: none. */
  readonly serviceStates: number;
}

/** Everything an operator can set of the proxy: typed, validated, complete. */
export interface ProxyConfig {
  readonly mode: 'iptables' | 'ipvs' | 'userspace';
  readonly source: SourceConfig;
  /** '' : the machine's host name. */
  readonly hostnameOverride: string;
  readonly bindAddress: Address;
  readonly bindAddressHardFail: boolean;
  readonly healthzBind: BindConfig | undefined;
  readonly metricsBind: BindConfig | undefined;
  /** Where the agent is asked by `status`, `explain` and `diff`. '': nowhere; undefined: the usual place. */
  readonly adminSocket: string | undefined;
  /** Those of the mode. */
  readonly syncPeriodMs: number;
  readonly minSyncPeriodMs: number;
  readonly masqueradeAll: boolean;
  /** 0 to 31 */
  readonly masqueradeBit: number;
  /** Never in ipvs mode. */
  readonly localhostNodePorts: boolean;
  readonly detectLocal: DetectLocalConfig;
  /** At most one of each family. */
  readonly clusterCidrs: readonly Cidr[];
  readonly nodePortAddresses: NodePortAddressesConfig;
  readonly oomScoreAdj: number;
  readonly conntrack: ConntrackConfig;
  readonly ipvs: IpvsConfig;
  readonly userspace: UserspaceConfig;
  readonly traffic: TrafficConfig;
  readonly logging: LoggingConfig;
  readonly metrics: MetricsConfig;
  /** Whether the metrics server has /debug. */
  readonly profiling: boolean;
  readonly initOnly: boolean;
}
