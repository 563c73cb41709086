import { toolCure } from '../host/run-tool.ts';
import { registered } from './check.ts';
import { failure, ok, ruleWays, skipped, warning } from './finding.ts';
import type { Finding, Way } from './finding.ts';
import type { ToolReading } from './readings.ts';

type Found = Extract<ToolReading, { found: true }>;

/** A tool that the agent may run. */
interface Need {
  readonly tool: string;
  /** Those that cannot be without it. */
  readonly needed: readonly Way[];
  /** Those that do without, and how. */
  readonly wanted: readonly Way[];
  readonly effect: string;
}

/** Tools beside those of iptables. */
const needs: readonly Need[] = [
  { tool: 'ip', needed: ruleWays, wanted: [], effect: 'the addresses of the node are not known' },
  {
    tool: 'ipset',
    needed: ['ipvs'],
    wanted: ['iptables', 'userspace'],
    effect:
      'affinity is kept for the last 100 clients of an endpoint; userspace mode needs --proxy-port-range',
  },
  { tool: 'ipvsadm', needed: ['ipvs'], wanted: [], effect: 'ipvs mode writes by it' },
  {
    tool: 'conntrack',
    needed: [],
    wanted: ruleWays,
    effect: 'UDP clients may be sent to a pod that is gone until their entry ends',
  },
  { tool: 'modprobe', needed: [], wanted: ['ipvs'], effect: 'ip_vs has to be loaded already' },
];

/** All that is asked for its version. */
export const examinedTools: readonly string[] = [
  ...['iptables', 'ip6tables'].flatMap((name) => [name, `${name}-nft`, `${name}-legacy`]),
  ...needs.map(({ tool }) => tool),
  'nfacct',
  'nft',
];

/** Which tools are there, of which version and variant, and what is known to be wrong with it. */
export const tools = registered<{ readonly tools: readonly ToolReading[]; readonly v6: boolean }>({
  id: 'tool',
  read: async (readings) => ({ tools: await readings.tools(), v6: await readings.hasIPv6() }),
  judge: ({ tools: found, v6 }) => [
    iptables('iptables', found, true),
    v6
      ? iptables('ip6tables', found, false)
      : skipped('tool.ip6tables', 'the kernel has no IPv6', ruleWays),
    ...versionTraps(found),
    ...needs.flatMap((need) => judgeNeed(need, found)),
    nfacct(found),
  ],
});

function iptables(base: string, all: readonly ToolReading[], isNeeded: boolean): Finding {
  const id = `tool.${base}`;
  const there = all.filter(
    (each): each is Found =>
      each.found &&
      [base, `${base}-nft`, `${base}-legacy`].includes(each.tool) &&
      each.variant !== undefined,
  );
  if (there.length > 0) {
    const names = there.map(
      ({ tool, version, variant }) => `${tool} ${textOf(version)} (${variant})`,
    );
    return ok(id, names.join(', '), ruleWays);
  }
  const cure = toolCure(base);
  if (isNeeded) return failure(id, `no ${base} of any variant is here`, cure, ruleWays);
  return warning(id, `no ${base} of any variant is here: IPv6 is left out`, cure, ruleWays);
}

/** A range of versions with a fault. */
interface Trap {
  readonly id: string;
  readonly variant: 'nft' | 'legacy';
  readonly isHit: (version: number) => boolean;
  readonly text: string;
}

const update = 'install iptables 1.8.10 or newer';

/** Read from the projects' own threads: kubernetes/kubernetes#82361, #112477; the README of kubernetes-sigs/iptables-wrappers. */
const traps: readonly Trap[] = [
  {
    id: 'tool.iptables-nft-checks',
    variant: 'nft',
    isHit: (version) => version < 1_008_003,
    text: 'before 1.8.3 the nft tools do not find rules that are there, so that the kubelet and others add theirs again and again',
  },
  {
    id: 'tool.iptables-nft-marks',
    variant: 'nft',
    isHit: (version) => version >= 1_008_003 && version < 1_008_008,
    text: 'before 1.8.8 the nft tools lose "-m mark" of rules that 1.8.8 or newer wrote: where the host’s iptables is newer than this one (a container’s), whoever writes back what he has read may drop everything',
  },
];

function versionTraps(all: readonly ToolReading[]): readonly Finding[] {
  return traps.flatMap(({ id, variant, isHit, text }) => {
    const hit = all.find(
      (each): each is Found =>
        each.found &&
        each.variant === variant &&
        each.version !== undefined &&
        isHit(numberOf(each.version)),
    );
    if (hit === undefined) return [];
    return [warning(id, `${hit.tool} ${textOf(hit.version)}: ${text}`, update, ruleWays)];
  });
}

/** Without it, as with kube-proxy, two metrics have no value: that is nobody's ailment. */
function nfacct(all: readonly ToolReading[]): Finding {
  const id = 'tool.nfacct';
  const reading = all.find((each) => each.tool === 'nfacct');
  if (reading?.found === true) return ok(id, reading.said, ['iptables']);
  const why = 'nfacct is not here: two metrics of kube-proxy have no value';
  return skipped(id, `${why}; ${reading?.cure ?? toolCure('nfacct')}`, ['iptables']);
}

/** Whoever cannot be without it fails, whoever can is warned: of one id, each is told one. */
function judgeNeed(
  { tool, needed, wanted, effect }: Need,
  all: readonly ToolReading[],
): readonly Finding[] {
  const id = `tool.${tool}`;
  const reading = all.find((each) => each.tool === tool);
  if (reading?.found === true) {
    const isOld = tool === 'ipset' && reading.version !== undefined && reading.version[0] < 6;
    const said = reading.said === '' ? 'there' : reading.said;
    if (!isOld) return [ok(id, said, [...needed, ...wanted])];
    const text = `${said}: before 6.0 it has no restore that ipvs mode could use`;
    return [failure(id, text, 'install ipset 6.0 or newer', needed), ok(id, said, wanted)];
  }
  const cure = reading?.cure ?? toolCure(tool);
  const text = `${tool} ${lackOf(reading)}: ${effect}`;
  return [
    ...(needed.length > 0 ? [failure(id, text, cure, needed)] : []),
    ...(wanted.length > 0 ? [warning(id, text, cure, wanted)] : []),
  ];
}

function lackOf(reading: ToolReading | undefined): string {
  return (reading?.found === false && reading.why) || 'is not here';
}

function textOf(version: Found['version']): string {
  return version?.join('.') ?? 'of unknown version';
}

function numberOf([major, minor, patch]: NonNullable<Found['version']>): number {
  return major * 1_000_000 + minor * 1000 + patch;
}
