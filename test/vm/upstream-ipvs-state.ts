import { comment } from '../../src/backends/iptables/static-rules.ts';
import { lab4, lab6 } from '../support/node-lab.ts';
import type { NodeLab } from '../support/node-lab.ts';

/** A Service as kube-proxy's ipvs mode serves it: port 80 at its cluster IPs, TCP and UDP, to port 8080 of its pods. */
export interface UpstreamService {
  /** Last part of the cluster IPs. */
  readonly host: number;
  readonly pods: readonly ('pod-a' | 'pod-b' | 'pod-c')[];
  readonly nodePort?: number;
}

type FamilyNumber = 4 | 6;

/** The settings that kube-proxy makes; it never puts them back. */
export const upstreamSettings = ['net.ipv4.vs.conntrack=1', 'net.ipv4.vs.expire_nodest_conn=1'];

/**
 * Puts on the node of a lab what kube-proxy in ipvs mode leaves there when it ends: all of its sets, chains, virtual servers and addresses, of both families; no detector of pods, no balancer.
 */
export async function leaveUpstreamIpvs(
  lab: NodeLab,
  services: readonly UpstreamService[],
): Promise<void> {
  await lab.onNode('ip', 'link', 'add', 'kube-ipvs0', 'type', 'dummy');
  for (const family of [4, 6] as const) {
    await lab.feed('ipset', ['restore'], setLines(family, services));
    await lab.feed('ipvsadm', ['--restore'], serverLines(family, services));
    const addresses = services.map(({ host }) => clusterIP(family, host));
    const [length, nodad] = family === 4 ? [32, ''] : [128, ' nodad'];
    const bind = addresses.map((each) => `addr add ${each}/${length} dev kube-ipvs0${nodad}`);
    await lab.feed('ip', ['-batch', '-'], bind);
    const restore = family === 4 ? 'iptables-restore' : 'ip6tables-restore';
    await lab.feed(restore, ['--noflush'], ruleLines(family));
  }
}

const clusterIP = (family: FamilyNumber, host: number): string =>
  family === 4 ? `10.96.0.${host}` : `fd00:10:96::${host}`;
const nodeIP = (family: FamilyNumber): string => (family === 4 ? lab4.node : lab6.node);
const podIP = (family: FamilyNumber, pod: UpstreamService['pods'][number]): string =>
  (family === 4 ? lab4 : lab6)[pod];
const place = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** `KUBE-CLUSTER-IP`, `KUBE-6-CLUSTER-IP`; at most 31 characters. */
const setName = (family: FamilyNumber, name: string): string =>
  `${family === 4 ? 'KUBE-' : 'KUBE-6-'}${name}`.slice(0, 31);

const setTypes: Readonly<Record<string, string>> = {
  'LOOP-BACK': 'hash:ip,port,ip',
  'CLUSTER-IP': 'hash:ip,port',
  'EXTERNAL-IP': 'hash:ip,port',
  'EXTERNAL-IP-LOCAL': 'hash:ip,port',
  'LOAD-BALANCER': 'hash:ip,port',
  'LOAD-BALANCER-FW': 'hash:ip,port',
  'LOAD-BALANCER-LOCAL': 'hash:ip,port',
  'LOAD-BALANCER-SOURCE-IP': 'hash:ip,port,ip',
  'LOAD-BALANCER-SOURCE-CIDR': 'hash:ip,port,net',
  'NODE-PORT-TCP': 'bitmap:port',
  'NODE-PORT-LOCAL-TCP': 'bitmap:port',
  'NODE-PORT-UDP': 'bitmap:port',
  'NODE-PORT-LOCAL-UDP': 'bitmap:port',
  'NODE-PORT-SCTP-HASH': 'hash:ip,port',
  'NODE-PORT-LOCAL-SCTP-HASH': 'hash:ip,port',
  'HEALTH-CHECK-NODE-PORT': 'bitmap:port',
  'IPVS-IPS': 'hash:ip',
};

function setLines(family: FamilyNumber, services: readonly UpstreamService[]): readonly string[] {
  const inet = family === 4 ? 'inet' : 'inet6';
  const creates = Object.entries(setTypes).map(([name, type]) => {
    const rest =
      type === 'bitmap:port' ? 'range 0-65535' : `family ${inet} hashsize 1024 maxelem 65536`;
    return `create ${setName(family, name)} ${type} ${rest}`;
  });
  const add = (name: string, member: string): string =>
    `add -exist ${setName(family, name)} ${member}`;
  const members = services.flatMap(({ host, pods, nodePort }) => [
    add('IPVS-IPS', clusterIP(family, host)),
    ...['tcp', 'udp'].flatMap((protocol) => [
      add('CLUSTER-IP', `${clusterIP(family, host)},${protocol}:80`),
      ...(nodePort ? [add(`NODE-PORT-${protocol.toUpperCase()}`, `${nodePort}`)] : []),
      ...pods.map((pod) => {
        const address = podIP(family, pod);
        return add('LOOP-BACK', `${address},${protocol}:8080,${address}`);
      }),
    ]),
  ]);
  return [...creates, ...members];
}

function serverLines(
  family: FamilyNumber,
  services: readonly UpstreamService[],
): readonly string[] {
  return services.flatMap(({ host, pods, nodePort }) => {
    const places = [
      place(clusterIP(family, host), 80),
      ...(nodePort ? [place(nodeIP(family), nodePort)] : []),
    ];
    return ['-t', '-u'].flatMap((protocol) =>
      places.flatMap((at) => [
        `-A ${protocol} ${at} -s rr`,
        ...pods.map((pod) => `-a ${protocol} ${at} -r ${place(podIP(family, pod), 8080)} -m -w 1`),
      ]),
    );
  });
}

const jumpTo = (from: string, to: string, why: string): string =>
  `-I ${from} ${comment(why)} -j ${to}`;

function ruleLines(family: FamilyNumber): readonly string[] {
  const set = (name: string, dimensions: string): string =>
    `-m set --match-set ${setName(family, name)} ${dimensions}`;
  const clusterIPs = comment('Kubernetes service cluster ip + port for masquerade purpose');
  const nat = [
    `-A KUBE-SERVICES -s ${family === 4 ? '127.0.0.0/8' : '::1/128'} -j RETURN`,
    `-A KUBE-SERVICES ${clusterIPs} ${set('CLUSTER-IP', 'src,dst')} -j KUBE-MARK-MASQ`,
    '-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT',
    `-A KUBE-SERVICES ${set('CLUSTER-IP', 'dst,dst')} -j ACCEPT`,
    ...['tcp', 'udp'].map(
      (protocol) =>
        `-A KUBE-NODE-PORT -p ${protocol} ${set(`NODE-PORT-${protocol.toUpperCase()}`, 'dst')} -j KUBE-MARK-MASQ`,
    ),
    '-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ',
    `-A KUBE-POSTROUTING ${set('LOOP-BACK', 'dst,dst,src')} -j MASQUERADE`,
    '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
    '-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000',
    `-A KUBE-POSTROUTING ${comment('kubernetes service traffic requiring SNAT')} -j MASQUERADE --random-fully`,
    '-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000',
    jumpTo('OUTPUT', 'KUBE-SERVICES', 'kubernetes service portals'),
    jumpTo('PREROUTING', 'KUBE-SERVICES', 'kubernetes service portals'),
    jumpTo('POSTROUTING', 'KUBE-POSTROUTING', 'kubernetes postrouting rules'),
  ];
  const served = ['LOAD-BALANCER', 'CLUSTER-IP', 'EXTERNAL-IP', 'EXTERNAL-IP-LOCAL'];
  const filter = [
    `-A KUBE-FORWARD ${comment('kubernetes forwarding rules')} -m mark --mark 0x4000/0x4000 -j ACCEPT`,
    `-A KUBE-FORWARD ${comment('kubernetes forwarding conntrack rule')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    `-A KUBE-NODE-PORT ${set('HEALTH-CHECK-NODE-PORT', 'dst')} -j ACCEPT`,
    '-A KUBE-SOURCE-RANGES-FIREWALL -j DROP',
    ...served.map((name) => `-A KUBE-IPVS-FILTER ${set(name, 'dst,dst')} -j RETURN`),
    `-A KUBE-IPVS-FILTER ${set('HEALTH-CHECK-NODE-PORT', 'dst')} -j RETURN`,
    `-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW ${set('IPVS-IPS', 'dst')} -j REJECT`,
    jumpTo('FORWARD', 'KUBE-FORWARD', 'kubernetes forwarding rules'),
    jumpTo('INPUT', 'KUBE-NODE-PORT', 'kubernetes health check rules'),
    jumpTo('INPUT', 'KUBE-PROXY-FIREWALL', 'kube-proxy firewall rules'),
    jumpTo('FORWARD', 'KUBE-PROXY-FIREWALL', 'kube-proxy firewall rules'),
    jumpTo('INPUT', 'KUBE-IPVS-FILTER', 'kubernetes ipvs access filter'),
    jumpTo('OUTPUT', 'KUBE-IPVS-OUT-FILTER', 'kubernetes ipvs access filter'),
  ];
  return [...table('nat', natChains, nat), ...table('filter', filterChains, filter)];
}

const natChains = [
  'KUBE-SERVICES',
  'KUBE-POSTROUTING',
  'KUBE-NODE-PORT',
  'KUBE-LOAD-BALANCER',
  'KUBE-MARK-MASQ',
];

const filterChains = [
  'KUBE-FORWARD',
  'KUBE-NODE-PORT',
  'KUBE-PROXY-FIREWALL',
  'KUBE-SOURCE-RANGES-FIREWALL',
  'KUBE-IPVS-FILTER',
  'KUBE-IPVS-OUT-FILTER',
];

function table(
  name: string,
  chains: readonly string[],
  rules: readonly string[],
): readonly string[] {
  return [`*${name}`, ...chains.map((chain) => `:${chain} - [0:0]`), ...rules, 'COMMIT'];
}
