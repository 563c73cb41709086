import { KeyedTable } from '../keyed-table.ts';
import type { IpsetSpec, SetMembers, SetName } from './state.ts';

/** What happens to ipsets: created and filled before the rules that use them, destroyed after. */
export interface SetChanges {
  /** Put in before everything else, into sets whose members no state tells. */
  readonly first?: readonly SetMember[];
  readonly create: readonly IpsetSpec[];
  /** Same name, other parameters: made anew under another name and swapped, rules keep working. */
  readonly replace: readonly IpsetSpec[];
  readonly add: readonly SetMember[];
  readonly remove: readonly SetMember[];
  readonly destroy: readonly SetName[];
}

export interface SetMember {
  readonly set: SetName;
  readonly member: string;
}

type Sets = ReadonlyMap<SetName, IpsetSpec>;

const none: SetChanges = { create: [], replace: [], add: [], remove: [], destroy: [] };

/** The changes from one map of sets to another; members only where they are ours, not the kernel's. */
export function diffSets(applied: Sets | undefined, desired: Sets): SetChanges {
  if (applied === desired) return none;
  const create: IpsetSpec[] = [];
  const replace: IpsetSpec[] = [];
  const add: SetMember[] = [];
  const remove: SetMember[] = [];
  for (const spec of desired.values()) {
    const old = applied?.get(spec.name);
    if (old === spec) continue;
    if (old === undefined) create.push(spec);
    else if (old.create !== spec.create) replace.push(spec);
    else {
      const { come, gone } = diffMembers(old.members, spec.members);
      for (const member of come) add.push({ set: spec.name, member });
      for (const member of gone) remove.push({ set: spec.name, member });
    }
  }
  const destroy = [...(applied?.keys() ?? [])].filter((name) => !desired.has(name));
  return { create, replace, add, remove, destroy };
}

/** Members of ours; none where the kernel fills the set. */
export function membersOf({ members = [] }: IpsetSpec): Iterable<string> {
  return members instanceof KeyedTable ? members.keys() : members;
}

interface MemberChanges {
  readonly come: readonly string[];
  readonly gone: readonly string[];
}

/** Sorted: a table is in no order that tells a reader anything. */
function diffMembers(
  before: SetMembers | undefined = [],
  after: SetMembers | undefined = [],
): MemberChanges {
  if (before instanceof KeyedTable && after instanceof KeyedTable) {
    const changes = [...after.changesFrom(before)].toSorted(([a], [b]) => (a < b ? -1 : 1));
    const names = (isThere: boolean): string[] =>
      changes.filter(([, there]) => (there === true) === isThere).map(([member]) => member);
    return { come: names(true), gone: names(false) };
  }
  const [old, now] = [listed(before), listed(after)];
  return { come: missing(now, old), gone: missing(old, now) };
}

function listed(members: SetMembers): readonly string[] {
  return members instanceof KeyedTable ? [...members.keys()].toSorted() : members;
}

/** Members of `a` that `b` lacks. */
function missing(a: readonly string[], b: readonly string[]): readonly string[] {
  const there = new Set(b);
  return a.filter((member) => !there.has(member));
}
