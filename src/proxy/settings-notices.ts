import { isDeepStrictEqual } from 'node:util';
import type { ProxyConfig } from '../config/proxy-config.ts';
import { familyLabel } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import { cidrFamily } from '../ip/cidr.ts';
import type { Log } from '../telemetry/log.ts';

type Settings = Pick<ProxyConfig, 'mode' | 'detectLocal' | 'clusterCidrs' | 'nodePortAddresses'>;

/** The families that are served here. */
export interface ServedFamilies {
  readonly families: readonly Family[];
  /** That of the node's first address. */
  readonly primary: Family;
}

/**
 * Says at the start which settings do not go with the families that are served, and what an open setting means. Only what an
 * operator has to act on is a warning: a cluster of one family on a node that could do two is well.
 */
export function tellSettings(settings: Settings, served: ServedFamilies, log: Log): void {
  if (settings.mode === 'userspace') return;
  tellClusterCidrs(settings, served, log);
  if (settings.nodePortAddresses.kind !== 'all') return;
  log.info({}, 'node ports answer on all addresses of this node; nodePortAddresses narrows them');
}

/** Whether {@link tellSettings} may have something else to say. */
export function tellsOfSettings(before: Settings, after: Settings): boolean {
  const told = ({ detectLocal, clusterCidrs, nodePortAddresses }: Settings): object => {
    return { detectLocal, clusterCidrs, nodePortAddresses: nodePortAddresses.kind };
  };
  return !isDeepStrictEqual(told(before), told(after));
}

function tellClusterCidrs(
  { detectLocal, clusterCidrs }: Settings,
  { families, primary }: ServedFamilies,
  log: Log,
): void {
  if (detectLocal.mode !== 'ClusterCIDR') return;
  if (clusterCidrs.length === 0) {
    const hint = 'set clusterCIDR, or another detectLocalMode';
    log.info(
      { hint },
      "clusterCIDR is empty: traffic of this node's pods is not told from others'",
    );
    return;
  }
  for (const cidr of clusterCidrs) {
    const family = cidrFamily(cidr);
    if (families.includes(family)) continue;
    log.warn({ cidr }, `clusterCIDR has ${cidr}, but ${familyLabel(family)} is not served here`);
  }
  if (families.includes(primary) && !clusterCidrs.some((cidr) => cidrFamily(cidr) === primary)) {
    const hint = `add the pods' CIDR of ${familyLabel(primary)} to clusterCIDR`;
    const text = `clusterCIDR has none of ${familyLabel(primary)}, the family of this node`;
    log.warn({ hint }, `${text}: traffic of its pods is not told from others'`);
  }
}
