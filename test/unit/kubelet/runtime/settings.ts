import type { RuntimeSettings } from '../../../../src/kubelet/runtime/settings.ts';

/** A node for tests. */
export const settings: RuntimeSettings = {
  nodeName: 'n1',
  rootDir: '/var/lib/kubelet',
  podLogsDir: '/var/log/pods',
  containerLogsDir: '/var/log/containers',
  cpuCFSQuota: true,
  cpuCFSQuotaPeriodUs: 100_000n,
  seccompDefault: false,
  singleProcessOOMKill: false,
  pidsLimit: 0n,
  memoryBytes: 4n * 1024n ** 3n,
  cgroup: { version: 1, driver: 'cgroupfs', root: '/n1', perQos: true, limitsSwap: false },
};
