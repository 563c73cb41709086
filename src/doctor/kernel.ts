import type { KernelParts } from '../host/kernel-modules.ts';
import { registered } from './check.ts';
import { failure, kernelWays, ok, ruleWays, skipped, warning } from './finding.ts';
import type { Finding, Way } from './finding.ts';
import type { ProbeReading, VariantReading } from './readings.ts';

/** A part of the kernel: under one of these names, with one of these build options. */
interface Part {
  readonly modules: readonly string[];
  readonly options: readonly string[];
}

/** Parts that are needed for one thing. */
interface Group {
  readonly id: string;
  readonly what: string;
  readonly parts: readonly Part[];
  readonly ways: readonly Way[];
  /** Where they are not there. */
  readonly without: 'failure' | 'warning';
  readonly effect: string;
}

interface KernelFacts {
  readonly kernel: KernelParts;
  readonly variant: VariantReading;
  readonly probe: ProbeReading;
}

/** Which Linux, and whether it has what rules, sets and ipvs are made of. */
export const kernelParts = registered<KernelFacts>({
  id: 'kernel',
  read: async (readings) => ({
    kernel: await readings.kernel(),
    variant: await readings.variant(),
    probe: await readings.probe(),
  }),
  judge: ({ kernel: parts, variant, probe }) => [
    ...versions(parts),
    ...groups(variant).map((group) => judgeGroup(group, parts, probe)),
  ],
});

function part(module: string, option: string): Part {
  return { modules: [module], options: [option] };
}

const nftTables = [part('nf_tables', 'NF_TABLES'), part('nft_compat', 'NFT_COMPAT')];
const legacyTables = [
  part('ip_tables', 'IP_NF_IPTABLES'),
  part('iptable_filter', 'IP_NF_FILTER'),
  part('iptable_nat', 'IP_NF_NAT'),
  part('iptable_mangle', 'IP_NF_MANGLE'),
];

const ruleParts = [
  part('nf_conntrack', 'NF_CONNTRACK'),
  part('nf_nat', 'NF_NAT'),
  part('xt_comment', 'NETFILTER_XT_MATCH_COMMENT'),
  part('xt_conntrack', 'NETFILTER_XT_MATCH_CONNTRACK'),
  part('xt_addrtype', 'NETFILTER_XT_MATCH_ADDRTYPE'),
  part('xt_mark', 'NETFILTER_XT_MARK'),
  part('xt_nat', 'NETFILTER_XT_NAT'),
  part('ipt_REJECT', 'IP_NF_TARGET_REJECT'),
  {
    modules: ['xt_MASQUERADE', 'ipt_MASQUERADE'],
    options: ['NETFILTER_XT_TARGET_MASQUERADE', 'IP_NF_TARGET_MASQUERADE'],
  },
];

const setParts = [
  part('ip_set', 'IP_SET'),
  part('ip_set_hash_ip', 'IP_SET_HASH_IP'),
  part('xt_set', 'NETFILTER_XT_SET'),
];

function groups(variant: VariantReading): readonly Group[] {
  const isLegacy = variant.kind === 'chosen' && variant.choice.variant === 'legacy';
  return [
    {
      id: 'kernel.tables',
      what: isLegacy ? 'tables of the legacy tools' : 'tables of the nft tools',
      parts: isLegacy ? legacyTables : nftTables,
      ways: ruleWays,
      without: 'failure',
      effect: 'there can be no rules',
    },
    {
      id: 'kernel.rules',
      what: 'matches and targets of rules',
      parts: ruleParts,
      ways: ruleWays,
      without: 'failure',
      effect: 'rules need them',
    },
    {
      id: 'kernel.statistic',
      what: 'choice among endpoints',
      parts: [part('xt_statistic', 'NETFILTER_XT_MATCH_STATISTIC')],
      ways: ['iptables'],
      without: 'failure',
      effect: 'rules need it',
    },
    {
      id: 'kernel.hairpin',
      what: 'recognition of pods that reach themselves',
      parts: [part('xt_bpf', 'NETFILTER_XT_MATCH_BPF')],
      ways: kernelWays,
      without: 'warning',
      effect: 'an ipset or a rule for each endpoint stands in',
    },
    {
      id: 'kernel.sets',
      what: 'sets',
      parts: setParts,
      ways: ['iptables', 'userspace'],
      without: 'warning',
      effect:
        'affinity is kept for the last 100 clients of an endpoint; userspace mode needs --proxy-port-range',
    },
    {
      id: 'kernel.ipvs',
      what: 'ipvs with its sets',
      parts: [
        part('ip_vs', 'IP_VS'),
        { modules: [], options: ['IP_VS_NFCT'] },
        part('dummy', 'DUMMY'),
        ...setParts,
        part('ip_set_hash_ipport', 'IP_SET_HASH_IPPORT'),
        part('ip_set_hash_ipportip', 'IP_SET_HASH_IPPORTIP'),
        part('ip_set_hash_ipportnet', 'IP_SET_HASH_IPPORTNET'),
        part('ip_set_bitmap_port', 'IP_SET_BITMAP_PORT'),
      ],
      ways: ['ipvs'],
      without: 'failure',
      effect: 'ipvs mode needs them',
    },
    {
      id: 'kernel.conntrack-netlink',
      what: 'connection tracking by netlink',
      parts: [part('nf_conntrack_netlink', 'NF_CT_NETLINK')],
      ways: ruleWays,
      without: 'warning',
      effect: 'stale UDP entries cannot be removed',
    },
  ];
}

type State = 'there' | 'loadable' | 'absent' | 'unknown';

/** What is known of a part without loading it. */
function stateOf({ modules, options }: Part, kernel: KernelParts): State {
  if (modules.some((name) => kernel.loaded.has(name) || kernel.builtIn.has(name))) return 'there';
  const built = new Set(options.map((name) => kernel.options?.get(name)));
  if (built.has('y')) return 'there';
  if (modules.some((name) => kernel.available.has(name))) return 'loadable';
  if (kernel.options !== undefined) return built.has('m') ? 'loadable' : 'absent';
  const isListed = kernel.builtIn.size > 0 && kernel.available.size > 0;
  return isListed && modules.length > 0 ? 'absent' : 'unknown';
}

function judgeGroup(group: Group, kernel: KernelParts, probe: ProbeReading): Finding {
  const { id, what, parts, ways, effect } = group;
  const states = parts.map((each) => ({ each, state: stateOf(each, kernel) }));
  const namesOf = (state: State): readonly string[] =>
    states.filter((one) => one.state === state).map(({ each }) => nameOf(each));
  const absent = namesOf('absent');
  if (absent.length > 0) {
    const text = `${what}: this kernel lacks ${absent.join(', ')}; ${effect}`;
    const symbols = states
      .filter(({ state }) => state === 'absent')
      .map(({ each }) => each.options.map((option) => `CONFIG_${option}`).join(' or '));
    const cure = `use a kernel with ${symbols.join(', ')}`;
    return group.without === 'failure'
      ? failure(id, text, cure, ways)
      : warning(id, text, cure, ways);
  }
  const unknown = namesOf('unknown');
  if (unknown.length > 0) {
    const teller = probe.kind === 'tried' ? 'see what the probe found' : probe.why;
    return skipped(id, `${what}: nothing here tells of ${unknown.join(', ')}; ${teller}`, ways);
  }
  const loadable = namesOf('loadable');
  const rest = loadable.length === 0 ? '' : `; not loaded yet: ${loadable.join(', ')}`;
  return ok(id, `${what}: all there${rest}`, ways);
}

function nameOf({ modules, options }: Part): string {
  return modules[0] ?? `CONFIG_${options[0] ?? ''}`;
}

function versions({ release, sources }: KernelParts): readonly Finding[] {
  const from = sources.length === 0 ? '' : ` (read: ${sources.join(', ')})`;
  const found = [ok('kernel.version', `Linux ${release}${from}`)];
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  const version = Number(major) * 1000 + Number(minor);
  if (version < 5009) {
    const text = `Linux ${release}: before 5.9 ipvs is told to follow a source port that is used again (conn_reuse_mode=0), also to a pod that is gone`;
    const cure = 'use Linux 5.9 or newer for ipvs mode';
    found.push(warning('kernel.ipvs-reuse', text, cure, ['ipvs']));
  }
  if (version < 5014) {
    const text = `Linux ${release}: before 5.14 a few clients that are connecting are reset where a listener closes`;
    const cure = 'use Linux 5.14 or newer for userspace mode';
    found.push(warning('kernel.listeners', text, cure, ['userspace']));
  }
  return found;
}
