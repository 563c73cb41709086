import type { Clock } from '../../clock.ts';
import type { Origin } from '../../graph/rule-graph.ts';
import type { Log } from '../../telemetry/log.ts';
import type { SyncReport } from '../sync-report.ts';
import { hidingBatch, isTranslating, onlyChains } from './ahead.ts';
import { deleteChains, refusalError, restoreBatch } from './apply.ts';
import type { ApplyPort, Refusal } from './apply.ts';
import { countRules } from './chain-table.ts';
import { diff } from './diff.ts';
import type { SetMember } from './diff-sets.ts';
import type { Deletion, Transaction } from './diff.ts';
import { generationText } from './generation.ts';
import type { Generation } from './generation.ts';
import { destroySets } from './ipsets.ts';
import type { ObservedSet } from './ipsets.ts';
import type { Ahead, Meanwhile } from './meanwhile.ts';
import { auditTables, readTables } from './monitor.ts';
import { PhasedSets } from './phased-sets.ts';
import { PrintedRules } from './printed-rules.ts';
import type { Observed } from './read.ts';
import type { Refused } from './bisect.ts';
import { findBadServicePorts, takesAnyRule, withoutServicePorts } from './probe.ts';
import { Quarantine } from './quarantine.ts';
import { remainsOf, staleSets } from './remains.ts';
import type { RuleCounters } from './rule-counters.ts';
import type { ChainName, IptablesState, SetName, TableName } from './state.ts';

/** What a {@link RulesApplier} is made of. */
export interface RulesApplierParts extends ApplyPort {
  readonly clock: Clock;
  /** Names this run of the agent in the generation comment; letters, digits, dots and dashes. */
  readonly instanceId: string;
  /** Whether the sets of an ipvs mode, which the state does not have, are needed still. */
  readonly keepsIpvsSets?: () => boolean;
  /** Keeps what rules have counted, where somebody wants to know. */
  readonly counters?: RuleCounters;
  /** Whether KUBE-FIREWALL goes where the state does not have it: Switchyard made it, and nothing needs it any more. */
  readonly ownsGuard?: () => boolean;
}

/** Chains and sets that nothing needs any more. */
interface Gone {
  readonly deletions: readonly Deletion[];
  readonly sets: readonly SetName[];
}

const noneGone: Gone = { deletions: [], sets: [] };

/** What a sync has put into the kernel, and how. */
interface Written {
  readonly state: IptablesState;
  readonly full: boolean;
  readonly rules: Readonly<Record<TableName, number>>;
}

interface Attempt {
  readonly transaction: Transaction;
  readonly refusal: Refusal | undefined;
}

/** A full sync repairs what the audit cannot see; kube-proxy does one as often. */
const fullSyncEveryMs = 3_600_000;

/** Keeps the kernel's tables and sets of one family equal to a state; which state is its caller's matter. */
export class RulesApplier {
  readonly #parts: RulesApplierParts;
  readonly #log: Log;
  readonly #quarantine: Quarantine;
  readonly #printed = new PrintedRules();
  readonly #generations = new Map<TableName, Generation>();
  #lastGeneration: Generation;
  /** What is in the kernel; undefined where that is not known: the next sync is full. */
  #applied: IptablesState | undefined;
  #lastFullMs = 0;
  readonly #sets: PhasedSets;
  #meanwhile: Meanwhile | undefined;
  /** What goes last of all: sets tell whose virtual servers are, and chains use sets. */
  #gone: Gone = noneGone;
  #inFront: readonly string[] = [];
  /** Since the start of the sync. */
  #refused = { full: 0, partial: 0 };

  constructor(parts: RulesApplierParts) {
    this.#parts = parts;
    this.#log = parts.log;
    this.#sets = new PhasedSets(parts);
    this.#quarantine = new Quarantine(parts.clock);
    this.#lastGeneration = { instanceId: parts.instanceId, number: 0 };
  }

  /** Forces the next write to be full. */
  invalidate(): void {
    this.#applied = undefined;
  }

  /** Resolves with a reason when tables are no longer as they were written, else undefined. */
  async audit(signal: AbortSignal): Promise<string | undefined> {
    if (this.#applied === undefined) return undefined; // a full sync is due anyway
    const printed = this.#printed;
    const { reason, inFront } = await auditTables(
      this.#parts,
      this.#applied,
      this.#generations,
      printed,
      signal,
    );
    if (reason === undefined) {
      printed.read();
      this.#inFront = inFront;
    }
    return reason;
  }

  /** {@link Backend.inFront} */
  get inFront(): readonly string[] {
    return this.#inFront;
  }

  /** Makes the kernel agree with a state. Rejects and reports as {@link Backend.sync} does. */
  async apply(
    lowered: IptablesState,
    signal: AbortSignal,
    meanwhile?: Meanwhile,
  ): Promise<SyncReport> {
    const before = this.#knownState();
    this.#applied = undefined; // until this sync has succeeded, nothing is certain
    this.#refused = { full: 0, partial: 0 };
    this.#meanwhile = meanwhile;
    this.#sets.begin(meanwhile);
    const state = withoutServicePorts(lowered, this.#quarantine.review(lowered));
    const hadSetFailure = this.#sets.failure !== undefined;
    let written = await this.#program(before, state, lowered, signal);
    if (hadSetFailure && this.#sets.failure === undefined && written.state !== lowered) {
      this.#quarantine.release();
      written = await this.#program(undefined, lowered, lowered, signal);
    }
    await this.#sets.finish(signal);
    await this.#removeGone(signal);
    this.#parts.counters?.applied(written.state.tables.nat);
    if (this.#sets.failure === undefined) this.#applied = written.state;
    if (written.full) {
      this.#lastFullMs = this.#parts.clock.monotonic();
      this.#printed.written();
    }
    return {
      refusedWrites: this.#refused,
      failure: this.#sets.failure,
      full: written.full,
      rulesTotal: rulesTotal(written.state),
      rulesWritten: written.rules,
      unprogrammed: this.#quarantine.unprogrammed(),
    };
  }

  #knownState(): IptablesState | undefined {
    const due = this.#parts.clock.monotonic() - this.#lastFullMs >= fullSyncEveryMs;
    return due ? undefined : this.#applied;
  }

  /**
   * Writes `state`. A partial sync that is refused may meet a kernel that is not as we left it (chains or
   * sets of ours are gone), so a full one follows; where that is refused too, `lowered` without the service ports
   * at fault.
   */
  async #program(
    before: IptablesState | undefined,
    state: IptablesState,
    lowered: IptablesState,
    signal: AbortSignal,
  ): Promise<Written> {
    if (before !== undefined) {
      const { transaction, refusal } = await this.#attempt(before, state, signal);
      if (refusal === undefined) return { state, full: false, rules: transaction.rulesWritten };
      const { message } = refusalError(this.#parts.iptables.restore, refusal);
      this.#log.warn({}, `${message}; everything is written anew`);
    }
    const first = await this.#attempt(undefined, state, signal);
    if (first.refusal === undefined) {
      return { state, full: true, rules: first.transaction.rulesWritten };
    }
    const bad = await this.#findBad(first.refusal, first.transaction.origins, lowered, signal);
    const rest = withoutServicePorts(lowered, this.#quarantine.keysWith(bad));
    // Tables before the refused one are written: what the kernel holds has to be read again.
    const second = await this.#attempt(undefined, rest, signal);
    if (second.refusal !== undefined)
      throw refusalError(this.#parts.iptables.restore, second.refusal);
    // Not before: what was refused without fault would be missing from the next sync that succeeds.
    this.#quarantine.hold(bad, lowered);
    return { state: rest, full: true, rules: second.transaction.rulesWritten };
  }

  /**
   * The service ports at fault. Throws where none is, or all are: what refuses everything (no memory, tools that are
   * being replaced) passes or has to be mended, and the rules in force must not be replaced by ones without services.
   */
  async #findBad(
    refusal: Refusal,
    origins: readonly (Origin | undefined)[],
    lowered: IptablesState,
    signal: AbortSignal,
  ): Promise<readonly Refused<Origin>[]> {
    const error = refusalError(this.#parts.iptables.restore, refusal);
    this.#log.error({ rule: refusal.rule, line: refusal.line, hint: error.hint }, error.message);
    const candidates = new Set(origins.flatMap((origin) => origin?.servicePort ?? []));
    if (!(await takesAnyRule(this.#parts, signal))) throw error;
    const refused = await findBadServicePorts(this.#parts, lowered, candidates, signal);
    // Rules that lack their sets are known to be refused, be it all of them.
    const isGeneral = refused.length === candidates.size && this.#sets.failure === undefined;
    if (refused.length === 0 || (isGeneral && candidates.size > 1)) throw error;
    for (const { item, words } of refused) {
      this.#log.error(
        { servicePort: item.name, words },
        'a service port is left out: its rules were refused',
      );
    }
    return refused;
  }

  async #attempt(
    before: IptablesState | undefined,
    state: IptablesState,
    signal: AbortSignal,
  ): Promise<Attempt> {
    const full = before === undefined;
    const observed = full ? await readTables(this.#parts, signal) : undefined;
    const last = this.#lastGeneration;
    const generation = { ...last, number: last.number + 1 };
    const remains = observed && remainsOf(observed, state, this.#parts.ownsGuard?.());
    const transaction = diff(before, state, generationText(generation), observed, remains);
    const sets = await this.#sets.prepare(transaction, state, full, signal);
    if (this.#sets.failure === undefined) await this.#meanwhile?.prepared?.(observed);
    const ahead = this.#aheadOf(observed);
    if (ahead !== undefined && observed !== undefined) {
      const early = await this.#goAhead(ahead, state, observed, generation, signal);
      return early.refusal === undefined ? this.#attempt(before, state, signal) : early;
    }
    const refusal = await this.#restore(transaction, generation, full, signal);
    if (refusal !== undefined) return { transaction, refusal };
    this.#gone = this.#goneWith(transaction, full ? sets : [], state);
    return { transaction, refusal: undefined };
  }

  /** What comes before the rest, as long as it has not and where there is something to replace. */
  #aheadOf(observed: Observed | undefined): Ahead | undefined {
    if (this.#sets.hasRun || observed === undefined) return undefined;
    return isTranslating(observed) ? this.#meanwhile?.ahead : undefined;
  }

  #goneWith(
    { deletions, sets }: Transaction,
    observed: readonly ObservedSet[],
    state: IptablesState,
  ): Gone {
    const stale = staleSets(observed, state, this.#parts.keepsIpvsSets?.());
    return { deletions, sets: [...new Set([...sets.destroy, ...stale])] };
  }

  /** What comes before the rules of another mode are replaced. */
  async #goAhead(
    { ownChains, ownSources }: Ahead,
    state: IptablesState,
    observed: Observed,
    generation: Generation,
    signal: AbortSignal,
  ): Promise<Attempt> {
    // the rules that would be replaced need none of these sets
    if (this.#sets.failure !== undefined) throw this.#sets.failure;
    const own = onlyChains(state, ownChains);
    const transaction = diff(undefined, own, generationText(generation), observed);
    const restore = transaction.restore + hidingBatch(observed, state, ownSources);
    const refusal = await this.#restore({ ...transaction, restore }, generation, true, signal);
    if (refusal !== undefined) return { transaction, refusal };
    await this.#sets.runAhead(signal);
    return { transaction, refusal: undefined };
  }

  async #restore(
    { restore: text, origins, tables, natChains, deletions }: Transaction,
    generation: Generation,
    full: boolean,
    signal: AbortSignal,
  ): Promise<Refusal | undefined> {
    if (text === '') return undefined;
    this.#lastGeneration = generation;
    for (const table of tables) this.#generations.set(table, generation);
    const write = async (): ReturnType<typeof restoreBatch> =>
      restoreBatch(this.#parts, { text, origins }, signal);
    const { counters } = this.#parts;
    const change = { rewritten: natChains, deleted: natOf(deletions) };
    const refusal = await (counters === undefined
      ? write()
      : counters.change(change, write, signal));
    if (refusal !== undefined) this.#refused[full ? 'full' : 'partial']++;
    return refusal;
  }

  /** Puts members in out of turn, while something is done {@link Meanwhile}. */
  async addMembers(add: readonly SetMember[], signal: AbortSignal): Promise<void> {
    await this.#sets.add(add, signal);
  }

  /** Never fails a sync: a full sync finds in the kernel what could not be removed, and tries again. */
  async #removeGone(signal: AbortSignal): Promise<void> {
    const { deletions, sets } = this.#gone;
    this.#gone = noneGone;
    await deleteChains(this.#parts, deletions, signal);
    await destroySets(this.#parts.tools, sets, this.#log, signal);
  }
}

function natOf(deletions: readonly Deletion[]): readonly ChainName[] {
  return deletions.flatMap(({ table, chain }) => (table === 'nat' ? chain : []));
}

function rulesTotal({ tables }: IptablesState): Readonly<Record<TableName, number>> {
  return {
    filter: countRules(tables.filter),
    nat: countRules(tables.nat),
    mangle: countRules(tables.mangle),
  };
}
