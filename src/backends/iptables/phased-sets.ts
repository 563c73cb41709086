import { SwitchyardError } from '../../error.ts';
import type { ApplyPort } from './apply.ts';
import type { SetChanges, SetMember } from './diff-sets.ts';
import type { Transaction } from './diff.ts';
import { SetsError, listSets, prepareSets } from './ipsets.ts';
import type { ObservedSet } from './ipsets.ts';
import { keptSets } from './kept-sets.ts';
import type { Meanwhile, Outcome } from './meanwhile.ts';
import type { IpsetSpec, IptablesState, SetName } from './state.ts';

interface PutOff {
  readonly remove: readonly SetMember[];
  /** Exchanged for what is in the kernel. */
  readonly create: readonly IpsetSpec[];
  readonly observed: readonly ObservedSet[];
}

const ended: Outcome = { last: [] };
const nothing: PutOff = { remove: [], create: [], observed: [] };

/**
 * The sets of one family in the phases of a sync: what comes is there before the rules that use it, what goes waits for what is done
 * meanwhile.
 */
export class PhasedSets {
  readonly #parts: Pick<ApplyPort, 'tools' | 'log'>;
  #failure: SwitchyardError | undefined;
  #meanwhile: Meanwhile | undefined;
  /** {@link Meanwhile.run} has run in this sync, and what it gave is taken out. */
  #hasRun = false;
  /** What goes at the end of the sync, where something is done meanwhile. */
  #putOff: PutOff = nothing;

  constructor(parts: Pick<ApplyPort, 'tools' | 'log'>) {
    this.#parts = parts;
  }

  /** Why the last attempt could not make its sets; rules that use a set that is not there are refused. */
  get failure(): SwitchyardError | undefined {
    return this.#failure;
  }

  get hasRun(): boolean {
    return this.#hasRun;
  }

  /** A sync begins. */
  begin(meanwhile: Meanwhile | undefined): void {
    this.#meanwhile = meanwhile;
    this.#hasRun = false;
    this.#putOff = nothing;
  }

  /**
   * Makes the sets that rules will use, and gives those that were there at a full sync. A failure is remembered and the
   * rules are written nonetheless: most need no set, and those that lack theirs are refused by name.
   */
  async prepare(
    transaction: Transaction,
    { sets: wanted }: IptablesState,
    full: boolean,
    signal: AbortSignal,
  ): Promise<readonly ObservedSet[]> {
    const { tools, log } = this.#parts;
    this.#failure = undefined;
    try {
      const observed = full ? await listSets(tools, signal) : [];
      const now = this.#coming(transaction, observed);
      const left = await prepareSets(tools, now, observed, log, signal);
      // what is done meanwhile cannot do without
      if (left.size > 0 && this.#meanwhile !== undefined) this.#failure = foreignSets(left);
      return observed;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof SwitchyardError)) throw error;
      if (wanted.size === 0) return []; // a kernel without sets: no rule asks for one
      this.#failure = error;
      return [];
    }
  }

  /** Where something is done meanwhile: what comes. */
  #coming({ sets }: Transaction, observed: readonly ObservedSet[]): SetChanges {
    if (this.#meanwhile === undefined) return sets;
    const { found } = this.#meanwhile;
    const first = this.#hasRun ? [] : (this.#meanwhile.first ?? []);
    const { create, add, exchange } = keptSets(sets.create, observed, found);
    // What came in an order goes in the opposite one.
    const putOff = { remove: sets.remove.toReversed(), create: exchange.toReversed(), observed };
    this.#putOff = putOff;
    return { ...sets, first, create, add: [...add, ...sets.add], remove: [] };
  }

  /** What is done meanwhile, while the rules of another mode are in force still. */
  async runAhead(signal: AbortSignal): Promise<void> {
    const { last = [] } = (await this.#meanwhile?.run(undefined)) ?? {};
    // Before packets meet them: until the next restore, the rules in force translate what these are about.
    await this.#change({ remove: last }, signal);
    this.#hasRun = true;
  }

  /** What is done meanwhile, where it has not been, and then what goes; to be called when the rules are written. */
  async finish(signal: AbortSignal): Promise<void> {
    if (this.#meanwhile === undefined) return;
    const { last, keepsMembers } = this.#hasRun ? ended : await this.#meanwhile.run(this.#failure);
    const { remove, create, observed } = keepsMembers === true ? nothing : this.#putOff;
    await this.#change({ create, remove: [...remove, ...last] }, signal, observed);
  }

  /** Puts members in out of turn, while something is done {@link Meanwhile}. */
  async add(members: readonly SetMember[], signal: AbortSignal): Promise<void> {
    await this.#change({ add: members }, signal);
  }

  async #change(
    some: Partial<SetChanges>,
    signal: AbortSignal,
    observed: readonly ObservedSet[] = [],
  ): Promise<void> {
    const changes = { create: [], replace: [], add: [], remove: [], destroy: [], ...some };
    await prepareSets(this.#parts.tools, changes, observed, this.#parts.log, signal);
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
