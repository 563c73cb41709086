import { familyLabel } from '../../ip/address.ts';
import type { Family } from '../../ip/address.ts';
import type { CleanupScope, Kept } from '../cleanup.ts';
import { setsOf, targetOf } from './cleanup-dump.ts';
import type { Dump, DumpedTable } from './cleanup-dump.ts';
import { fixedChains, isProxyJump } from './fixed-chains.ts';
import { findGeneration, generationChain } from './generation.ts';
import { ipvsModeChains, isIpvsModeSet } from './ipvs-names.ts';
import { isGeneratedChain } from './read.ts';
import { chains } from './static-rules.ts';
import type { TableName } from './state.ts';
import type { Variant } from './variant.ts';

/** The rules of one variant of the tools and one family, as they were found. */
export interface ObservedRules {
  readonly variant: Variant;
  readonly family: Family;
  readonly dump: Dump;
}

/** What decides over what is found. */
export interface CleanupTerms {
  readonly scope: CleanupScope;
  /** Variants in which KUBE-FIREWALL was made by Switchyard, as it has recorded. */
  readonly ownFirewalls: readonly string[];
}

/** A rule in a chain that stays. */
interface PlacedRule {
  readonly chain: string;
  readonly args: string;
}

/** What goes of one table. */
export interface TableRemoval {
  readonly table: TableName;
  /** Rules of ours in chains that are not: jumps, above all. */
  readonly rules: readonly PlacedRule[];
  readonly chains: readonly string[];
  /** Chains that have to stay, and lose their rules. */
  readonly emptied: readonly string[];
}

/** What goes of a variant and family. */
export interface RulesPlan {
  readonly removals: readonly TableRemoval[];
  readonly keeps: readonly Kept[];
  /** Sets that rules use which stay, each with such a rule. */
  readonly usedSets: ReadonlyMap<string, string>;
}

interface PlannedTable {
  readonly removal: TableRemoval;
  readonly kept: readonly Kept[];
}

/** What is true of all tables of a variant and family. */
interface Circumstances {
  /** Another service proxy has taken over: its rules have our names. */
  readonly isTaken: boolean;
  /** A kubelet before 1.28 masquerades with chains that kube-proxy writes too. */
  readonly kubeletMasquerades: boolean;
  readonly firewallGoes: boolean;
  readonly firewallStaysWhy: string;
  readonly where: string;
}

const tables: readonly TableName[] = ['filter', 'nat', 'mangle'];

/** What goes and what stays, over what was found. Pure. */
export function planRules(observed: ObservedRules, terms: CleanupTerms): RulesPlan {
  const circumstances = circumstancesOf(observed, terms);
  const removals: TableRemoval[] = [];
  const keeps: Kept[] = [];
  const usedSets = new Map<string, string>();
  for (const table of tables) {
    const dumped = observed.dump.get(table);
    if (dumped === undefined) continue;
    const { removal, kept } = planTable(table, dumped, circumstances);
    if (removal.rules.length + removal.chains.length + removal.emptied.length > 0) {
      removals.push(removal);
    }
    keeps.push(...kept);
  }
  for (const [table, dumped] of observed.dump) {
    const removal = removals.find((each) => each.table === table);
    for (const { chain, args } of remainingRules(dumped, removal)) {
      for (const set of setsOf(args)) usedSets.set(set, `${table}: -A ${chain} ${args}`);
    }
  }
  return { removals, keeps, usedSets };
}

/**
 * Whether rules of ours are of a variant that was left behind: another service proxy writes the other one, so that
 * nobody is served by these.
 */
export function isSuperseded(observed: ObservedRules, all: readonly ObservedRules[]): boolean {
  const root = observed.dump.get('nat');
  if (root === undefined || !isOurRoot(root)) return false;
  return all.some(({ variant, family, dump }) => {
    const nat = family === observed.family && variant !== observed.variant && dump.get('nat');
    return nat instanceof Map && nat.has(generationChain) && !isOurRoot(nat);
  });
}

function circumstancesOf(observed: ObservedRules, terms: CleanupTerms): Circumstances {
  const { dump, family, variant } = observed;
  const has = (chain: string): boolean => [...dump.values()].some((table) => table.has(chain));
  const isTaken = terms.scope === 'leftovers';
  const isRecorded = family === 'ipv4' && terms.ownFirewalls.includes(variant);
  const kubeletLives = has('KUBE-KUBELET-CANARY');
  return {
    isTaken,
    kubeletMasquerades: dump.get('nat')?.has('KUBE-MARK-DROP') === true,
    firewallGoes: !isTaken && isRecorded && !kubeletLives,
    firewallStaysWhy: isRecorded
      ? 'a kubelet is on this node, which needs it too'
      : 'it is not recorded that Switchyard made it; the kubelet makes one, and kube-proxy leaves its own',
    where: `${familyLabel(family)}, ${variant}`,
  };
}

/** Whether we were the last to write the root: then it carries our generation. */
function isOurRoot(table: DumpedTable): boolean {
  const rules = table.get(generationChain)?.rules ?? [];
  return rules.some((rule) => findGeneration(rule) !== undefined);
}

function planTable(
  table: TableName,
  dumped: DumpedTable,
  circumstances: Circumstances,
): PlannedTable {
  const taken = circumstances.isTaken;
  if (taken && isOurRoot(dumped)) return notTaken(table, circumstances);
  const candidates = candidatesOf(table, dumped, circumstances);
  const rules = ourRules(dumped, candidates, taken);
  const references = referencesTo(candidates, dumped, { table, rules, chains: [], emptied: [] });
  if (taken) for (const name of reachable(references.keys(), dumped)) candidates.delete(name);
  const referred = taken ? [] : [...references].toSorted(([a], [b]) => (a < b ? -1 : 1));
  const removal = {
    table,
    rules,
    chains: [...candidates].filter((name) => taken || !references.has(name)).toSorted(),
    emptied: referred
      .map(([name]) => name)
      .filter((name) => (dumped.get(name)?.rules.length ?? 0) > 0),
  };
  const kept = referred.map(([name, by]) => obstacle(table, name, by, circumstances));
  return { removal, kept: [...kept, ...sharedChains(table, dumped, circumstances)] };
}

/** Without these rules nobody would serve. */
function notTaken(table: TableName, { where }: Circumstances): PlannedTable {
  const why = 'no other service proxy has taken it over yet: its rules are still Switchyard’s';
  return {
    removal: { table, rules: [], chains: [], emptied: [] },
    kept: [{ what: `${table} (${where})`, why, isObstacle: true }],
  };
}

function obstacle(table: string, name: string, by: PlacedRule, { where }: Circumstances): Kept {
  return {
    what: `chain ${name} of ${table} (${where})`,
    why: `a rule that is not ours refers to it: -A ${by.chain} ${by.args}; it is emptied`,
    isObstacle: true,
  };
}

function candidatesOf(
  table: TableName,
  dumped: DumpedTable,
  { isTaken, kubeletMasquerades, firewallGoes }: Circumstances,
): Set<string> {
  const leftBehind = ipvsModeChains[table].filter((name) => asksOurIpvsSets(dumped, name));
  const fixed = new Set(isTaken ? leftBehind : fixedChains[table]);
  if (table === 'nat' && kubeletMasquerades) {
    for (const name of [chains.postrouting, chains.markMasq]) fixed.delete(name);
  }
  if (table === 'filter' && firewallGoes) fixed.add(chains.firewall);
  return new Set([...dumped.keys()].filter((name) => fixed.has(name) || isGeneratedChain(name)));
}

/** Whether a chain of an ipvs mode is Switchyard's: kube-proxy's sets have other names. */
function asksOurIpvsSets(dumped: DumpedTable, name: string): boolean {
  const rules = dumped.get(name)?.rules ?? [];
  return rules.some((args) => setsOf(args).some(isIpvsModeSet));
}

/** The chains that the kubelet makes too, where they stay. */
function sharedChains(
  table: TableName,
  dumped: DumpedTable,
  circumstances: Circumstances,
): readonly Kept[] {
  const { kubeletMasquerades, firewallGoes, firewallStaysWhy, where, isTaken } = circumstances;
  if (isTaken) return [];
  const stays = (name: string, why: string): Kept[] =>
    dumped.has(name)
      ? [{ what: `chain ${name} of ${table} (${where})`, why, isObstacle: false }]
      : [];
  if (table === 'filter' && !firewallGoes) return stays(chains.firewall, firewallStaysWhy);
  if (table !== 'nat' || !kubeletMasquerades) return [];
  const why = 'KUBE-MARK-DROP shows a kubelet before 1.28, which masquerades by it';
  return [...stays(chains.postrouting, why), ...stays(chains.markMasq, why)];
}

/** Jumps into the chains that go, and what else we put into chains that stay. */
function ourRules(
  dumped: DumpedTable,
  candidates: ReadonlySet<string>,
  taken: boolean,
): readonly PlacedRule[] {
  const found: PlacedRule[] = [];
  for (const [chain, { isBuiltIn, rules }] of dumped) {
    if (candidates.has(chain)) continue;
    for (const args of rules) {
      const isOurs = isBuiltIn
        ? isOurJump(chain, args, candidates, taken)
        : chain === chains.postrouting && !taken && isBeyondKubelet(args, candidates);
      if (isOurs) found.push({ chain, args });
    }
  }
  return found;
}

function isOurJump(
  from: string,
  args: string,
  candidates: ReadonlySet<string>,
  taken: boolean,
): boolean {
  const target = targetOf(args);
  // Jumps that kube-proxy does not have, and for which its own clean-up would fail.
  const isOfProxy = isProxyJump(args);
  if (taken && isOfProxy && from === 'OUTPUT' && target === chains.externalServices) return true;
  if (target === undefined || !candidates.has(target)) return false;
  if (taken) return isOfProxy && !isGeneratedChain(target);
  return isOfProxy || args === `-j ${chains.firewall}`;
}

/** What KUBE-POSTROUTING holds beyond the kubelet's three rules: marks for hairpins, and counts in an nfacct object. */
function isBeyondKubelet(args: string, candidates: ReadonlySet<string>): boolean {
  const target = targetOf(args) ?? '';
  return candidates.has(target) || / --ctstate DNAT .*(?:-j MARK |-m nfacct )/.test(` ${args}`);
}

/** Of the candidates, those that rules refer to which stay; each with the first such rule. */
function referencesTo(
  candidates: ReadonlySet<string>,
  dumped: DumpedTable,
  removal: TableRemoval,
): ReadonlyMap<string, PlacedRule> {
  const found = new Map<string, PlacedRule>();
  for (const rule of remainingRules(dumped, removal)) {
    if (candidates.has(rule.chain)) continue;
    const target = targetOf(rule.args);
    if (target !== undefined && candidates.has(target) && !found.has(target)) {
      found.set(target, rule);
    }
  }
  return found;
}

/** All chains that can be reached from these, and these. */
function reachable(from: Iterable<string>, dumped: DumpedTable): ReadonlySet<string> {
  const reached = new Set(from);
  for (const name of reached) {
    for (const args of dumped.get(name)?.rules ?? []) {
      const target = targetOf(args);
      if (target !== undefined) reached.add(target);
    }
  }
  return reached;
}

function* remainingRules(
  dumped: DumpedTable,
  removal: TableRemoval | undefined,
): Generator<PlacedRule> {
  const gone = new Set([...(removal?.chains ?? []), ...(removal?.emptied ?? [])]);
  const removed = new Set(removal?.rules.map(({ chain, args }) => `${chain} ${args}`));
  for (const [chain, { rules }] of dumped) {
    if (gone.has(chain)) continue;
    for (const args of rules) if (!removed.has(`${chain} ${args}`)) yield { chain, args };
  }
}
