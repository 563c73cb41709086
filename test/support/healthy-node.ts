import { parseFlags } from '../../src/config/parse-flags.ts';
import { proxyFlags } from '../../src/config/proxy-flags.ts';
import { proxyConfig } from '../../src/config/read-proxy-config.ts';
import { apiNeeds } from '../../src/doctor/api.ts';
import type { AnyCheck, Subject } from '../../src/doctor/check.ts';
import { runChecks } from '../../src/doctor/check.ts';
import type { Finding, Way } from '../../src/doctor/finding.ts';
import type { Readings, ToolReading } from '../../src/doctor/readings.ts';
import { ruleFacts } from '../../src/doctor/rule-facts.ts';
import { checks } from '../../src/doctor/registry.ts';
import type { NodeObject } from '../../src/services/objects.ts';

/** What was read, by the name of the reading. */
export type ReadValues = { readonly [K in keyof Readings]: Awaited<ReturnType<Readings[K]>> };

const everyFeature = {
  hairpin: 'bpf',
  affinity: 'ipset',
  randomFully: true,
  comments: 'auto',
} as const;

const nothingMissing = { features: everyFeature, missing: [] } as const;

function tool(name: string, version: readonly [number, number, number], said = name): ToolReading {
  const isXtables = name.startsWith('ip') && name.includes('tables');
  const variant = !isXtables ? undefined : name.endsWith('-legacy') ? 'legacy' : 'nft';
  return { tool: name, found: true, said, version, variant };
}

/** `iptables-save` of a node on which a kubelet and nothing else runs. */
export const kubeletsRules = [
  '*mangle',
  ':FORWARD ACCEPT [0:0]',
  ':KUBE-IPTABLES-HINT - [0:0]',
  ':KUBE-KUBELET-CANARY - [0:0]',
  'COMMIT',
  '*filter',
  ':INPUT ACCEPT [0:0]',
  ':FORWARD ACCEPT [0:0]',
  ':KUBE-FIREWALL - [0:0]',
  '-A INPUT -j KUBE-FIREWALL',
  'COMMIT',
  '',
].join('\n');

export const healthyNode: NodeObject = {
  meta: { namespace: '', name: 'node-a', uid: 'u' } as NodeObject['meta'],
  addresses: [{ type: 'InternalIP', address: '192.0.2.1' }],
  podCIDRs: ['10.244.1.0/24'],
  zone: undefined,
  taintKeys: [],
  deleting: false,
};

const dayMs = 86_400_000;
export const nowMs = Date.UTC(2026, 5, 1);

export const healthyApi: Extract<ReadValues['api'], { kind: 'answered' }> = {
  kind: 'answered',
  server: 'https://192.0.2.100:6443',
  status: 200,
  version: 'v1.37.2',
  roundTripMs: 4,
  aheadMs: 300,
  access: apiNeeds.flatMap(({ id, verbs }) =>
    verbs.map((verb) => ({ need: id, verb, answer: 'allowed' as const, reason: '' })),
  ),
  lists: apiNeeds
    .filter(({ verbs }) => verbs.includes('list'))
    .map(({ id }) => ({ need: id, status: 200, reason: '' })),
  node: { kind: 'found', node: healthyNode },
};

const bridgeKeys = ['net/bridge/bridge-nf-call-iptables', 'net/bridge/bridge-nf-call-ip6tables'];

/** A node on which nothing is amiss: a kubelet, pods behind cni0, and no service proxy yet. */
export const healthyValues: ReadValues = {
  privileges: {
    isRoot: true,
    mayChangeNetwork: true,
    mayMakeNamespaces: true,
    sharesNetworkOfInit: true,
    mayWriteSysctls: true,
  },
  kernel: {
    release: '6.12.30',
    loaded: new Set(['nf_tables', 'nft_compat', 'nf_conntrack', 'xt_comment', 'br_netfilter']),
    builtIn: new Set(['ip_vs', 'dummy', 'ip_set']),
    available: new Set(
      (
        'nf_nat xt_conntrack xt_addrtype xt_mark xt_nat ipt_REJECT xt_MASQUERADE xt_statistic xt_bpf xt_set ' +
        'nf_conntrack_netlink ip_set_hash_ip ip_set_hash_ipport ip_set_hash_ipportip ip_set_hash_ipportnet ip_set_bitmap_port'
      ).split(' '),
    ),
    options: new Map([
      ['IP_VS_NFCT', 'y'],
      ['NF_TABLES', 'm'],
    ]),
    sources: ['/boot/config-6.12.30'],
  },
  tools: [
    ...['iptables', 'iptables-nft', 'iptables-legacy'].map((name) => tool(name, [1, 8, 11])),
    ...['ip6tables', 'ip6tables-nft', 'ip6tables-legacy'].map((name) => tool(name, [1, 8, 11])),
    tool('ip', [6, 15, 0]),
    tool('ipset', [7, 24, 0], 'ipset v7.24, protocol version: 7'),
    tool('ipvsadm', [1, 31, 0]),
    tool('conntrack', [1, 4, 8]),
    tool('modprobe', [34, 0, 0]),
    tool('nfacct', [1, 0, 2]),
    tool('nft', [1, 1, 3]),
  ],
  variant: {
    kind: 'chosen',
    choice: { variant: 'nft', reason: 'chain KUBE-IPTABLES-HINT is in its mangle table' },
  },
  probe: {
    kind: 'tried',
    byRoot: true,
    families: new Map([
      ['ipv4', nothingMissing],
      ['ipv6', nothingMissing],
    ]),
    ipvs: [],
    ipvs6: undefined,
    loaded: [],
    variant: 'nft',
  },
  rules: {
    read: [ruleFacts('nft', 'ipv4', kubeletsRules), ruleFacts('nft', 'ipv6', kubeletsRules)],
    unread: [],
  },
  nftTables: { kind: 'read', tables: ['ip filter', 'ip mangle'], droppingForward: [] },
  lock: {
    file: { path: '/run/xtables.lock', exists: true, isPrivate: false },
    holder: undefined,
  },
  sysctls: {
    values: new Map([
      ['net/ipv4/ip_forward', '1'],
      ['net/ipv4/conf/all/route_localnet', '0'],
      ['net/ipv4/conf/all/rp_filter', '1'],
      ['net/ipv4/ip_local_port_range', '32768\t60999'],
      ['net/ipv4/vs/conntrack', '0'],
      ['net/ipv4/vs/expire_nodest_conn', '0'],
      ['net/ipv4/vs/expire_quiescent_template', '0'],
      ['net/ipv4/vs/conn_reuse_mode', '1'],
      ...bridgeKeys.map((key) => [key, '1'] as const),
    ]),
    writable: true,
    release: '6.12.30',
  },
  conntrack: { usage: { entries: 500, limit: 262_144 }, hashSize: 65_536, cpus: 8 },
  shape: { links: ['cni0', 'eth0', 'lo', 'veth1'], bridges: ['cni0'], uplinks: ['eth0'] },
  processes: [{ pid: 700, name: 'kubelet', argv: ['/usr/bin/kubelet'], isInOurNetwork: true }],
  proxies: [],
  listeners: [],
  bootRules: { units: [], nftablesFlushes: false, savedProxyRules: [], ufwEnabled: false },
  ipvs: { isLoaded: true, foreign: [], ours: 0 },
  memory: { total: 8 * 2 ** 30, available: 4 * 2 ** 30, limit: undefined },
  fileLimit: 1_048_576,
  hasIPv6: true,
  api: healthyApi,
  credentials: {
    kind: 'read',
    by: 'a client certificate',
    dated: [
      {
        what: 'client certificate',
        notBeforeMs: nowMs - 100 * dayMs,
        notAfterMs: nowMs + 265 * dayMs,
      },
    ],
    nowMs,
  },
};

/** Readings of the healthy node, but for what is given; an Error is a reading that fails. */
export function readingsOf(
  changes: { readonly [K in keyof Readings]?: ReadValues[K] | Error } = {},
): Readings {
  const values: { readonly [K in keyof Readings]: ReadValues[K] | Error } = {
    ...healthyValues,
    ...changes,
  };
  const entries = Object.entries(values).map(([name, value]) => [
    name,
    async () => {
      if (value instanceof Error) throw value;
      return value;
    },
  ]);
  return Object.fromEntries(entries) as Readings;
}

/** An agent of these flags on node-a. */
export function subjectOf(...flags: readonly string[]): Subject {
  const parsed = parseFlags(proxyFlags, ['--cluster-cidr=10.244.0.0/16', ...flags]);
  const config = proxyConfig(parsed.flags);
  const isRootless = config.mode === 'userspace' && config.userspace.portals === 'none';
  const way: Way = isRootless ? 'userspace-without-portals' : config.mode;
  return { config, nodeName: 'node-a', way };
}

/** What doctor finds there. */
export async function findingsOf(
  changes: Parameters<typeof readingsOf>[0] = {},
  { subject = subjectOf(), of = checks }: { subject?: Subject; of?: readonly AnyCheck[] } = {},
): Promise<readonly Finding[]> {
  const never = new Promise<void>(() => {});
  return runChecks(of, readingsOf(changes), subject, async () => never);
}
