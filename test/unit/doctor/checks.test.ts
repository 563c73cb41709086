/** Each check of `switchyard doctor`: what it says of a node without ailments, and of one with a single ailment. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Finding } from '../../../src/doctor/finding.ts';
import { checks } from '../../../src/doctor/registry.ts';
import { ruleFacts } from '../../../src/doctor/rule-facts.ts';
import type { MissingFeature } from '../../../src/backends/iptables/features.ts';
import type { NodeProcess } from '../../../src/host/node-processes.ts';
import {
  findingsOf,
  healthyApi,
  healthyNode,
  healthyValues,
  kubeletsRules,
  nowMs,
  subjectOf,
} from '../../support/healthy-node.ts';
import type { ReadValues } from '../../support/healthy-node.ts';

type Changes = { readonly [K in keyof ReadValues]?: ReadValues[K] | Error };

type Tried = Extract<ReadValues['probe'], { kind: 'tried' }>;

function isNotable({ status }: Finding): boolean {
  return status === 'failure' || status === 'warning';
}

describe('a node without ailments', () => {
  it.each([
    [[]],
    [['--mode=ipvs']],
    [['--mode=userspace']],
    [['--mode=userspace', '--userspace-portals=none']],
    [['--detect-local-mode=NodeCIDR']],
    [['--detect-local-mode=BridgeInterface', '--pod-bridge-interface=cni0']],
    [['--detect-local-mode=InterfaceNamePrefix', '--pod-interface-name-prefix=veth']],
  ])('has nothing to mend with %j', async (flags) => {
    const found = await findingsOf({}, { subject: subjectOf(...flags) });
    expect(found.filter(isNotable)).toEqual([]);
    expect(found.filter(({ status }) => status === 'ok').length).toBeGreaterThan(35);
  });

  it('gives each finding an id of its own', async () => {
    const ids = (await findingsOf()).map(({ id }) => id);
    expect(ids).toEqual([...new Set(ids)]);
  });

  it('is as well when an agent of ours runs on it', async () => {
    const rules = `${kubeletsRules}*nat\n:KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES -m comment --comment "switchyard generation 9f3a11c2 17"\nCOMMIT\n`;
    const found = await findingsOf({
      proxies: [{ pid: 900, kind: 'Switchyard' }],
      listeners: [
        { address: '0.0.0.0' as never, port: 10_256, owner: { pid: 900, name: 'node' } },
        { address: '127.0.0.1' as never, port: 10_249, owner: { pid: 900, name: 'node' } },
      ],
      rules: { read: [ruleFacts('nft', 'ipv4', rules)], unread: [] },
    });
    expect(found.filter(isNotable)).toEqual([]);
    expect(found.find(({ id }) => id === 'port.healthz')?.text).toContain(
      'Switchyard (process 900)',
    );
  });
});

const sysctls = (values: Record<string, string | undefined>, writable = true): Changes => {
  const all = new Map(healthyValues.sysctls.values);
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined) all.delete(key);
    else all.set(key, value);
  }
  return { sysctls: { ...healthyValues.sysctls, values: all, writable } };
};
const kernel = (changes: Partial<ReadValues['kernel']>): Changes => ({
  kernel: { ...healthyValues.kernel, ...changes },
});
const without = (set: ReadonlySet<string>, name: string): ReadonlySet<string> =>
  new Set([...set].filter((each) => each !== name));
const tools = (name: string, changes: object | 'gone'): Changes => ({
  tools: healthyValues.tools.map((each) => {
    if (each.tool !== name) return each;
    if (changes === 'gone') return { tool: name, found: false, cure: `install ${name}` };
    return { ...each, ...changes };
  }),
});
const missing = (...list: readonly MissingFeature[]): Changes => ({
  probe: {
    ...(healthyValues.probe as Tried),
    families: new Map([
      [
        'ipv4',
        {
          features: { hairpin: 'rules', affinity: 'recent', randomFully: false, comments: 'auto' },
          missing: list,
        },
      ],
    ]),
  },
});
const rules = (text: string, variant: 'nft' | 'legacy' = 'nft'): Changes => ({
  rules: { read: [ruleFacts(variant, 'ipv4', text)], unread: [] },
});
const runs = (name: string, ...argv: readonly string[]): Changes => {
  const one: NodeProcess = {
    pid: 800,
    name,
    argv: [`/usr/bin/${name}`, ...argv],
    isInOurNetwork: true,
  };
  return { processes: [one] };
};
const api = (changes: Partial<typeof healthyApi>): Changes => ({
  api: { ...healthyApi, ...changes },
});
const lists = (need: string, status: number, reason: string) =>
  healthyApi.lists.map((each) => (each.need === need ? { need, status, reason } : each));
const denied = (need: string, verb: string) =>
  healthyApi.access.map((each) =>
    each.need === need && each.verb === verb
      ? { ...each, answer: 'denied' as const, reason: 'no rule' }
      : each,
  );
const dropping = (...more: readonly string[]): string =>
  [
    '*filter',
    ':FORWARD DROP [0:0]',
    ':KUBE-FIREWALL - [0:0]',
    ':KUBE-FORWARD - [0:0]',
    '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
    ...more,
    'COMMIT',
    '',
  ].join('\n');
const refusing = (...before: readonly string[]): string =>
  dropping(...before, '-A FORWARD -j REJECT --reject-with icmp-host-prohibited').replace(
    'FORWARD DROP',
    'FORWARD ACCEPT',
  );
const listening = (address: string, owner: ReadValues['listeners'][number]['owner']): Changes => ({
  listeners: [{ address: address as never, port: 10_256, owner }],
});
const dates = (what: string, fromDays: number, toDays: number): Changes => ({
  credentials: {
    kind: 'read',
    by: 'a token',
    dated: [
      { what, notBeforeMs: nowMs + fromDays * 86_400_000, notAfterMs: nowMs + toDays * 86_400_000 },
    ],
    nowMs,
  },
});

/** An ailment: what is read, with which flags, and all that is told of it: id, status, a part of the text, a part of the cure. */
type Case = readonly [
  name: string,
  changes: Changes,
  flags: readonly string[],
  expected: readonly (readonly [
    id: string,
    status: 'warning' | 'failure',
    text: string,
    cure: string,
  ])[],
];

const cases: readonly Case[] = [
  [
    'not root',
    { privileges: { ...healthyValues.privileges, isRoot: false, mayChangeNetwork: false } },
    [],
    [['privileges.rights', 'warning', 'not root', 'run it as root']],
  ],
  [
    'a network namespace of its own',
    { privileges: { ...healthyValues.privileges, sharesNetworkOfInit: false } },
    [],
    [['privileges.network', 'warning', 'another network namespace', 'hostNetwork: true']],
  ],
  [
    'an old kernel, for ipvs',
    kernel({ release: '5.4.0' }),
    ['--mode=ipvs'],
    [['kernel.ipvs-reuse', 'warning', 'before 5.9', 'Linux 5.9 or newer']],
  ],
  [
    'an old kernel, for listeners',
    kernel({ release: '5.4.0' }),
    ['--mode=userspace'],
    [['kernel.listeners', 'warning', 'before 5.14', 'Linux 5.14 or newer']],
  ],
  [
    'a kernel without a match that rules need',
    kernel({ available: without(healthyValues.kernel.available, 'xt_mark') }),
    [],
    [['kernel.rules', 'failure', 'lacks xt_mark', 'CONFIG_NETFILTER_XT_MARK']],
  ],
  [
    'a kernel without what can be done without',
    kernel({ available: without(healthyValues.kernel.available, 'xt_bpf') }),
    [],
    [['kernel.hairpin', 'warning', 'lacks xt_bpf', 'CONFIG_NETFILTER_XT_MATCH_BPF']],
  ],
  [
    'a kernel whose ipvs is not tracked',
    kernel({ options: new Map([['NF_TABLES', 'm']]) }),
    ['--mode=ipvs'],
    [['kernel.ipvs', 'failure', 'lacks CONFIG_IP_VS_NFCT', 'CONFIG_IP_VS_NFCT']],
  ],
  [
    'no iptables',
    {
      tools: healthyValues.tools.filter(({ tool }) => !tool.startsWith('iptables')),
    },
    [],
    [['tool.iptables', 'failure', 'no iptables of any variant', 'apt-get install iptables']],
  ],
  [
    'no ip6tables',
    { tools: healthyValues.tools.filter(({ tool }) => !tool.startsWith('ip6tables')) },
    [],
    [['tool.ip6tables', 'warning', 'IPv6 is left out', 'apt-get install iptables']],
  ],
  [
    'iptables 1.8.2',
    tools('iptables-nft', { version: [1, 8, 2] }),
    [],
    [
      [
        'tool.iptables-nft-checks',
        'warning',
        'iptables-nft 1.8.2: before 1.8.3',
        '1.8.10 or newer',
      ],
    ],
  ],
  [
    'iptables 1.8.7',
    tools('iptables-nft', { version: [1, 8, 7] }),
    [],
    [['tool.iptables-nft-marks', 'warning', 'lose "-m mark"', '1.8.10 or newer']],
  ],
  [
    'no conntrack',
    tools('conntrack', 'gone'),
    [],
    [['tool.conntrack', 'warning', 'UDP clients', 'install conntrack']],
  ],
  [
    'no ipvsadm, for ipvs',
    tools('ipvsadm', 'gone'),
    ['--mode=ipvs'],
    [['tool.ipvsadm', 'failure', 'ipvsadm is not here', 'install ipvsadm']],
  ],
  ['no ipvsadm, which nobody asks for', tools('ipvsadm', 'gone'), [], []],
  [
    'no ipset, for ipvs',
    tools('ipset', 'gone'),
    ['--mode=ipvs'],
    [['tool.ipset', 'failure', 'ipset is not here', 'install ipset']],
  ],
  [
    'no ipset, in iptables mode',
    tools('ipset', 'gone'),
    [],
    [['tool.ipset', 'warning', 'ipset is not here', 'install ipset']],
  ],
  [
    'ipset 4',
    tools('ipset', { version: [4, 5, 0], said: 'ipset v4.5' }),
    ['--mode=ipvs'],
    [['tool.ipset', 'failure', 'before 6.0', '6.0 or newer']],
  ],
  [
    'a kernel that refuses a match',
    missing({
      name: 'match comment',
      reason: 'No chain/target/match',
      instead: undefined,
      cure: 'load xt_comment',
    }),
    [],
    [
      [
        'feature.iptables.ipv4',
        'failure',
        'match comment is missing (No chain/target/match)',
        'load xt_comment',
      ],
    ],
  ],
  [
    'a kernel that refuses sets',
    missing({
      name: 'match set',
      reason: 'revision 7 not supported by userspace',
      instead: 'xt_recent',
      cure: 'load xt_set',
    }),
    ['--mode=ipvs'],
    [['feature.ipvs.ipv4', 'failure', 'not supported by userspace', 'load xt_set']],
  ],
  [
    'a kernel that refuses sets, for listeners',
    missing({ name: 'match set', reason: 'no', instead: 'xt_recent', cure: 'load xt_set' }),
    ['--mode=userspace'],
    [['feature.userspace.ipv4', 'failure', 'match set is missing', 'load xt_set']],
  ],
  [
    'no ipvs when it is tried',
    {
      probe: {
        ...(healthyValues.probe as Tried),
        ipvs: [{ name: 'ip_vs', reason: 'Protocol not available', cure: 'modprobe ip_vs' }],
      },
    },
    ['--mode=ipvs'],
    [['feature.ipvs.kernel', 'failure', 'Protocol not available', 'modprobe ip_vs']],
  ],
  [
    'a kernel that refuses it to others than root',
    {
      probe: {
        ...(missing({
          name: 'match comment',
          reason: 'Permission denied',
          instead: undefined,
          cure: 'load xt_comment',
        }).probe as Tried),
        byRoot: false,
      },
    },
    [],
    [['feature.iptables.ipv4', 'warning', 'Permission denied', 'run it as root to be sure']],
  ],
  [
    'rules that cannot be tried',
    {
      probe: { kind: 'skipped', why: 'rules were not tried: unshare failed', cure: 'run as root' },
    },
    [],
    [['feature.probe', 'warning', 'not tried', 'run as root']],
  ],
  [
    'an unknown variant',
    { variant: { kind: 'unknown', reason: 'iptables-nft-save failed', cure: 'run as root' } },
    [],
    [['variant.choice', 'warning', 'iptables-nft-save failed', 'run as root']],
  ],
  [
    'rules that serve in both variants',
    {
      variant: {
        kind: 'chosen',
        choice: { variant: 'nft', reason: 'hint', beside: { variant: 'legacy', rules: 12 } },
      },
    },
    [],
    [
      [
        'variant.other',
        'failure',
        '12 rules of a service proxy are in force in the legacy variant too',
        'iptables-legacy -w -t nat -F KUBE-SERVICES',
      ],
    ],
  ],
  [
    'a firewall in the other variant',
    rules('*filter\n:KUBE-FIREWALL - [0:0]\n-A INPUT -p tcp -j DROP\nCOMMIT\n', 'legacy'),
    [],
    [['variant.other', 'warning', '1 (ipv4, legacy)', 'iptables-legacy-save']],
  ],
  [
    'the hint in both variants',
    {
      rules: {
        read: [
          ruleFacts('nft', 'ipv4', kubeletsRules),
          ruleFacts('legacy', 'ipv4', kubeletsRules.replace('-A INPUT -j KUBE-FIREWALL\n', '')),
        ],
        unread: [],
      },
    },
    [],
    [['variant.hint', 'warning', 'both variants', '-X KUBE-IPTABLES-HINT']],
  ],
  [
    'a lock that is held',
    { lock: { file: healthyValues.lock.file, holder: { pid: 4711, name: 'portmap' } } },
    [],
    [['lock.holder', 'warning', 'process 4711 (portmap) holds /run/xtables.lock', 'ps -fp 4711']],
  ],
  [
    'a lock held outside of this pid namespace',
    { lock: { file: healthyValues.lock.file, holder: { pid: 0, name: undefined } } },
    [],
    [['lock.holder', 'warning', 'another pid namespace', 'on the host']],
  ],
  [
    'a lock file of a container’s own',
    { lock: { file: { ...healthyValues.lock.file, isPrivate: true }, holder: undefined } },
    [],
    [['lock.file', 'warning', 'do not see the lock', 'hostPath']],
  ],
  [
    'no forwarding',
    sysctls({ 'net/ipv4/ip_forward': '0' }),
    [],
    [['sysctl.net.ipv4.ip_forward', 'failure', 'not forwarded', 'sysctl -w net.ipv4.ip_forward=1']],
  ],
  [
    'no forwarding of IPv6, with pods of it',
    sysctls({ 'net/ipv6/conf/all/forwarding': '0' }),
    ['--cluster-cidr=10.244.0.0/16,fd00:10:244::/56'],
    [
      [
        'sysctl.net.ipv6.conf.all.forwarding',
        'failure',
        'not forwarded',
        'sysctl -w net.ipv6.conf.all.forwarding=1',
      ],
    ],
  ],
  [
    'route_localnet without its guard',
    {
      ...sysctls({ 'net/ipv4/conf/all/route_localnet': '1' }),
      ...rules('*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n'),
    },
    [],
    [
      [
        'sysctl.net.ipv4.conf.all.route_localnet',
        'warning',
        'CVE-2020-8558',
        'sysctl -w net.ipv4.conf.all.route_localnet=0',
      ],
    ],
  ],
  [
    'route_localnet that cannot be set',
    sysctls({}, false),
    [],
    [['sysctl.net.ipv4.conf.all.route_localnet', 'warning', 'cannot be written', '--init-only']],
  ],
  [
    'strict reverse paths and two uplinks',
    { shape: { ...healthyValues.shape, uplinks: ['eth0', 'eth1'] } },
    [],
    [
      [
        'sysctl.net.ipv4.conf.all.rp_filter',
        'warning',
        'default routes by eth0, eth1',
        'rp_filter=2',
      ],
    ],
  ],
  [
    'a bridge of pods that rules do not see',
    sysctls({ 'net/bridge/bridge-nf-call-iptables': '0' }),
    [],
    [
      [
        'sysctl.net.bridge.bridge-nf-call-iptables',
        'failure',
        'cni0 is a bridge with ports',
        'sysctl -w net.bridge.bridge-nf-call-iptables=1',
      ],
    ],
  ],
  [
    'another bridge, and no br_netfilter',
    {
      ...sysctls({ 'net/bridge/bridge-nf-call-iptables': undefined }),
      shape: { ...healthyValues.shape, bridges: ['docker0'] },
    },
    [],
    [
      [
        'sysctl.net.bridge.bridge-nf-call-iptables',
        'warning',
        'br_netfilter is not loaded',
        'modprobe br_netfilter',
      ],
    ],
  ],
  [
    'client ports among node ports',
    sysctls({ 'net/ipv4/ip_local_port_range': '1024\t65535' }),
    [],
    [
      [
        'sysctl.net.ipv4.ip_local_port_range',
        'warning',
        '1024–65535',
        'ip_local_reserved_ports=30000-32767',
      ],
    ],
  ],
  [
    'client ports among node ports, which are reserved',
    sysctls({
      'net/ipv4/ip_local_port_range': '1024\t65535',
      'net/ipv4/ip_local_reserved_ports': '8080,30000-32767',
    }),
    [],
    [],
  ],
  [
    'settings of ipvs that cannot be written',
    sysctls({}, false),
    ['--mode=ipvs'],
    [
      [
        'sysctl.ipvs',
        'failure',
        'net.ipv4.vs.conntrack 0 → 1',
        'sysctl -w net.ipv4.vs.conntrack=1',
      ],
    ],
  ],
  [
    'a table of connections that fills',
    { conntrack: { ...healthyValues.conntrack, usage: { entries: 200_000, limit: 262_144 } } },
    [],
    [['conntrack.use', 'warning', '76 %', 'nf_conntrack_max=524288']],
  ],
  [
    'a table of connections that is full',
    { conntrack: { ...healthyValues.conntrack, usage: { entries: 262_000, limit: 262_144 } } },
    [],
    [['conntrack.use', 'failure', 'are dropped', '--conntrack-max-per-core']],
  ],
  [
    'a limit of connections that cannot be set',
    {
      ...sysctls({ 'net/ipv4/conf/all/route_localnet': '1' }, false),
      conntrack: { usage: { entries: 1, limit: 65_536 }, hashSize: 65_536, cpus: 8 },
    },
    [],
    [['conntrack.limit', 'warning', '262144 are configured', 'nf_conntrack_max=262144']],
  ],
  [
    'bytes that nobody counts',
    {},
    ['--service-traffic=bytes'],
    [['conntrack.accounting', 'warning', 'not counted in bytes', '--conntrack-accounting']],
  ],
  [
    'bytes that the agent has counted',
    {},
    ['--service-traffic=bytes', '--conntrack-accounting'],
    [],
  ],
  ['no nfacct', tools('nfacct', 'gone'), [], []],
  [
    'few buckets',
    { conntrack: { ...healthyValues.conntrack, hashSize: 1024 } },
    [],
    [
      [
        'conntrack.hashsize',
        'warning',
        '1024 buckets',
        'echo 65536 > /sys/module/nf_conntrack/parameters/hashsize',
      ],
    ],
  ],
  [
    'FORWARD drops, and nobody accepts pods',
    rules(dropping()),
    [],
    [
      [
        'forward.ipv4',
        'warning',
        'policy of FORWARD is DROP',
        'iptables-nft -w -A FORWARD -s 10.244.0.0/16 -j ACCEPT',
      ],
    ],
  ],
  [
    'FORWARD drops, as Docker sets it',
    rules(`${dropping()}*filter\n:DOCKER-USER - [0:0]\nCOMMIT\n`),
    [],
    [['forward.ipv4', 'warning', 'as Docker sets it', '-d 10.244.0.0/16 -j ACCEPT']],
  ],
  [
    'FORWARD drops, and pods are accepted',
    rules(dropping('-A FORWARD -s 10.244.0.0/16 -j ACCEPT')),
    [],
    [],
  ],
  ...['-A INPUT -s 10.244.0.0/16 -j ACCEPT', '-A FORWARD ! -s 10.244.0.0/16 -j ACCEPT'].map(
    (rule): Case => [
      `FORWARD drops, and pods are not accepted by ${rule}`,
      rules(dropping(rule)),
      [],
      [['forward.ipv4', 'warning', 'no rule is seen that accepts', '-A FORWARD -s 10.244.0.0/16']],
    ],
  ),
  [
    'FORWARD ends with a refusal',
    rules(refusing()),
    [],
    [
      [
        'forward.ipv4',
        'warning',
        'turns away whatever comes as far (-j REJECT --reject-with icmp-host-prohibited)',
        'iptables-nft -w -I FORWARD -s 10.244.0.0/16 -j ACCEPT',
      ],
    ],
  ],
  [
    'FORWARD ends with a refusal, and pods are accepted',
    rules(refusing('-A FORWARD -s 10.244.0.0/16 -j ACCEPT')),
    [],
    [],
  ],
  ['FORWARD accepts all before', rules(refusing('-A FORWARD -j ACCEPT')), [], []],
  [
    'FORWARD drops, and flannel accepts',
    rules(dropping().replace('*filter', '*filter\n:FLANNEL-FWD - [0:0]')),
    [],
    [],
  ],
  [
    'a chain of nft that drops',
    { nftTables: { kind: 'read', tables: ['inet fw'], droppingForward: ['inet fw forward'] } },
    [],
    [['forward.nft', 'warning', 'inet fw forward', 'accept the pods']],
  ],
  [
    'two agents',
    {
      proxies: [
        { pid: 900, kind: 'Switchyard' },
        { pid: 901, kind: 'Switchyard' },
      ],
    },
    [],
    [['writer.switchyard', 'failure', '900, 901', 'all but one']],
  ],
  [
    'kube-proxy',
    { proxies: [{ pid: 900, kind: 'kube-proxy' }] },
    [],
    [['writer.kube-proxy', 'failure', 'process 900', 'without its --cleanup']],
  ],
  [
    'rules of a kube-proxy that is not seen',
    rules(
      `${kubeletsRules}*nat\n:KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-X\nCOMMIT\n`,
    ),
    [],
    [['writer.kube-proxy', 'warning', 'another service proxy', 'pid namespace']],
  ],
  [
    'kube-router',
    runs('kube-router', '--run-firewall'),
    [],
    [['writer.kube-router', 'failure', 'process 800', '--run-service-proxy=false']],
  ],
  ['kube-router without its proxy', runs('kube-router', '--run-service-proxy=false'), [], []],
  [
    'k3s',
    runs('k3s-server'),
    [],
    [['writer.k3s', 'warning', 'a kube-proxy inside', '--disable-kube-proxy']],
  ],
  ['k3s without kube-proxy', runs('k3s-server', '--disable-kube-proxy'), [], []],
  [
    'MicroK8s',
    runs('kubelite'),
    [],
    [['writer.kubelite', 'warning', 'inside', '--start-kube-proxy=false']],
  ],
  [
    'Cilium',
    runs('cilium-agent'),
    [],
    [['writer.cilium', 'warning', 'kubeProxyReplacement', 'cilium-dbg status']],
  ],
  ['Antrea', runs('antrea-agent'), [], [['writer.antrea', 'warning', 'AntreaProxy', 'proxyAll']]],
  [
    'kube-proxy’s nftables mode',
    { nftTables: { kind: 'read', tables: ['ip kube-proxy'], droppingForward: [] } },
    [],
    [
      [
        'writer.kube-proxy-nftables',
        'failure',
        'nft table ip kube-proxy',
        'nft delete table ip kube-proxy',
      ],
    ],
  ],
  [
    'firewalld, run by python',
    {
      processes: [
        {
          pid: 800,
          name: 'python3',
          argv: ['/usr/bin/python3', '-s', '/usr/sbin/firewalld', '--nofork'],
          isInOurNetwork: true,
        },
      ],
    },
    [],
    [['writer.firewalld', 'warning', 'process 800', '--add-source=10.244.0.0/16']],
  ],
  [
    'ufw',
    { bootRules: { ...healthyValues.bootRules, ufwEnabled: true } },
    [],
    [['writer.ufw', 'warning', 'ufw is enabled', 'DEFAULT_FORWARD_POLICY="ACCEPT"']],
  ],
  ['Docker', runs('dockerd'), [], []],
  ['Calico', runs('calico-node', '-felix'), [], []],
  [
    'Calico, and a mark of its',
    runs('calico-node', '-felix'),
    ['--iptables-masquerade-bit=17'],
    [['writer.calico', 'warning', 'marks begin at bit 16', 'at 14']],
  ],
  [
    'flannel, and another mark',
    runs('flanneld'),
    ['--iptables-masquerade-bit=13'],
    [['writer.flannel', 'warning', '0x4000', 'at 14']],
  ],
  ['NodeLocal DNSCache', runs('node-cache'), [], []],
  [
    'MetalLB beside ipvs',
    runs('speaker'),
    ['--mode=ipvs'],
    [['writer.metallb', 'warning', 'strict ARP', '--ipvs-strict-arp']],
  ],
  [
    'a program of another network namespace',
    {
      processes: [{ pid: 800, name: 'kube-router', argv: ['kube-router'], isInOurNetwork: false }],
    },
    [],
    [],
  ],
  [
    'nftables.service',
    { bootRules: { ...healthyValues.bootRules, units: ['nftables'], nftablesFlushes: true } },
    [],
    [['writer.nftables-service', 'warning', 'flushes everything', 'flush ruleset']],
  ],
  [
    'saved rules',
    { bootRules: { ...healthyValues.bootRules, savedProxyRules: ['/etc/iptables/rules.v4'] } },
    [],
    [['writer.saved-rules', 'warning', 'rules.v4', 'sed -i /KUBE-/d /etc/iptables/rules.v4']],
  ],
  [
    'virtual servers of others',
    { ipvs: { isLoaded: true, foreign: ['203.0.113.1 port 80/TCP'], ours: 3 } },
    ['--mode=ipvs'],
    [['writer.ipvs', 'warning', '203.0.113.1 port 80/TCP', '--ipvs-exclude-cidrs']],
  ],
  [
    'a port that is taken',
    listening('::', { pid: 800, name: 'nginx' }),
    [],
    [
      [
        'port.healthz',
        'failure',
        '0.0.0.0:10256 is taken by process 800 (nginx); the agent would try again',
        '--healthz-bind-address',
      ],
    ],
  ],
  [
    'a port that is taken by who is not seen, with --bind-address-hard-fail',
    listening('192.0.2.1', undefined),
    ['--bind-address-hard-fail'],
    [['port.healthz', 'warning', 'the agent would end', 'ss -ltnp']],
  ],
  [
    'a port that is taken for IPv6 alone',
    {
      listeners: [
        { address: '::' as never, port: 10_256, owner: undefined, takesIPv4: false },
        { address: '::' as never, port: 10_249, owner: undefined, takesIPv4: false },
      ],
    },
    ['--metrics-bind-address=[::]:10249'],
    [['port.metrics', 'warning', '[::]:10249 is taken', 'ss -ltnp']],
  ],
  [
    'a port that is taken elsewhere',
    listening('192.0.2.1', undefined),
    ['--healthz-bind-address=127.0.0.1:10256'],
    [],
  ],
  [
    'an API server that is not configured',
    {
      api: { kind: 'unusable', problem: 'no API server is known', cure: 'Give --kubeconfig=FILE' },
    },
    [],
    [['api.server', 'failure', 'no API server is known', '--kubeconfig']],
  ],
  [
    'an API server that does not answer',
    {
      api: { kind: 'silent', server: 'https://192.0.2.100:6443', problem: 'connect ECONNREFUSED' },
    },
    [],
    [['api.server', 'failure', 'ECONNREFUSED', 'curl -vk https://192.0.2.100:6443/version']],
  ],
  [
    'credentials that nobody knows',
    api({ status: 401, lists: [], access: [], node: { kind: 'unread', why: 'answered 401' } }),
    [],
    [['api.server', 'failure', '(401)', 'auth whoami']],
  ],
  [
    'no right to list',
    api({
      lists: lists(
        'endpointslices',
        403,
        'cannot list endpointslices: answered 403: no; its ClusterRole needs the rule {}',
      ),
    }),
    [],
    [
      [
        'api.endpointslices',
        'failure',
        'cannot list endpointslices: answered 403: no',
        '{apiGroups: ["discovery.k8s.io"], resources: [endpointslices], verbs: [list, watch]}',
      ],
    ],
  ],
  ...[0, 429, 503].map((status): Case => [
    `a list that is not had for now (${status})`,
    api({ lists: lists('services', status, 'cannot list services: too much to do') }),
    [],
    [['api.services', 'failure', 'too much to do', 'run it again; if it lasts']],
  ]),
  [
    'no right to watch',
    api({ access: denied('services', 'watch') }),
    [],
    [['api.services', 'failure', 'may not watch services: no rule', 'verbs: [list, watch]']],
  ],
  [
    'no right to Events',
    api({ access: denied('events', 'create') }),
    [],
    [['api.events', 'warning', 'there are no Events', 'verbs: [create, patch]']],
  ],
  [
    'a cluster without ServiceCIDRs',
    api({ lists: lists('servicecidrs', 404, 'answered 404') }),
    [],
    [],
  ],
  [
    'no right to ServiceCIDRs',
    api({ lists: lists('servicecidrs', 403, 'answered 403') }),
    [],
    [['api.servicecidrs', 'warning', 'marks are not hoisted', 'servicecidrs']],
  ],
  [
    'no right to other Nodes, in ipvs mode',
    api({ access: denied('all-nodes', 'list') }),
    ['--mode=ipvs'],
    [['api.all-nodes', 'warning', 'may not list nodes: no rule', 'resources: [nodes]']],
  ],
  ['no right to other Nodes', api({ access: denied('all-nodes', 'list') }), [], []],
  [
    'a clock that is ahead',
    api({ aheadMs: 45_000 }),
    [],
    [['clock.api', 'warning', '45 s ahead of', 'timedatectl']],
  ],
  [
    'a clock that is far behind',
    api({ aheadMs: -3_600_000 }),
    [],
    [['clock.api', 'failure', '3600 s behind', 'timedatectl']],
  ],
  [
    'no Node of that name',
    api({ node: { kind: 'absent', others: ['node-b', 'other'] } }),
    [],
    [['node.name', 'failure', 'there is no Node node-a', 'did you mean node-b?']],
  ],
  [
    'a Node without an address',
    api({ node: { kind: 'found', node: { ...healthyNode, addresses: [] } } }),
    [],
    [['node.name', 'warning', 'no InternalIP', '--bind-address']],
  ],
  [
    'pods outside of the cluster CIDR',
    {},
    ['--cluster-cidr=10.0.0.0/16'],
    [
      [
        'node.pods',
        'warning',
        '10.244.1.0/24, outside of --cluster-cidr=10.0.0.0/16',
        '--cluster-cidr',
      ],
    ],
  ],
  [
    'no cluster CIDR',
    {},
    ['--cluster-cidr='],
    [['node.pods', 'warning', 'not told from others', 'in 10.244.1.0/24']],
  ],
  [
    'NodeCIDR, and none',
    api({ node: { kind: 'found', node: { ...healthyNode, podCIDRs: [] } } }),
    ['--detect-local-mode=NodeCIDR'],
    [['node.pods', 'failure', 'has no podCIDRs', '--allocate-node-cidrs']],
  ],
  [
    'a bridge that is not there',
    {},
    ['--detect-local-mode=BridgeInterface', '--pod-bridge-interface=cbr0'],
    [['node.pods', 'warning', 'no interface cbr0', '--pod-bridge-interface']],
  ],
  [
    'a certificate that ended',
    dates('client certificate', -400, -35),
    [],
    [['credentials.client-certificate', 'failure', 'ended 2026-04-27', 'kubeadm certs renew']],
  ],
  [
    'a certificate that is about to end',
    dates('client certificate', -355, 10),
    [],
    [['credentials.client-certificate', 'warning', 'in 10 days', 'renew it']],
  ],
  ['a short certificate that somebody renews', dates('client certificate', -0.5, 0.5), [], []],
  [
    'a token that is not good yet',
    dates('token', 0.1, 1),
    [],
    [['credentials.token', 'failure', 'clock has not reached', 'timedatectl']],
  ],
  [
    'credentials that cannot be read',
    { credentials: { kind: 'unread', problem: 'token file /t: ENOENT' } },
    [],
    [['credentials.kind', 'failure', 'token file /t: ENOENT', '--kubeconfig']],
  ],
  [
    'little memory in its control group',
    { memory: { ...healthyValues.memory, limit: 64 * 2 ** 20 } },
    [],
    [['resource.memory', 'warning', 'may use 64 MiB', 'raise the limit']],
  ],
  [
    'few files, for listeners',
    { fileLimit: 1024 },
    ['--mode=userspace'],
    [['resource.files', 'warning', '1024 files', 'LimitNOFILE']],
  ],
  ['few files, for rules', { fileLimit: 1024 }, [], []],
];

describe('a node with one ailment', () => {
  it.each(cases)('%s', async (_name, changes, flags, expected) => {
    const subject = subjectOf(...flags);
    const found = await findingsOf(changes, { subject });
    const own = found.filter(({ ways }) => ways === undefined || ways.includes(subject.way));
    const told = own.filter(isNotable);
    expect(told.map(({ id, status }) => [id, status])).toEqual(
      expected.map(([id, status]) => [id, status]),
    );
    for (const [index, [, , text, cure]] of expected.entries()) {
      expect(told[index]?.text).toContain(text);
      expect(told[index]?.cure).toContain(cure);
    }
  });

  it('is seen by each check', () => {
    const topics = cases.flatMap(([, , , expected]) =>
      expected.map(([id]) => id.split('.', 1)[0] ?? ''),
    );
    expect([...new Set(topics)].toSorted(byText)).toEqual(
      checks.map(({ id }) => id).toSorted(byText),
    );
  });
});

describe('the documentation', () => {
  it('says what each check looks at', () => {
    const page = readFileSync(join(import.meta.dirname, '../../../docs/operating.md'), 'utf8');
    const undocumented = checks.filter(({ id }) => !page.includes(`| \`${id}.*\` |`));
    expect(undocumented.map(({ id }) => id)).toEqual([]);
  });
});

function byText(a: string, b: string): number {
  return a < b ? -1 : 1;
}
