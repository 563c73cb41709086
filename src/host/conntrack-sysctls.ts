import { readdir } from 'node:fs/promises';
import { errorText } from '../error.ts';
import type { Log } from '../telemetry/log.ts';
import { readSetting, writeSetting } from './sysctl.ts';
import type { Sysctls } from './sysctl.ts';

/** Settings of connection tracking as kube-proxy's configuration has them; 0 leaves a value as it is. */
export interface ConntrackSettings {
  /** Entries a CPU; 0 leaves the limit alone, and then `min` does not count either. */
  readonly maxPerCore: number;
  readonly min: number;
  readonly tcpEstablishedTimeoutSeconds: number;
  readonly tcpCloseWaitTimeoutSeconds: number;
  readonly tcpBeLiberal: boolean;
  readonly udpTimeoutSeconds: number;
  readonly udpStreamTimeoutSeconds: number;
  readonly accounting: boolean;
}

/** Where the machine is; tests point it at directories of their own. */
export interface ConntrackPaths {
  readonly hashSize: string;
  /** Holds one directory `cpuN` a CPU. */
  readonly cpus: string;
}

export const systemConntrackPaths: ConntrackPaths = {
  hashSize: '/sys/module/nf_conntrack/parameters/hashsize',
  cpus: '/sys/devices/system/cpu',
};

/** The sysctls to set, in order; a pure function of settings and CPUs. */
export function conntrackSysctls(
  settings: ConntrackSettings,
  cpus: number,
): readonly (readonly [key: string, value: string])[] {
  const max = conntrackMax(settings, cpus);
  const values: readonly (readonly [string, number])[] = [
    ['nf_conntrack_max', max],
    ['nf_conntrack_tcp_timeout_established', settings.tcpEstablishedTimeoutSeconds],
    ['nf_conntrack_tcp_timeout_close_wait', settings.tcpCloseWaitTimeoutSeconds],
    ['nf_conntrack_tcp_be_liberal', settings.tcpBeLiberal ? 1 : 0],
    ['nf_conntrack_udp_timeout', settings.udpTimeoutSeconds],
    ['nf_conntrack_udp_timeout_stream', settings.udpStreamTimeoutSeconds],
    ['nf_conntrack_acct', settings.accounting ? 1 : 0],
  ];
  return values
    .filter(([, value]) => value > 0)
    .map(([key, value]) => [`net/netfilter/${key}`, String(value)] as const);
}

/** Entries the table may hold; 0: leave it as it is. */
export function conntrackMax(
  settings: Pick<ConntrackSettings, 'maxPerCore' | 'min'>,
  cpus: number,
): number {
  return settings.maxPerCore > 0 ? Math.max(settings.maxPerCore * cpus, settings.min) : 0;
}

/**
 * Sets what differs. A value that cannot be set rejects, naming file, value and cure; only the hash size, which
 * cannot be written where /sys is read-only, is a warning: the table works, its chains are longer.
 */
export async function applyConntrackSysctls(
  settings: ConntrackSettings,
  sysctls: Sysctls,
  log: Log,
  paths: ConntrackPaths = systemConntrackPaths,
): Promise<void> {
  const cpus = await cpuCount(paths.cpus);
  for (const [key, value] of conntrackSysctls(settings, cpus)) {
    if (await sysctls.write(key, value))
      log.info({ key, value }, 'set a connection tracking sysctl');
  }
  await raiseHashSize(Math.floor(conntrackMax(settings, cpus) / 4), paths.hashSize, log);
}

async function raiseHashSize(wanted: number, path: string, log: Log): Promise<void> {
  if (wanted === 0) return;
  try {
    const current = await readSetting(path);
    if (current === undefined || Number(current) >= wanted) return;
    await writeSetting(path, String(wanted));
    log.info({ path, value: wanted }, 'raised the hash size of connection tracking');
  } catch (error) {
    log.warn(
      { path, wanted },
      `the hash size of connection tracking stays smaller than a quarter of its limit: ${errorText(error)}`,
    );
  }
}

/** CPUs of the machine, not of the cgroup: the table is the machine's. */
export async function cpuCount(path: string = systemConntrackPaths.cpus): Promise<number> {
  const entries = await readdir(path);
  return Math.max(1, entries.filter((name) => /^cpu\d+$/.test(name)).length);
}
