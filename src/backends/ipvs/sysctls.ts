import { SwitchyardError, errorText } from '../../error.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import type { Sysctls } from '../../host/sysctl.ts';
import type { Log } from '../../telemetry/log.ts';

/** What the choice of sysctls depends on beside the kernel. */
export interface SysctlSettings {
  readonly strictArp: boolean;
}

/** A setting that is not as this mode wants it. */
export interface SysctlChoice {
  readonly key: string;
  readonly value: string;
  /** What it is good for, in words for the log. */
  readonly reason: string;
  /** undefined: this kernel does not have it. */
  readonly current: string | undefined;
  /** Services do not work without it. */
  readonly needed: boolean;
}

/**
 * The sysctls to change, in order: a function of `uname -r`, the settings, and what is set.
 * Versions decide only about conn_reuse_mode; what an older kernel does not have is in the list without a current value.
 */
export function ipvsSysctls(
  release: string,
  settings: SysctlSettings,
  current: (key: string) => string | undefined,
): readonly SysctlChoice[] {
  return wanted(release, settings)
    .map((each): SysctlChoice => ({ ...each, current: current(each.key) }))
    .filter(({ value, current: now }) => now !== value);
}

function wanted(
  release: string,
  { strictArp }: SysctlSettings,
): readonly Omit<SysctlChoice, 'current'>[] {
  const { value: reuse, reason } = connReuse(release);
  return [
    {
      key: 'net/ipv4/vs/conntrack',
      value: '1',
      reason: 'connections of ipvs are tracked, so that rules can masquerade and accept them',
      needed: true,
    },
    ...(reuse === undefined ? [] : [{ key: connReuseKey, value: reuse, reason, needed: false }]),
    {
      key: 'net/ipv4/vs/expire_nodest_conn',
      value: '1',
      reason:
        'a flow to an endpoint that is gone ends at its next packet, and the client tries anew',
      needed: false,
    },
    {
      key: 'net/ipv4/vs/expire_quiescent_template',
      value: '1',
      reason: 'session affinity does not hold a client to an endpoint that drains',
      needed: false,
    },
    {
      key: 'net/ipv4/ip_forward',
      value: '1',
      reason: 'packets to pods are forwarded',
      needed: true,
    },
    ...(strictArp ? arpSysctls : []),
  ];
}

const arpSysctls = [
  {
    key: 'net/ipv4/conf/all/arp_ignore',
    value: '1',
    reason:
      'strict ARP: an address is answered for on its own interface alone, never for kube-ipvs0',
    needed: true,
  },
  {
    key: 'net/ipv4/conf/all/arp_announce',
    value: '2',
    reason: 'strict ARP: no address of kube-ipvs0 is announced',
    needed: true,
  },
] as const;

const connReuseKey = 'net/ipv4/vs/conn_reuse_mode';

/**
 * What the kernel does with a client that uses a source port again before its last connection there is forgotten.
 * Before 5.9 its mode 1 dropped the first packet of such a connection, and the client waited a second: a busy one got
 * 408 requests a second done. From 5.9 on mode 1 chooses an endpoint at once; mode 0 may follow one that is gone.
 * No value: it is left as it is.
 */
function connReuse(release: string): { readonly value?: '0' | '1'; readonly reason: string } {
  const version = kernelVersion(release);
  if (version === undefined) {
    return {
      reason: `what is best depends on the version of Linux, which ${release} does not tell`,
    };
  }
  if (isBefore(version, [4, 1])) {
    return { reason: `Linux ${release} has no such setting (since 4.1), and does as with 0` };
  }
  if (isBefore(version, [5, 9])) {
    const reason = `Linux ${release} would else make a client wait a second wherever it uses a source port again (until 5.9)`;
    return { value: '0', reason };
  }
  const reason = `Linux ${release} (5.9 or newer) gives a source port that is used again an endpoint of its own, at once`;
  return { value: '1', reason };
}

type Version = readonly [major: number, minor: number];

function kernelVersion(release: string): Version | undefined {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return major === undefined ? undefined : [Number(major), Number(minor)];
}

function isBefore([major, minor]: Version, [otherMajor, otherMinor]: Version): boolean {
  return major < otherMajor || (major === otherMajor && minor < otherMinor);
}

/**
 * Makes the settings, each with its reason in the log. ip_vs has to be loaded: its keys come with it. One that
 * Services need and that cannot be set rejects with code `missing`; of others the log tells.
 */
export async function applyIpvsSysctls(
  settings: SysctlSettings,
  sysctls: Sysctls,
  log: Log,
): Promise<void> {
  const release = (await sysctls.read('kernel/osrelease')) ?? '';
  const values = new Map<string, string>();
  for (const { key } of wanted(release, settings)) {
    const value = await sysctls.read(key);
    if (value !== undefined) values.set(key, value);
  }
  const changes = ipvsSysctls(release, settings, (key) => values.get(key));
  for (const choice of changes) await apply(choice, sysctls, log);
  tellKept(release, settings, changes, log);
}

/** The reasons of what needs no change. */
function tellKept(
  release: string,
  settings: SysctlSettings,
  changes: readonly SysctlChoice[],
  log: Log,
): void {
  const changed = new Set(changes.map(({ key }) => key));
  const kept = wanted(release, settings)
    .filter(({ key }) => !changed.has(key))
    .map(({ key, value, reason }) => `${key}=${value}: ${reason}`);
  const { value, reason } = connReuse(release);
  if (value === undefined) kept.push(`${connReuseKey}: ${reason}`);
  if (kept.length > 0) log.info({ kept }, 'left sysctls for ipvs as they are');
}

async function apply(choice: SysctlChoice, sysctls: Sysctls, log: Log): Promise<void> {
  const { key, value, reason, current, needed } = choice;
  try {
    if (current === undefined) throw absent(choice);
    await sysctls.write(key, value);
    log.info({ key, value, before: current, reason }, 'set a sysctl for ipvs');
  } catch (error) {
    if (needed || !(error instanceof SwitchyardError)) throw error;
    log.warn({ key, value, reason, hint: error.hint }, `not set: ${errorText(error)}`);
  }
}

function absent({ key, value, reason }: SysctlChoice): SwitchyardError {
  const option = key === 'net/ipv4/vs/conntrack' ? 'CONFIG_IP_VS_NFCT' : 'this setting';
  return new SwitchyardError(
    'missing',
    `this kernel has no ${key}, expected to set it to ${value}: ${reason}`,
    { hint: `use a kernel whose ipvs has ${option}` },
  );
}

/** Time-outs of connections in ipvs; 0 leaves the kernel's. */
export interface IpvsTimeouts {
  readonly tcpTimeoutMs: number;
  readonly tcpFinTimeoutMs: number;
  readonly udpTimeoutMs: number;
}

/** Sets what is above 0, in whole seconds. That the kernel refuses is an error in the log: Services work with its own. */
export async function setIpvsTimeouts(
  { tcpTimeoutMs, tcpFinTimeoutMs, udpTimeoutMs }: IpvsTimeouts,
  tools: ToolRunner,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const seconds = [tcpTimeoutMs, tcpFinTimeoutMs, udpTimeoutMs].map((ms) => Math.ceil(ms / 1000));
  if (seconds.every((each) => each === 0)) return;
  const args = ['--set', ...seconds.map(String)];
  const { exitCode, stderr } = await tools.run('ipvsadm', args, { timeoutMs: 30_000, signal });
  const [tcp, tcpFin, udp] = seconds;
  if (exitCode === 0) log.info({ tcp, tcpFin, udp }, 'set the time-outs of ipvs, in seconds');
  else log.error({ tcp, tcpFin, udp }, `the time-outs of ipvs are not set: ${stderr.trim()}`);
}
