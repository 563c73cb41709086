import { SwitchyardError } from '../../error.ts';
import { readSetting } from '../../host/sysctl.ts';
import { toolCure } from '../../host/run-tool.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import type { LockPaths } from '../../host/xtables-lock.ts';
import { familyLabel } from '../../ip/address.ts';
import type { Family } from '../../ip/address.ts';
import type { Log } from '../../telemetry/log.ts';
import { unremoved } from '../cleanup.ts';
import type { CleanupPlan, Kept, ModeCleanup } from '../cleanup.ts';
import { restoreBatch } from './apply.ts';
import type { Refusal } from './apply.ts';
import { parseDump } from './cleanup-dump.ts';
import { isSuperseded, planRules } from './cleanup-plan.ts';
import type { CleanupTerms, ObservedRules, RulesPlan } from './cleanup-plan.ts';
import { removalLines, removalText } from './cleanup-text.ts';
import { destroySets, isOurSet, listSets, mayHaveSets } from './ipsets.ts';
import type { ObservedSet } from './ipsets.ts';
import { isUpstreamIpvsSet } from './ipvs-names.ts';
import type { Batch } from './restore-file.ts';
import type { SetName } from './state.ts';
import { iptablesTools, readLegacyTables } from './variant.ts';
import type { IptablesTools, Variant } from './variant.ts';

export interface IptablesCleanupParts {
  readonly tools: ToolRunner;
  readonly log: Log;
  readonly lockPaths: LockPaths;
  readonly terms: CleanupTerms;
  /** The tables that the legacy interface has; asking the tools would make them. */
  readonly legacyTables?: () => Promise<string>;
  readonly procPath?: string;
  readonly modulesPath?: string;
}

/** What was found, and what goes of it. */
interface Found {
  readonly rules: readonly FoundRules[];
  readonly sets: readonly SetName[];
  readonly keeps: readonly Kept[];
}

interface FoundRules {
  readonly iptables: IptablesTools;
  readonly plan: RulesPlan;
}

const timeoutMs = 300_000;

/** Others write the tables too: what changed between reading and writing is read again. */
const attempts = 3;

/**
 * Removes the rules and sets of the iptables mode and, since they share chains, those of the ipvs mode, in both
 * variants of the tools and both families.
 */
export class IptablesCleanup implements ModeCleanup {
  readonly #parts: IptablesCleanupParts;

  constructor(parts: IptablesCleanupParts) {
    this.#parts = parts;
  }

  async look(signal: AbortSignal): Promise<CleanupPlan> {
    const { rules, sets, keeps } = await this.#find(signal);
    const removes = rules.flatMap(({ iptables, plan }) => removalLines(iptables, plan.removals));
    if (sets.length > 0) removes.push(setsLine(sets));
    return { mode: 'iptables', removes, keeps };
  }

  async remove(signal: AbortSignal): Promise<readonly string[]> {
    let failures: string[] = [];
    for (let attempt = 0; attempt < attempts; attempt++) {
      const { rules } = await this.#find(signal);
      const pending = rules.filter(({ plan }) => plan.removals.length > 0);
      if (pending.length === 0) break;
      failures = [];
      for (const { iptables, plan } of pending) {
        const batch = { text: removalText(plan.removals), origins: [] };
        const refusal = await this.#restore(iptables, batch, signal);
        if (refusal === undefined) continue;
        const which = refusal.rule === undefined ? '' : ` "${refusal.rule}"`;
        failures.push(`${iptables.restore} refused${which}: ${refusal.words}`);
      }
    }
    const { tools, log } = this.#parts;
    const { sets } = await this.#find(signal);
    const left = await destroySets(tools, sets, log, signal);
    if (left.length > 0) failures.push(`ipsets are still used: ${left.join(', ')}`);
    return unremoved(await this.look(signal), failures);
  }

  /** An agent tries again by itself when the lock is held; of a clean-up that would be untrue. */
  async #restore(
    iptables: IptablesTools,
    batch: Batch,
    signal: AbortSignal,
  ): Promise<Refusal | undefined> {
    try {
      return await restoreBatch({ ...this.#parts, iptables }, batch, signal);
    } catch (error) {
      const isLocked = error instanceof SwitchyardError && /xtables lock/.test(error.message);
      if (!isLocked) throw error;
      const hint = 'run it again when that program has ended; nothing is lost until then';
      throw new SwitchyardError(error.code, error.message, { cause: error, retryable: true, hint });
    }
  }

  async #find(signal: AbortSignal): Promise<Found> {
    const { terms } = this.#parts;
    const keeps: Kept[] = [];
    const found: { readonly iptables: IptablesTools; readonly observed: ObservedRules }[] = [];
    for (const iptables of await this.#usableTools(keeps, signal)) {
      const observed = await this.#observe(iptables, keeps, signal);
      if (observed !== undefined) found.push({ iptables, observed });
    }
    const all = found.map(({ observed }) => observed);
    const rules = found.map(({ iptables, observed }): FoundRules => {
      const abandoned = terms.scope === 'leftovers' && isSuperseded(observed, all);
      const own = abandoned ? ({ scope: 'all', ownFirewalls: [] } as const) : terms;
      return { iptables, plan: planRules(observed, own) };
    });
    keeps.push(...rules.flatMap(({ plan }) => plan.keeps));
    const used = new Map(rules.flatMap(({ plan }) => [...plan.usedSets]));
    const ours = await this.#ownSets(keeps, signal);
    for (const set of ours) {
      const rule = used.get(set);
      if (rule === undefined || terms.scope === 'leftovers') continue;
      const why = `a rule that is not ours uses it: ${rule}`;
      keeps.push({ what: `ipset ${set}`, why, isObstacle: true });
    }
    return { rules, keeps, sets: ours.filter((set) => !used.has(set)) };
  }

  /** None, and a word among what is kept, where there may be some and no tool shows them. */
  async #ownSets(keeps: Kept[], signal: AbortSignal): Promise<readonly SetName[]> {
    const { tools, modulesPath, terms } = this.#parts;
    const goes = (set: ObservedSet): boolean =>
      isOurSet(set) || (terms.scope === 'all' && isUpstreamIpvsSet(set.name, set.type));
    try {
      return (await listSets(tools, signal)).filter(goes).map(({ name }) => name);
    } catch (error) {
      if (!(error instanceof SwitchyardError) || error.code !== 'missing') throw error;
      if (await mayHaveSets(modulesPath)) {
        const why = `they cannot be looked at: ${error.message}; ${toolCure('ipset')}`;
        keeps.push({ what: 'ipsets, if there are any', why, isObstacle: true });
      }
      return [];
    }
  }

  /** The tools of each variant that may have rules here. */
  async #usableTools(keeps: Kept[], signal: AbortSignal): Promise<readonly IptablesTools[]> {
    const { legacyTables = readLegacyTables, procPath = '/proc' } = this.#parts;
    const hasLegacy = (await legacyTables()).trim() !== '';
    const hasIPv6 = (await readSetting(`${procPath}/net/if_inet6`)) !== undefined;
    const families: readonly Family[] = hasIPv6 ? ['ipv4', 'ipv6'] : ['ipv4'];
    const found: IptablesTools[] = [];
    for (const variant of hasLegacy ? (['nft', 'legacy'] as const) : (['nft'] as const)) {
      for (const family of families) {
        const tools = await this.#toolsOf(variant, family, signal);
        if (typeof tools !== 'string') found.push(tools);
        else if (variant === 'legacy') {
          const what = `legacy tables of ${familyLabel(family)}`;
          keeps.push({ what, why: `they cannot be looked at: ${tools}`, isObstacle: true });
        }
      }
    }
    if (found.length > 0 || hasLegacy) return found;
    throw new SwitchyardError('missing', 'iptables is not on this machine', {
      hint: 'install it: apt-get install iptables, or dnf install iptables-nft',
    });
  }

  async #toolsOf(
    variant: Variant,
    family: Family,
    signal: AbortSignal,
  ): Promise<IptablesTools | string> {
    try {
      return await iptablesTools(this.#parts.tools, variant, family, signal);
    } catch (error) {
      if (error instanceof SwitchyardError && error.code === 'missing') return error.message;
      throw error;
    }
  }

  /** Undefined, and a word among what is kept, where the tables cannot be read. */
  async #observe(
    iptables: IptablesTools,
    keeps: Kept[],
    signal: AbortSignal,
  ): Promise<ObservedRules | undefined> {
    const { variant, family, save } = iptables;
    const { exitCode, stdout, stderr } = await this.#parts.tools.run(save, [], {
      timeoutMs,
      signal,
    });
    const incompatible = /^# Table .* is incompatible.*$/m.exec(stdout)?.[0];
    if (exitCode !== 0 || incompatible !== undefined) {
      const why = `${save} cannot print them: ${incompatible ?? stderr.trim()}`;
      keeps.push({ what: `rules (${familyLabel(family)}, ${variant})`, why, isObstacle: true });
    }
    return exitCode === 0 ? { variant, family, dump: parseDump(stdout) } : undefined;
  }
}

function setsLine(sets: readonly SetName[]): string {
  const shown = sets.slice(0, 5).join(', ');
  return sets.length > 5 ? `ipsets: ${shown} and ${sets.length - 5} more` : `ipsets: ${shown}`;
}
