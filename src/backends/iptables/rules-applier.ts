import type { Clock } from '../../clock.ts';
import type { Origin } from '../../graph/rule-graph.ts';
import { SwitchyardError } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { SyncReport } from '../backend.ts';
import { hidingBatch, isTranslating, onlyChains } from './ahead.ts';
import { deleteChains, refusalError, restoreBatch } from './apply.ts';
import type { ApplyPort, Refusal } from './apply.ts';
import { countRules } from './chain-table.ts';
import { diff } from './diff.ts';
import type { SetChanges, SetMember } from './diff-sets.ts';
import type { Deletion, Transaction } from './diff.ts';
import { generationText } from './generation.ts';
import type { Generation } from './generation.ts';
import { SetsError, destroySets, listSets, prepareSets } from './ipsets.ts';
import type { ObservedSet } from './ipsets.ts';
import { keptSets } from './kept-sets.ts';
import type { FoundMembers } from './kept-sets.ts';
import { auditTables, readTables } from './monitor.ts';
import { PrintedRules } from './printed-rules.ts';
import type { Observed } from './read.ts';
import type { Refused } from './bisect.ts';
import { findBadServicePorts, takesAnyRule, withoutServicePorts } from './probe.ts';
import { Quarantine } from './quarantine.ts';
import { remainsOf, staleSets } from './remains.ts';
import type { RuleCounters } from './rule-counters.ts';
import type { ChainName, IpsetSpec, IptablesState, SetName, TableName } from './state.ts';

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

/** What else is done while a state is written. */
export interface Meanwhile {
  /** Members put in before everything else, into sets whose members no state tells. */
  readonly first?: readonly SetMember[];
  /** What sets had before this sync, where they were read. */
  readonly found?: FoundMembers | undefined;
  /**
   * Runs when sets are in, and tables are about to be written: not where sets could not be made, and perhaps more than
   * once. `observed`: what the tables hold, where that had to be read.
   */
  readonly prepared?: (observed: Observed | undefined) => Promise<void>;
  /**
   * Runs when what comes is there, and before the members of sets that go are taken out; where rules of an iptables mode are
   * in force, before those are replaced. `failure`: why sets are not as they were asked to be, where they are not.
   */
  readonly run: (failure: SwitchyardError | undefined) => Promise<Outcome>;
  readonly ahead?: Ahead;
}

/** What comes after what is done meanwhile. */
export interface Outcome {
  /** Members to be taken out after all others. */
  readonly last: readonly SetMember[];
  /** The members that nobody wants are needed still: something that they are about has not gone. */
  readonly keepsMembers?: boolean;
}

/**
 * Where rules of an iptables mode are in force, some chains come first, then what is done meanwhile, and only then the
 * chains that both modes have: until then services go on as before.
 */
export interface Ahead {
  /** Chains that no other mode has. */
  readonly ownChains: Readonly<Record<TableName, readonly string[]>>;
  /** What the node's own connections may have as their source from then on, which only this node answers for. */
  readonly ownSources: SetName;
}

interface PutOff {
  readonly remove: readonly SetMember[];
  /** Exchanged for what is in the kernel. */
  readonly create: readonly IpsetSpec[];
  readonly observed: readonly ObservedSet[];
}

/** Chains and sets that nothing needs any more. */
interface Gone {
  readonly deletions: readonly Deletion[];
  readonly sets: readonly SetName[];
}

const noneGone: Gone = { deletions: [], sets: [] };

const ended: Outcome = { last: [] };
const nothing: PutOff = { remove: [], create: [], observed: [] };

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
  /** Why the last attempt could not make its sets; rules that use a set that is not there are refused. */
  #setFailure: SwitchyardError | undefined;
  #meanwhile: Meanwhile | undefined;
  /** {@link Meanwhile.run} has run in this sync, and what it gave is taken out. */
  #hasRun = false;
  /** What goes at the end of the sync, where something is done meanwhile. */
  #putOff: PutOff = nothing;
  /** What goes last of all: sets tell whose virtual servers are, and chains use sets. */
  #gone: Gone = noneGone;
  #inFront: readonly string[] = [];
  /** Since the start of the sync. */
  #refused = { full: 0, partial: 0 };

  constructor(parts: RulesApplierParts) {
    this.#parts = parts;
    this.#log = parts.log;
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
    this.#hasRun = false;
    this.#putOff = nothing;
    const state = withoutServicePorts(lowered, this.#quarantine.review(lowered));
    const hadSetFailure = this.#setFailure !== undefined;
    let written = await this.#program(before, state, lowered, signal);
    if (hadSetFailure && this.#setFailure === undefined && written.state !== lowered) {
      this.#quarantine.release();
      written = await this.#program(undefined, lowered, lowered, signal);
    }
    if (meanwhile !== undefined) await this.#finish(meanwhile, signal);
    await this.#removeGone(signal);
    this.#parts.counters?.applied(written.state.tables.nat);
    if (this.#setFailure === undefined) this.#applied = written.state;
    if (written.full) {
      this.#lastFullMs = this.#parts.clock.monotonic();
      this.#printed.written();
    }
    return {
      refusedWrites: this.#refused,
      failure: this.#setFailure,
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
    const isGeneral = refused.length === candidates.size && this.#setFailure === undefined;
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
    const sets = await this.#prepareSets(transaction, state, full, signal);
    if (this.#setFailure === undefined) await this.#meanwhile?.prepared?.(observed);
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
    if (this.#hasRun || observed === undefined) return undefined;
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
    if (this.#setFailure !== undefined) throw this.#setFailure;
    const own = onlyChains(state, ownChains);
    const transaction = diff(undefined, own, generationText(generation), observed);
    const restore = transaction.restore + hidingBatch(observed, state, ownSources);
    const refusal = await this.#restore({ ...transaction, restore }, generation, true, signal);
    if (refusal !== undefined) return { transaction, refusal };
    const { last = [] } = (await this.#meanwhile?.run(undefined)) ?? {};
    // Before packets meet them: until the next restore, the rules in force translate what these are about.
    await this.#changeSets({ remove: last }, signal);
    this.#hasRun = true;
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

  /**
   * Makes the sets that rules will use, and gives those that were there at a full sync. A failure is remembered and the
   * rules are written nonetheless: most need no set, and those that lack theirs are refused by name.
   */
  async #prepareSets(
    transaction: Transaction,
    { sets: wanted }: IptablesState,
    full: boolean,
    signal: AbortSignal,
  ): Promise<readonly ObservedSet[]> {
    const { tools } = this.#parts;
    this.#setFailure = undefined;
    try {
      const observed = full ? await listSets(tools, signal) : [];
      const now = this.#comingSets(transaction, observed);
      const left = await prepareSets(tools, now, observed, this.#log, signal);
      // what is done meanwhile cannot do without
      if (left.size > 0 && this.#meanwhile !== undefined) this.#setFailure = foreignSets(left);
      return observed;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof SwitchyardError)) throw error;
      if (wanted.size === 0) return []; // a kernel without sets: no rule asks for one
      this.#setFailure = error;
      return [];
    }
  }

  /** Where something is done meanwhile: what comes. */
  #comingSets({ sets }: Transaction, observed: readonly ObservedSet[]): SetChanges {
    if (this.#meanwhile === undefined) return sets;
    const { found } = this.#meanwhile;
    const first = this.#hasRun ? [] : (this.#meanwhile.first ?? []);
    const { create, add, exchange } = keptSets(sets.create, observed, found);
    // What came in an order goes in the opposite one.
    const putOff = { remove: sets.remove.toReversed(), create: exchange.toReversed(), observed };
    this.#putOff = putOff;
    return { ...sets, first, create, add: [...add, ...sets.add], remove: [] };
  }

  async #finish({ run }: Meanwhile, signal: AbortSignal): Promise<void> {
    const { last, keepsMembers } = this.#hasRun ? ended : await run(this.#setFailure);
    const { remove, create, observed } = keepsMembers === true ? nothing : this.#putOff;
    await this.#changeSets({ create, remove: [...remove, ...last] }, signal, observed);
  }

  /** Puts members in out of turn, while something is done {@link Meanwhile}. */
  async addMembers(add: readonly SetMember[], signal: AbortSignal): Promise<void> {
    await this.#changeSets({ add }, signal);
  }

  async #changeSets(
    some: Partial<SetChanges>,
    signal: AbortSignal,
    observed: readonly ObservedSet[] = [],
  ): Promise<void> {
    const changes = { create: [], replace: [], add: [], remove: [], destroy: [], ...some };
    await prepareSets(this.#parts.tools, changes, observed, this.#log, signal);
  }

  /** Never fails a sync: a full sync finds in the kernel what could not be removed, and tries again. */
  async #removeGone(signal: AbortSignal): Promise<void> {
    const { deletions, sets } = this.#gone;
    this.#gone = noneGone;
    await deleteChains(this.#parts, deletions, signal);
    await destroySets(this.#parts.tools, sets, this.#log, signal);
  }
}

function foreignSets(names: ReadonlySet<SetName>): SetsError {
  const text = `ipsets ${[...names].join(', ')} are not ours: of another type, and in use`;
  const cause = new SwitchyardError('tool', text, {
    retryable: true,
    hint: 'find the rules that use them (iptables-save | grep KUBE-), remove these, and destroy the sets',
  });
  return new SetsError(
    cause,
    Array.from(names, (name) => `create ${name}`),
  );
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
