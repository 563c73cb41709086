/** What of the node and its configuration sandboxes and containers are made by. */
export interface RuntimeSettings {
  /** The ownership label's value. */
  readonly nodeName: string;
  /** `/var/lib/kubelet` */
  readonly rootDir: string;
  /** `/var/log/pods` */
  readonly podLogsDir: string;
  /** `/var/log/containers`: links to the logs, by names that tell whose they are. */
  readonly containerLogsDir: string;
  readonly cpuCFSQuota: boolean;
  readonly cpuCFSQuotaPeriodUs: bigint;
  /** Containers that name no seccomp profile get the runtime's own. */
  readonly seccompDefault: boolean;
  readonly singleProcessOOMKill: boolean;
  /** Processes of a pod; 0: any number. */
  readonly pidsLimit: bigint;
  /** All of the node's memory, in bytes: scores of Burstable pods are shares of it. */
  readonly memoryBytes: bigint;
  readonly cgroup: CgroupSettings;
}

export interface CgroupSettings {
  readonly version: 1 | 2;
  readonly driver: 'cgroupfs' | 'systemd';
  /** All that this node makes is below it: `/`, or `/node-7` where several nodes share a machine. */
  readonly root: string;
  /** Without, containers are where the runtime puts them, and only their own limits hold. */
  readonly perQos: boolean;
  /** Whether the kernel limits swap by cgroup. */
  readonly limitsSwap: boolean;
}

/** Where a pod's files are: `/var/lib/kubelet/pods/UID`. */
export function podDir({ rootDir }: Pick<RuntimeSettings, 'rootDir'>, uid: string): string {
  return `${rootDir}/pods/${uid}`;
}

/** Where the logs of a pod's containers are: `/var/log/pods/NAMESPACE_NAME_UID`. */
export function podLogDir(
  { podLogsDir }: Pick<RuntimeSettings, 'podLogsDir'>,
  {
    metadata,
  }: {
    readonly metadata: { readonly namespace: string; readonly name: string; readonly uid: string };
  },
): string {
  return `${podLogsDir}/${metadata.namespace}_${metadata.name}_${metadata.uid}`;
}
