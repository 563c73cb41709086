import { SwitchyardError } from '../../error.ts';
import { makeCountingObject } from '../../host/nfacct.ts';
import { toolCure } from '../../host/run-tool.ts';
import { nfacctMetrics } from '../../telemetry/kernel-metrics.ts';
import { isLockFailure, lockError } from './apply.ts';
import type { ApplyPort, Refusal } from './apply.ts';
import { hairpinBytecode } from './hairpin.ts';
import { tryRules } from './probe.ts';
import type { Features, TableName } from './state.ts';

/** Something the rules would use and that tools or kernel do not have. */
export interface MissingFeature {
  /** `match bpf`, `target SET` … */
  readonly name: string;
  /** The tool's words. */
  readonly reason: string;
  /** What the agent does instead; undefined where nothing works without it. */
  readonly instead: string | undefined;
  readonly cure: string;
}

/** What a probe found. */
export interface FeatureReport {
  readonly features: Features;
  readonly missing: readonly MissingFeature[];
}

/** A rule to try, and what it stands for. */
interface Probe {
  readonly name: string;
  readonly table: TableName;
  readonly args: string;
  readonly instead: string | undefined;
  readonly module: string;
}

/** Whether rules can be used at all, and with which features. */
export type Usability =
  | { readonly kind: 'usable'; readonly features: Features }
  | { readonly kind: 'unusable'; readonly reason: string };

/**
 * Features for the lowering; what is missing is logged by name with its cure. Tools may be there without the
 * kernel's tables, or without something that no rule set can do without: then the family is unusable.
 */
export async function probeFeatures(port: ApplyPort, signal: AbortSignal): Promise<Usability> {
  const [isMasquerading, problem, uncounted] = await Promise.all([
    masquerades(port, signal),
    natProblem(port, signal),
    makeCountingObjects(port, signal),
  ]);
  if (problem !== undefined) return { kind: 'unusable', reason: problem };
  const counted = uncounted === undefined ? [nfacctProbe] : [];
  const { features, missing } = await inspect(port, { isMasquerading, counted }, signal);
  const { family } = port.iptables;
  if (uncounted !== undefined) {
    const cure = `${toolCure('nfacct')}; the kernel needs nfnetlink_acct and xt_nfacct`;
    port.log.info({ family, reason: uncounted, cure }, uncountedPackets);
  }
  for (const { name, reason, instead, cure } of missing) {
    if (instead === undefined)
      port.log.error({ family, reason, cure }, `${name} is missing; rules need it`);
    else port.log.warn({ family, reason, cure }, `${name} is missing; ${instead}`);
  }
  const needed = missing.filter(({ instead }) => instead === undefined);
  if (needed.length === 0) return { kind: 'usable', features };
  const names = needed.map(({ name }) => name).join(', ');
  return { kind: 'unusable', reason: `rules need what is missing: ${names}` };
}

/** Why the nat table cannot be read, or undefined. */
async function natProblem(port: ApplyPort, signal: AbortSignal): Promise<string | undefined> {
  const { iptables } = port.iptables;
  const args = ['-w', '5', '-t', 'nat', '-S', 'POSTROUTING'];
  const result = await port.tools.run(iptables, args, { timeoutMs: 60_000, signal });
  if (result.exitCode === 0) return undefined;
  if (isLockFailure(result)) throw await lockError(port, iptables, result);
  return `${iptables} cannot read the nat table: ${result.stderr.trim()}`;
}

/**
 * Tries one rule a feature in a chain that nothing jumps to, and removes it again; live rules are never touched.
 * Most machines have everything, which one batch tells: each thing is tried by itself only where that is refused.
 * nat alone grows with the services, and the legacy tools read and write all of a table for one rule: what can be
 * tried in filter is, and what cannot is known where a rule of an earlier proxy does it.
 */
export async function inspectFeatures(
  port: ApplyPort,
  signal: AbortSignal,
): Promise<FeatureReport> {
  const isMasquerading = await masquerades(port, signal);
  return inspect(port, { isMasquerading, counted: [] }, signal);
}

interface Known {
  readonly isMasquerading: boolean;
  /** What is tried where packets can be counted. */
  readonly counted: readonly Probe[];
}

async function inspect(
  port: ApplyPort,
  { isMasquerading, counted }: Known,
  signal: AbortSignal,
): Promise<FeatureReport> {
  const missing: MissingFeature[] = [];
  const needed = requiredProbes();
  const unknown = [...needed, bpfProbe(port), randomFullyProbe, ...counted].filter(
    ({ table }) => table !== 'nat' || !isMasquerading,
  );
  const nfacct = counted.length === 0 ? {} : ({ nfacct: true } as const);
  if (await hasAllWithSets(port, unknown, signal)) {
    return { features: { ...everyFeature, ...nfacct }, missing };
  }
  const all = await hasAll(port, unknown, signal);
  if (!all) for (const probe of needed) await tryProbe(port, probe, missing, signal);
  const sets = await probeSets(port, missing, signal);
  const bpf = all || (await tryProbe(port, bpfProbe(port), missing, signal));
  const randomFully = all || (await tryProbe(port, randomFullyProbe, missing, signal));
  if (!sets.target) await tryProbe(port, recentProbe, missing, signal);
  const counting = all ? nfacct : await tryCounting(port, counted, missing, signal);
  const features: Features = {
    hairpin: bpf ? 'bpf' : sets.match ? 'ipset' : 'rules',
    affinity: sets.target ? 'ipset' : 'recent',
    randomFully,
    comments: 'auto',
    ...counting,
  };
  return { features, missing };
}

async function tryCounting(
  port: ApplyPort,
  counted: readonly Probe[],
  missing: MissingFeature[],
  signal: AbortSignal,
): Promise<Pick<Features, 'nfacct'>> {
  for (const probe of counted) {
    if (!(await tryProbe(port, probe, missing, signal))) return {};
  }
  return counted.length === 0 ? {} : { nfacct: true };
}

const everyFeature: Features = {
  hairpin: 'bpf',
  affinity: 'ipset',
  randomFully: true,
  comments: 'auto',
};

function requiredProbes(): readonly Probe[] {
  return [
    required('match comment', 'filter', 'xt_comment', '-m comment --comment "probe" -j RETURN'),
    required('match conntrack', 'filter', 'xt_conntrack', '-m conntrack --ctstate NEW -j RETURN'),
    required('match addrtype', 'filter', 'xt_addrtype', '-m addrtype --dst-type LOCAL -j RETURN'),
    required('match mark', 'filter', 'xt_mark', '-m mark --mark 0x4000/0x4000 -j RETURN'),
    required('target MARK', 'filter', 'xt_mark', '-j MARK --set-xmark 0x4000/0x4000'),
    required(
      'match statistic',
      'filter',
      'xt_statistic',
      '-m statistic --mode random --probability 0.5 -j RETURN',
    ),
    required(
      'target REJECT',
      'filter',
      'ipt_REJECT or ip6t_REJECT',
      '-p tcp -j REJECT --reject-with tcp-reset',
    ),
    masqueradeProbe,
  ];
}

function required(name: string, table: TableName, module: string, args: string): Probe {
  return { name, table, args, instead: undefined, module };
}

function bpfProbe(port: ApplyPort): Probe {
  return {
    name: 'match bpf',
    table: 'filter',
    args: `-m bpf --bytecode "${hairpinBytecode(port.iptables.family)}" -j RETURN`,
    instead: 'endpoints that reach themselves are recognised by an ipset or by a rule each',
    module: 'xt_bpf',
  };
}

/** The kernel takes it in nat alone. */
const masqueradeProbe = required('target MASQUERADE', 'nat', 'xt_MASQUERADE', '-j MASQUERADE');

const randomFullyProbe: Probe = {
  name: 'MASQUERADE --random-fully',
  table: 'nat',
  args: '-j MASQUERADE --random-fully',
  instead: 'source ports are chosen less randomly, and more connections may collide',
  module: 'xt_MASQUERADE (iptables 1.6.2 or newer, Linux 3.14 or newer)',
};

const uncountedPackets =
  'packets dropped as invalid, and connections to node ports at 127.0.0.1, are not counted';

const nfacctProbe: Probe = {
  name: 'match nfacct',
  table: 'filter',
  args: `-m nfacct --nfacct-name ${nfacctMetrics[0].object} -j RETURN`,
  instead: uncountedPackets,
  module: 'xt_nfacct',
};

/** The objects that rules count in; why there are none, else undefined. */
async function makeCountingObjects(
  { tools }: ApplyPort,
  signal: AbortSignal,
): Promise<string | undefined> {
  const making = nfacctMetrics.map(async ({ object }) => makeCountingObject(tools, object, signal));
  return (await Promise.all(making)).find((problem) => problem !== undefined);
}

const recentProbe: Probe = {
  name: 'match recent',
  table: 'filter',
  args: '-m recent --name KUBE-SWITCHYARD-PROBE --rcheck --seconds 10800 --reap -j RETURN',
  instead: 'session affinity cannot be kept',
  module: 'xt_recent',
};

/** Whether the chain in which proxies masquerade does it already, as we do. */
async function masquerades(port: ApplyPort, signal: AbortSignal): Promise<boolean> {
  const { iptables } = port.iptables;
  const args = ['-w', '5', '-t', 'nat', '-S', 'KUBE-POSTROUTING'];
  const result = await port.tools.run(iptables, args, { timeoutMs: 60_000, signal });
  return result.exitCode === 0 && / -j MASQUERADE --random-fully$/m.test(result.stdout);
}

async function hasAll(
  port: ApplyPort,
  probes: readonly Probe[],
  signal: AbortSignal,
): Promise<boolean> {
  const rules = probes.map(({ table, args }) => ({ table, rule: { args, origin: undefined } }));
  return (await tryRules(port, rules, signal)) === undefined;
}

/** Whether the feature is there; where not, it is added to `missing`. */
async function tryProbe(
  port: ApplyPort,
  probe: Probe,
  missing: MissingFeature[],
  signal: AbortSignal,
): Promise<boolean> {
  const rule = { args: probe.args, origin: undefined };
  const refusal = await tryRules(port, [{ table: probe.table, rule }], signal);
  if (refusal === undefined) return true;
  missing.push(missingFeature(probe, refusal));
  return false;
}

function missingFeature({ name, instead, module }: Probe, refusal: Refusal): MissingFeature {
  const cure = `load the kernel module ${module}, or use a kernel and iptables that have it`;
  return { name, reason: refusal.words, instead, cure };
}

interface SetFeatures {
  readonly match: boolean;
  readonly target: boolean;
}

/** An agent that starts at the same time probes with the same set, and destroys it once. */
const setAttempts = 3;

/** Sets with time-outs, the match and the target that use them. What another agent spoilt is tried again. */
async function probeSets(
  port: ApplyPort,
  missing: MissingFeature[],
  signal: AbortSignal,
): Promise<SetFeatures> {
  for (let attempt = 1; ; attempt++) {
    const found: MissingFeature[] = [];
    const features = await probeSetsOnce(port, found, signal);
    const isSpoilt = found.some(({ reason }) => /^Set \S+ doesn't exist/.test(reason));
    if (isSpoilt && attempt < setAttempts) continue;
    missing.push(...found);
    return features;
  }
}

async function probeSetsOnce(
  port: ApplyPort,
  missing: MissingFeature[],
  signal: AbortSignal,
): Promise<SetFeatures> {
  const problem = await createProbeSet(port, signal);
  if (problem !== undefined) {
    missing.push({ name: 'ipset', instead: insteadOfSets, ...problem });
    return { match: false, target: false };
  }
  try {
    const [match, target] = setProbes(port);
    if (await hasAll(port, [match, target], signal)) return { match: true, target: true };
    const hasMatch = await tryProbe(port, match, missing, signal);
    const hasTarget = await tryProbe(port, target, missing, signal);
    return { match: hasMatch, target: hasMatch && hasTarget };
  } finally {
    await destroyProbeSet(port, signal);
  }
}

/** What most machines answer with yes: everything and the sets, in one batch. */
async function hasAllWithSets(
  port: ApplyPort,
  probes: readonly Probe[],
  signal: AbortSignal,
): Promise<boolean> {
  if ((await createProbeSet(port, signal)) !== undefined) return false;
  try {
    return await hasAll(port, [...probes, ...setProbes(port)], signal);
  } finally {
    await destroyProbeSet(port, signal);
  }
}

const insteadOfSets =
  'session affinity is kept by xt_recent, for the last 100 clients of an endpoint';

function setProbes(port: ApplyPort): readonly [match: Probe, target: Probe] {
  const set = probeSet(port);
  const probe = { table: 'filter', module: 'xt_set', instead: insteadOfSets } as const;
  return [
    { ...probe, name: 'match set', args: `-m set --match-set ${set} src -j RETURN` },
    { ...probe, name: 'target SET', args: `-j SET --add-set ${set} src --exist` },
  ];
}

/** With a fixed name, so that one that a killed agent left goes with the next start. */
function probeSet(port: ApplyPort): string {
  return `KUBE-SWITCHYARD-PROBE-${port.iptables.family === 'ipv4' ? '4' : '6'}`;
}

async function createProbeSet(port: ApplyPort, signal: AbortSignal): ReturnType<typeof runIpset> {
  const family = port.iptables.family === 'ipv4' ? 'inet' : 'inet6';
  const type = `hash:ip family ${family} timeout 10800`;
  return runIpset(port, `create -exist ${probeSet(port)} ${type}\n`, signal);
}

async function destroyProbeSet(port: ApplyPort, signal: AbortSignal): Promise<void> {
  await runIpset(port, `destroy ${probeSet(port)}\n`, signal);
}

/** Reason and cure where ipset does not do it. */
async function runIpset(
  port: ApplyPort,
  input: string,
  signal: AbortSignal,
): Promise<{ readonly reason: string; readonly cure: string } | undefined> {
  try {
    const result = await port.tools.run('ipset', ['restore'], { input, timeoutMs: 30_000, signal });
    if (result.exitCode === 0) return undefined;
    return {
      reason: result.stderr.trim(),
      cure: 'load the kernel modules ip_set and ip_set_hash_ip',
    };
  } catch (error) {
    if (!(error instanceof SwitchyardError) || error.code !== 'missing') throw error;
    return { reason: error.message, cure: toolCure('ipset') };
  }
}
