import type { SwitchyardError } from '../../error.ts';
import type { SetMember } from './diff-sets.ts';
import type { FoundMembers } from './kept-sets.ts';
import type { Observed } from './read.ts';
import type { SetName, TableName } from './state.ts';

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
