import { ipvsSysctls } from '../backends/ipvs/sysctls.ts';
import type { NetworkShape } from '../host/network-shape.ts';
import { cidrFamily } from '../ip/cidr.ts';
import { servesLocalhostNodePorts } from '../proxy/node-context.ts';
import { registered } from './check.ts';
import type { Subject } from './check.ts';
import { failure, kernelWays, ok, skipped, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import type { RulesReading, SysctlReading } from './readings.ts';

interface SysctlFacts {
  readonly sysctls: SysctlReading;
  readonly shape: NetworkShape;
  readonly rules: RulesReading;
}

const keys = {
  forward4: 'net/ipv4/ip_forward',
  forward6: 'net/ipv6/conf/all/forwarding',
  localnet: 'net/ipv4/conf/all/route_localnet',
  reversePath: 'net/ipv4/conf/all/rp_filter',
  bridge4: 'net/bridge/bridge-nf-call-iptables',
  bridge6: 'net/bridge/bridge-nf-call-ip6tables',
  localPorts: 'net/ipv4/ip_local_port_range',
  reservedPorts: 'net/ipv4/ip_local_reserved_ports',
} as const;

/** Whether connections are counted in bytes. */
export const accountingKey = 'net/netfilter/nf_conntrack_acct';

/** All keys that are read. */
export const examinedSysctls: readonly string[] = [
  ...Object.values(keys),
  accountingKey,
  ...['conntrack', 'conn_reuse_mode', 'expire_nodest_conn', 'expire_quiescent_template'].map(
    (name) => `net/ipv4/vs/${name}`,
  ),
  'net/ipv4/conf/all/arp_ignore',
  'net/ipv4/conf/all/arp_announce',
];

/** Kernel settings that Services depend on. */
export const sysctls = registered<SysctlFacts>({
  id: 'sysctl',
  read: async (readings) => ({
    sysctls: await readings.sysctls(),
    shape: await readings.shape(),
    rules: await readings.rules(),
  }),
  judge: ({ sysctls: found, shape, rules }, subject) => [
    ...forwarding(found, subject),
    localnet(found, rules, subject),
    reversePath(found, shape),
    ...bridges(found, shape, subject),
    ...localPorts(found),
    ipvs(found, subject),
  ],
});

/** What an administrator types. */
export function sysctlCommand(key: string, value: string): string {
  return `sysctl -w ${dotted(key)}=${value}`;
}

function dotted(key: string): string {
  return key.replaceAll('/', '.');
}

function idOf(key: string): string {
  return `sysctl.${dotted(key)}`;
}

function persistent(...commands: readonly string[]): string {
  return `${commands.join('; ')}   (to stay: a file in /etc/sysctl.d)`;
}

function forwarding({ values }: SysctlReading, { config }: Subject): readonly Finding[] {
  const needsV6 = config.clusterCidrs.some((cidr) => cidrFamily(cidr) === 'ipv6');
  return [keys.forward4, ...(needsV6 ? [keys.forward6] : [])].map((key) => {
    const value = values.get(key);
    if (value === '1') return ok(idOf(key), `${dotted(key)} is 1`, ['iptables']);
    const text = `${dotted(key)} is ${value ?? 'not there'}: packets to pods are not forwarded`;
    return failure(idOf(key), text, persistent(sysctlCommand(key, '1')), ['iptables']);
  });
}

/** Opened before the guard stands, 127.0.0.0/8 is open to neighbours (CVE-2020-8558). */
function localnet(
  { values, writable }: SysctlReading,
  { read }: RulesReading,
  { config }: Subject,
): Finding {
  const key = keys.localnet;
  const isOn = values.get(key) === '1';
  const hasGuard = read.some(
    ({ family, chains }) => family === 'ipv4' && chains.has('filter KUBE-FIREWALL'),
  );
  if (isOn && !hasGuard && read.length > 0) {
    const text = `${dotted(key)} is 1 without KUBE-FIREWALL: neighbours of this node may reach what listens on 127.0.0.1 (CVE-2020-8558)`;
    const cure = `start the agent, which writes the guard, or ${sysctlCommand(key, '0')}`;
    return warning(idOf(key), text, cure);
  }
  if (isOn) return ok(idOf(key), `${dotted(key)} is 1`, ['iptables']);
  if (!servesLocalhostNodePorts(config, 'ipv4')) {
    return ok(idOf(key), `${dotted(key)} is 0, as this configuration wants it`, ['iptables']);
  }
  if (writable)
    return ok(idOf(key), `${dotted(key)} is 0; the agent sets it after its guard`, ['iptables']);
  const text = `${dotted(key)} is 0 and cannot be written here: node ports do not answer on 127.0.0.1`;
  const cure =
    'run switchyard proxy --init-only privileged before it, or give --iptables-localhost-nodeports=false';
  return warning(idOf(key), text, cure, ['iptables']);
}

function reversePath({ values }: SysctlReading, { uplinks }: NetworkShape): Finding {
  const key = keys.reversePath;
  const isStrict = values.get(key) === '1';
  if (isStrict && uplinks.length > 1) {
    const text = `${dotted(key)} is 1 (strict) and there are default routes by ${uplinks.join(', ')}: answers that come in by another one than packets leave by are dropped`;
    return warning(idOf(key), text, persistent(sysctlCommand(key, '2')), kernelWays);
  }
  return ok(idOf(key), `${dotted(key)} is ${values.get(key) ?? 'not there'}`, kernelWays);
}

/** Bridges that network plugins put pods behind. */
const podBridges = new Set(['cni0', 'cbr0', 'kube-bridge', 'weave', 'mynet0']);

function bridges(
  { values }: SysctlReading,
  { bridges: found }: NetworkShape,
  { config }: Subject,
): readonly Finding[] {
  if (found.length === 0) return [ok(idOf(keys.bridge4), 'no bridge has ports here', kernelWays)];
  const detect = config.detectLocal;
  const isPods = (name: string): boolean =>
    podBridges.has(name) || (detect.mode === 'BridgeInterface' && detect.name === name);
  const hasV6 = config.clusterCidrs.some((cidr) => cidrFamily(cidr) === 'ipv6');
  return [keys.bridge4, ...(hasV6 ? [keys.bridge6] : [])].map((key) => {
    const value = values.get(key);
    if (value === '1') return ok(idOf(key), `${dotted(key)} is 1`, kernelWays);
    const seen = value === undefined ? 'br_netfilter is not loaded' : `${dotted(key)} is ${value}`;
    const text = `${seen}, and ${found.join(', ')} ${found.length === 1 ? 'is a bridge' : 'are bridges'} with ports: a pod that asks a Service does not recognise the answer of a pod on its own bridge`;
    const load = value === undefined ? ['modprobe br_netfilter'] : [];
    const cure = persistent(...load, sysctlCommand(key, '1'));
    const judge = found.some(isPods) ? failure : warning;
    return judge(idOf(key), text, cure, kernelWays);
  });
}

/** The API server's usual range of node ports. */
const nodePorts = { first: 30_000, last: 32_767 } as const;

function localPorts({ values }: SysctlReading): readonly Finding[] {
  const key = keys.localPorts;
  const [first, last] = (values.get(key) ?? '').split(/\s+/).map(Number);
  if (first === undefined || last === undefined) return [];
  const isApart = last < nodePorts.first || first > nodePorts.last;
  const isReserved = reserves(values.get(keys.reservedPorts) ?? '');
  if (isApart || isReserved) return [ok(idOf(key), `clients get ports ${first}–${last}`)];
  const range = `${nodePorts.first}-${nodePorts.last}`;
  const text = `clients of this node get ports ${first}–${last}, node ports (${range}) among them: answers to such a client may be taken for requests to a node port`;
  return [warning(idOf(key), text, persistent(sysctlCommand(keys.reservedPorts, range)))];
}

/** Whether one of the listed ranges holds all node ports. */
function reserves(list: string): boolean {
  return list.split(',').some((item) => {
    const [from = NaN, to = from] = item.split('-').map(Number);
    return from <= nodePorts.first && to >= nodePorts.last;
  });
}

function ipvs({ values, writable, release }: SysctlReading, { config }: Subject): Finding {
  const id = 'sysctl.ipvs';
  const isLoaded = values.has('net/ipv4/vs/expire_nodest_conn');
  if (!isLoaded)
    return skipped(id, 'the settings of ipvs come with ip_vs, which is not loaded', ['ipvs']);
  const changes = ipvsSysctls(release, config.ipvs, (key) => values.get(key));
  if (changes.length === 0) return ok(id, 'all as ipvs mode wants them', ['ipvs']);
  const lacking = changes.filter(({ needed, current }) => needed && current === undefined);
  if (lacking.length > 0) {
    const text = `this kernel has no ${lacking.map(({ key }) => dotted(key)).join(', ')}`;
    return failure(id, text, 'use a kernel whose ipvs has CONFIG_IP_VS_NFCT', ['ipvs']);
  }
  const settable = changes.filter(({ current }) => current !== undefined);
  const shown = settable.map(({ key, value, current }) => `${dotted(key)} ${current} → ${value}`);
  if (writable) return ok(id, `the agent sets ${shown.join(', ')}`, ['ipvs']);
  const text = `cannot be written here: ${shown.join(', ')}`;
  const commands = settable.map(({ key, value }) => sysctlCommand(key, value));
  const judge = settable.some(({ needed }) => needed) ? failure : warning;
  return judge(id, text, persistent(...commands), ['ipvs']);
}
