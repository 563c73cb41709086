import type { Address } from '../ip/address.ts';
import type { EvictionConfig, ImageGcConfig, ShutdownGroup } from './eviction-config.ts';
import type { BindConfig, LoggingConfig } from './proxy-config.ts';

export interface TaintConfig {
  readonly key: string;
  readonly value: string;
  readonly effect: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
}

/** The node as it is registered, and how its status is told. */
export interface NodeConfig {
  /** '': the machine's host name. */
  readonly hostnameOverride: string;
  /** At most one of a family; none: found out. */
  readonly ips: readonly Address[];
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly TaintConfig[];
  readonly register: boolean;
  readonly providerId: string;
  /** A cloud controller says what the addresses are. */
  readonly externalCloud: boolean;
  readonly statusUpdateMs: number;
  readonly statusReportMs: number;
  readonly leaseSeconds: number;
  /** -1: all. */
  readonly maxImages: number;
  readonly maxPods: number;
  /** 0: any number. */
  readonly podsPerCore: number;
  /** Quantities by resource. */
  readonly systemReserved: Readonly<Record<string, string>>;
  readonly kubeReserved: Readonly<Record<string, string>>;
  /** Quantities or percentages by signal. */
  readonly evictionHard: Readonly<Record<string, string>>;
  readonly countsLocalStorage: boolean;
}

export interface CgroupConfig {
  /** `/`, or `/node-7` where several nodes share a machine. */
  readonly root: string;
  readonly perQos: boolean;
  readonly driver: 'cgroupfs' | 'systemd';
}

/** The container runtime and what it is told. */
export interface RuntimeConfig {
  readonly endpoint: string;
  readonly imageEndpoint: string;
  readonly requestTimeoutMs: number;
  readonly cgroups: CgroupConfig;
  readonly cpuQuota: boolean;
  readonly cpuQuotaPeriodMs: number;
  /** Of a pod; below 1: any number. */
  readonly pidsLimit: number;
  readonly seccompDefault: boolean;
  readonly singleProcessOomKill: boolean;
  readonly serializePulls: boolean;
  /** 0: any number. */
  readonly maxParallelPulls: number;
  /** 0: any number. */
  readonly pullQps: number;
  readonly pullBurst: number;
  readonly maxRestartWaitMs: number;
  readonly allowedUnsafeSysctls: readonly string[];
  /** Programs that give credentials for registries: the file that names them, and where they lie. undefined: none. */
  readonly credentialProviders: { readonly file: string; readonly folder: string } | undefined;
}

export interface KubeletServerConfig {
  /** undefined: there is none. */
  readonly bind: BindConfig | undefined;
  readonly readOnly: BindConfig | undefined;
  readonly healthz: BindConfig | undefined;
  /** Both or none. */
  readonly certFile: string;
  readonly keyFile: string;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  readonly cipherSuites: readonly string[];
  readonly clientCaFile: string;
  readonly anonymous: boolean;
  readonly tokenReview: boolean;
  readonly tokenTtlMs: number;
  readonly authorization: 'Webhook' | 'AlwaysAllow';
  readonly allowedTtlMs: number;
  readonly deniedTtlMs: number;
  readonly debuggingHandlers: boolean;
  /** Whether the node's own logs are shown. */
  readonly systemLogs: boolean;
  readonly streamIdleMs: number;
}

export interface DnsConfig {
  readonly servers: readonly Address[];
  readonly domain: string;
  /** '': none. */
  readonly resolvConf: string;
}

export interface LogFilesConfig {
  /** A quantity of bytes. */
  readonly maxSize: string;
  readonly maxFiles: number;
  readonly monitorMs: number;
  readonly workers: number;
}

/** Static pods that are asked for over HTTP. */
export interface UrlPodsConfig {
  readonly url: string;
  /** Values by the name of their header; they may be secrets. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly pollMs: number;
}

/** Certificates that the cluster signs. */
export interface CertificatesConfig {
  /** '': the kubeconfig has to be there. */
  readonly bootstrapKubeconfig: string;
  readonly rotateClient: boolean;
  /** What the server serves with is asked for, and renewed. */
  readonly serving: boolean;
}

/** Everything an operator can set of the kubelet: typed, validated, complete. */
export interface KubeletConfig {
  /** '': standalone, only static pods are run. */
  readonly kubeconfig: string;
  readonly node: NodeConfig;
  readonly eviction: EvictionConfig;
  readonly imageGc: ImageGcConfig;
  /** By priority, the lowest first; none: a shutdown of the machine is not waited for. */
  readonly shutdown: readonly ShutdownGroup[];
  readonly rootDir: string;
  readonly certDir: string;
  readonly certificates: CertificatesConfig;
  /** undefined: no static pods. */
  readonly staticPods: { readonly path: string; readonly pollMs: number } | undefined;
  /** undefined: none from a URL. */
  readonly urlPods: UrlPodsConfig | undefined;
  readonly syncMs: number;
  readonly runtime: RuntimeConfig;
  readonly podLogsDir: string;
  /** Below 0: volumes are not measured. */
  readonly volumeStatsMs: number;
  readonly server: KubeletServerConfig;
  readonly dns: DnsConfig;
  readonly logFiles: LogFilesConfig;
  /** 0: any number. */
  readonly eventQps: number;
  readonly eventBurst: number;
  readonly iptablesChains: boolean;
  readonly oomScoreAdj: number;
  /** undefined: the usual one; '': none. */
  readonly adminSocket: string | undefined;
  readonly logging: LoggingConfig;
}
