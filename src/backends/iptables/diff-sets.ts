import type { IpsetSpec, SetName } from './state.ts';

/** What happens to ipsets: created and filled before the rules that use them, destroyed after. */
export interface SetChanges {
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
      for (const member of missing(spec, old)) add.push(member);
      for (const member of missing(old, spec)) remove.push(member);
    }
  }
  const destroy = [...(applied?.keys() ?? [])].filter((name) => !desired.has(name));
  return { create, replace, add, remove, destroy };
}

/** Members of `a` that `b` lacks. */
function missing(a: IpsetSpec, b: IpsetSpec): readonly SetMember[] {
  const there = new Set(b.members);
  return (a.members ?? [])
    .filter((member) => !there.has(member))
    .map((member) => ({ set: a.name, member }));
}
