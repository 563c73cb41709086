import { membersOf } from './diff-sets.ts';
import type { SetMember } from './diff-sets.ts';
import { sameParameters } from './ipsets.ts';
import type { ObservedSet } from './ipsets.ts';
import type { IpsetSpec } from './state.ts';

/** Members by the name of their set. */
export type FoundMembers = ReadonlyMap<string, readonly string[]>;

/** Sets that are to be there, by what has to be done for it. */
export interface KeptSets {
  /** Not there as they have to be. */
  readonly create: readonly IpsetSpec[];
  /** What sets lack that are there. */
  readonly add: readonly SetMember[];
  /** There, with members that nobody wants; they are exchanged for what is wanted, once nothing needs these any more. */
  readonly exchange: readonly IpsetSpec[];
}

/**
 * What comes, apart from what goes, where the kernel's sets are not known to the last member. `found` are those that were
 * read; without it every set may lack members and have too many.
 */
export function keptSets(
  wanted: readonly IpsetSpec[],
  observed: readonly ObservedSet[],
  found: FoundMembers | undefined,
): KeptSets {
  const there = new Map(observed.map((set) => [set.name, set]));
  const create: IpsetSpec[] = [];
  const add: SetMember[] = [];
  const exchange: IpsetSpec[] = [];
  for (const spec of wanted) {
    const old = there.get(spec.name);
    if (old === undefined || spec.members === undefined || !sameParameters(old, spec)) {
      create.push(spec);
      continue;
    }
    const members = [...membersOf(spec)];
    const before = new Set(found?.get(spec.name));
    const missing = members.filter((member) => !before.has(member));
    for (const member of missing) add.push({ set: spec.name, member });
    const isExact = found !== undefined && before.size + missing.length === members.length;
    if (!isExact) exchange.push(spec);
  }
  return { create, add, exchange };
}
