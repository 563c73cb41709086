import { existsSync } from 'node:fs';
import { cgroupVersion, limitsSwap, CgroupTree } from '../../host/cgroups.ts';
import { systemBusPath } from '../../host/system-bus.ts';
import { SystemdSlices } from '../../host/systemd-slices.ts';
import type { Cri } from '../cri/client.ts';
import type { KubeletBase } from '../base/kubelet-base.ts';
import { CgroupDriver } from '../cri/gen/api_pb.ts';
import { NamedSlices, noCgroups, OwnCgroups } from '../runtime/cgroups.ts';
import type { CgroupTiming } from '../runtime/cgroups.ts';
import type { PodCgroups } from '../runtime/cgroups.ts';
import type { RuntimeSettings } from '../runtime/settings.ts';
import { SliceTree } from '../runtime/slice-tree.ts';

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

/** The cgroups of pods by these settings. `hasBus`: whether systemd can be asked for some. */
export function podCgroups(
  settings: RuntimeSettings,
  { clock, log, meter }: Pick<KubeletBase, 'clock' | 'log'> & Pick<CgroupTiming, 'meter'>,
  hasBus = existsSync(systemBusPath),
): PodCgroups {
  const { perQos, driver, root, version } = settings.cgroup;
  const isSystemd = driver === 'systemd';
  const isNamed = perQos && isSystemd && !hasBus;
  const noSystemd = `systemd cannot be asked: there is no ${systemBusPath}`;
  if (isNamed) log.warn({}, `cgroups of pods have no limits, and stay: ${noSystemd}`);
  if (settings.pidsLimit > 0n && (!perQos || isNamed)) {
    log.warn({}, `podPidsLimit has no effect: ${perQos ? noSystemd : 'pods have no cgroups'}`);
  }
  if (!perQos) return noCgroups;
  if (isNamed) return new NamedSlices({ root });
  const timing = { meter, clock };
  if (!isSystemd) {
    return new OwnCgroups(new CgroupTree({ version, root }, clock), settings, timing);
  }
  const tree = new CgroupTree({ version, root: '' }, clock);
  const slices = new SystemdSlices(version);
  return new OwnCgroups(new SliceTree({ root, slices, tree, clock }), settings, timing);
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
