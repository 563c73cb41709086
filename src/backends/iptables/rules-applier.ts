import type { Clock } from '../../clock.ts';
import type { Origin } from '../../graph/rule-graph.ts';
import { SwitchyardError } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { SyncReport } from '../backend.ts';
import { deleteChains, refusalError, restoreBatch } from './apply.ts';
import type { ApplyPort, Refusal } from './apply.ts';
import { countRules } from './chain-table.ts';
import { diff } from './diff.ts';
import type { SetMember } from './diff-sets.ts';
import type { Transaction } from './diff.ts';
import { generationText } from './generation.ts';
import type { Generation } from './generation.ts';
import { destroySets, listSets, prepareSets, staleSets } from './ipsets.ts';
import type { ObservedSet } from './ipsets.ts';
import { auditTables, readTables } from './monitor.ts';
import { PrintedRules } from './printed-rules.ts';
import type { Refused } from './bisect.ts';
import { findBadServicePorts, takesAnyRule, withoutServicePorts } from './probe.ts';
import { Quarantine } from './quarantine.ts';
import type { IptablesState, SetName, TableName } from './state.ts';

/** What a {@link RulesApplier} is made of. */
export interface RulesApplierParts extends ApplyPort {
  readonly clock: Clock;
  /** Names this run of the agent in the generation comment; letters, digits, dots and dashes. */
  readonly instanceId: string;
}

/** What a sync has put into the kernel, and how. */
interface Written {
  readonly state: IptablesState;
  readonly full: boolean;
  readonly rules: Readonly<Record<TableName, number>>;
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
  /** Members of sets that go at the end of the sync; undefined: they go with the others that change. */
  #putOff: readonly SetMember[] | undefined;
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
    const reason = await auditTables(
      this.#parts,
      this.#applied,
      this.#generations,
      printed,
      signal,
    );
    if (reason === undefined) printed.read();
    return reason;
  }

  /**
   * Makes the kernel agree with a state. Rejects and reports as {@link Backend.sync} does. `meanwhile` runs when what
   * comes is there, and before the members of sets that go are taken out.
   */
  async apply(
    lowered: IptablesState,
    signal: AbortSignal,
    meanwhile?: () => Promise<void>,
  ): Promise<SyncReport> {
    const before = this.#knownState();
    this.#applied = undefined; // until this sync has succeeded, nothing is certain
    this.#refused = { full: 0, partial: 0 };
    this.#putOff = meanwhile === undefined ? undefined : [];
    const state = withoutServicePorts(lowered, this.#quarantine.review(lowered));
    const hadSetFailure = this.#setFailure !== undefined;
    let written = await this.#program(before, state, lowered, signal);
    if (hadSetFailure && this.#setFailure === undefined && written.state !== lowered) {
      this.#quarantine.release();
      written = await this.#program(undefined, lowered, lowered, signal);
    }
    await meanwhile?.();
    await this.#removeMembers(signal);
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
  ): Promise<{ readonly transaction: Transaction; readonly refusal: Refusal | undefined }> {
    const full = before === undefined;
    const observed = full ? await readTables(this.#parts, signal) : undefined;
    const last = this.#lastGeneration;
    const generation = { ...last, number: last.number + 1 };
    const transaction = diff(before, state, generationText(generation), observed);
    const sets = await this.#prepareSets(transaction, state, full, signal);
    if (transaction.restore !== '') {
      this.#lastGeneration = generation;
      for (const table of transaction.tables) this.#generations.set(table, generation);
      const batch = { text: transaction.restore, origins: transaction.origins };
      const refusal = await restoreBatch(this.#parts, batch, signal);
      if (refusal !== undefined) {
        this.#refused[full ? 'full' : 'partial']++;
        return { transaction, refusal };
      }
    }
    const stale = full ? staleSets(sets, state) : [];
    await this.#removeStale(transaction, stale, signal);
    return { transaction, refusal: undefined };
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
      const { remove } = transaction.sets;
      const now =
        this.#putOff === undefined ? transaction.sets : { ...transaction.sets, remove: [] };
      await prepareSets(tools, now, observed, this.#log, signal);
      if (this.#putOff !== undefined) this.#putOff = remove;
      return observed;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof SwitchyardError)) throw error;
      if (wanted.size === 0) return []; // a kernel without sets: no rule asks for one
      this.#setFailure = error;
      return [];
    }
  }

  async #removeMembers(signal: AbortSignal): Promise<void> {
    const remove = this.#putOff ?? [];
    this.#putOff = undefined;
    if (remove.length === 0) return;
    const changes = { create: [], replace: [], add: [], remove, destroy: [] };
    await prepareSets(this.#parts.tools, changes, [], this.#log, signal);
  }

  /** Never fails a sync: a full sync finds in the kernel what could not be removed, and tries again. */
  async #removeStale(
    { deletions, sets }: Transaction,
    stale: readonly SetName[],
    signal: AbortSignal,
  ): Promise<void> {
    await deleteChains(this.#parts, deletions, signal);
    const unused = [...new Set([...sets.destroy, ...stale])];
    await destroySets(this.#parts.tools, unused, this.#log, signal);
  }
}

function rulesTotal({ tables }: IptablesState): Readonly<Record<TableName, number>> {
  return {
    filter: countRules(tables.filter),
    nat: countRules(tables.nat),
    mangle: countRules(tables.mangle),
  };
}
