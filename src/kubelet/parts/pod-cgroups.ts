import { existsSync } from 'node:fs';
import { CgroupTree } from '../../host/cgroups.ts';
import { systemBusPath } from '../../host/system-bus.ts';
import { SystemdSlices } from '../../host/systemd-slices.ts';
import type { KubeletBase } from '../base/kubelet-base.ts';
import { NamedSlices, noCgroups, OwnCgroups } from '../runtime/cgroups.ts';
import type { CgroupTiming, PodCgroups } from '../runtime/cgroups.ts';
import type { RuntimeSettings } from '../runtime/settings.ts';
import { SliceTree } from '../runtime/slice-tree.ts';

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
  return new OwnCgroups(new SliceTree({ root, slices, tree, clock, log }), settings, timing);
}
