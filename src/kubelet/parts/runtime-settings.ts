import { cgroupVersion, limitsSwap } from '../../host/cgroups.ts';
import type { Cri } from '../cri/client.ts';
import type { KubeletBase } from '../base/kubelet-base.ts';
import { CgroupDriver } from '../cri/gen/api_pb.ts';
import type { RuntimeSettings } from '../runtime/settings.ts';

/** What of the configuration and of this machine containers are made by. */
export async function runtimeSettings({
  config,
  nodeName,
  rootDir,
  machine,
  cri,
  containerLogsDir,
}: KubeletBase): Promise<RuntimeSettings> {
  const { runtime } = config;
  const version = await cgroupVersion();
  return {
    nodeName,
    rootDir,
    podLogsDir: config.podLogsDir,
    containerLogsDir,
    cpuCFSQuota: runtime.cpuQuota,
    cpuCFSQuotaPeriodUs: BigInt(Math.round(runtime.cpuQuotaPeriodMs * 1000)),
    seccompDefault: runtime.seccompDefault,
    singleProcessOOMKill: runtime.singleProcessOomKill,
    pidsLimit: BigInt(Math.max(0, runtime.pidsLimit)),
    memoryBytes: BigInt(machine.memoryBytes),
    cgroup: {
      version,
      driver: (await driverOf(cri)) ?? runtime.cgroups.driver,
      root: runtime.cgroups.root,
      perQos: runtime.cgroups.perQos,
      limitsSwap: await limitsSwap(version),
    },
  };
}

/** A runtime before containerd 2.0 does not say it. */
async function driverOf({
  runtime,
}: Pick<Cri, 'runtime'>): Promise<'cgroupfs' | 'systemd' | undefined> {
  try {
    const { linux } = await runtime.runtimeConfig({});
    if (linux === undefined) return undefined;
    return linux.cgroupDriver === CgroupDriver.SYSTEMD ? 'systemd' : 'cgroupfs';
  } catch {
    return undefined;
  }
}
