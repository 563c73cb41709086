import { isDeepStrictEqual } from 'node:util';
import type { Cidr } from '../ip/cidr.ts';
import { formatDuration } from './duration.ts';
import { fieldOf } from './flag-table.ts';
import type { FlagSpec, FlagTable, FlagValues } from './flag-table.ts';
import type { IpvsConfig, ProxyConfig } from './proxy-config.ts';

/** Who is told what is wrong with a setting. */
export interface FieldReport {
  problem(field: string, text: string, hint: string): void;
  warn(text: string): void;
  /** Those that are CIDRs; the others are problems. */
  cidrs(field: string): readonly Cidr[];
}

/** The ipvs settings; they are checked in ipvs mode alone, as in kube-proxy. */
export function readIpvs(flags: FlagValues, report: FieldReport): IpvsConfig {
  const atLeastZero = (field: string, hint: string): number => {
    const value = flags.number(field);
    if (value < 0) report.problem(field, 'must not be negative', hint);
    return value;
  };
  const timeout = (field: string): number =>
    atLeastZero(field, "give 0s to leave the kernel's value");
  const scheduler = flags.text('ipvsScheduler');
  if (!/^[a-z0-9_-]{0,15}$/.test(scheduler)) {
    const hint = 'give a scheduler such as rr, wrr, wlc or mh';
    report.problem('ipvsScheduler', `${JSON.stringify(scheduler)} is not a name`, hint);
  }
  return {
    scheduler: scheduler === '' ? 'rr' : scheduler,
    excludeCidrs: report.cidrs('ipvsExcludeCidrs'),
    strictArp: flags.bool('ipvsStrictArp'),
    tcpTimeoutMs: timeout('ipvsTcpTimeout'),
    tcpFinTimeoutMs: timeout('ipvsTcpfinTimeout'),
    udpTimeoutMs: timeout('ipvsUdpTimeout'),
    drainMs: atLeastZero('ipvsDrainTimeout', 'give 0s to wait for no connection'),
  };
}

/**
 * Says which settings of one mode were given to another one. Their own values are what kubeadm writes. How long
 * connections of ipvs mode drain, and what of it is left alone, counts in others too, on a node that comes from it.
 */
export function warnOfOthers(
  table: FlagTable,
  flags: FlagValues,
  mode: string,
  report: FieldReport,
): void {
  for (const flag of table) {
    if (isSet(flags, flag) && !countsInAll.has(flag.name))
      report.warn(`${flags.shown(fieldOf(flag))} has no effect: the mode is ${mode}`);
  }
}

const countsInAll: ReadonlySet<string> = new Set(['ipvs-drain-timeout', 'ipvs-exclude-cidrs']);

function isSet(flags: FlagValues, flag: FlagSpec): boolean {
  const field = fieldOf(flag);
  return flags.given(field) && !isDeepStrictEqual(flags.value(field), flag.default ?? []);
}

const usualPeriodsMs = { SyncPeriod: 30_000, MinSyncPeriod: 1000 } as const;

/** The periods of the mode that is used, and their checks; portals of userspace mode are rules of iptables mode. */
export function readSyncPeriods(
  flags: FlagValues,
  mode: ProxyConfig['mode'],
  report: FieldReport,
): Pick<ProxyConfig, 'syncPeriodMs' | 'minSyncPeriodMs'> {
  const own = mode === 'ipvs' ? 'ipvs' : 'iptables';
  const other = mode === 'ipvs' ? 'iptables' : undefined;
  for (const name of ['SyncPeriod', 'MinSyncPeriod'] as const) {
    if (other === undefined || !flags.given(other + name)) continue;
    if (flags.number(other + name) === usualPeriodsMs[name]) continue;
    const counts = `--${mode}-${name === 'SyncPeriod' ? '' : 'min-'}sync-period counts`;
    report.warn(`${flags.shown(other + name)} has no effect: the mode is ${mode}, ${counts}`);
  }
  const [period, least] = [`${own}SyncPeriod`, `${own}MinSyncPeriod`];
  const syncPeriodMs = flags.number(period);
  const minSyncPeriodMs = flags.number(least);
  if (syncPeriodMs <= 0) report.problem(period, 'must be above 0', 'the default is 30s');
  if (minSyncPeriodMs < 0) {
    report.problem(least, 'must not be negative', 'give 0s to write at once');
  }
  if (minSyncPeriodMs > syncPeriodMs) {
    const text = `must not be above ${flags.shown(period)}, which is ${formatDuration(syncPeriodMs)}`;
    report.problem(least, text, 'lower the one or raise the other');
  }
  return { syncPeriodMs, minSyncPeriodMs };
}
