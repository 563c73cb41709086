import type { ObservedSet } from './ipsets.ts';
import type { IpsetSpec, SetName } from './state.ts';

/** Why the sets are no longer what was written last, as far as their number of members tells. */
export function setsReason(
  written: ReadonlyMap<SetName, IpsetSpec>,
  observed: readonly ObservedSet[],
): string | undefined {
  const there = new Map(observed.map((set) => [set.name, set]));
  for (const [name, { members }] of written) {
    const found = there.get(name);
    if (found === undefined) return `ipset ${name} is gone`;
    const count = memberCount(members);
    if (count === undefined || found.entries === undefined || found.entries === count) continue;
    return `ipset ${name} has ${found.entries} members, expected ${count}`;
  }
  return undefined;
}

/** Why the sets are no longer what was written last, member by member, of what `ipset save` prints. */
export function membersReason(
  written: ReadonlyMap<SetName, IpsetSpec>,
  saved: string,
): string | undefined {
  const wanted = new Map([...written].map(([name, spec]) => [name as string, lookup(spec)]));
  const counts = new Map<string, number>();
  for (const line of saved.split('\n')) {
    const [command, name = '', member = ''] = line.split(' ', 3);
    const members = wanted.get(name);
    if (members === undefined) continue;
    if (command === 'create') counts.set(name, 0);
    else if (members === 'any') continue;
    else if (members.has(member)) counts.set(name, (counts.get(name) ?? 0) + 1);
    else return `${member} in ipset ${name} is not ours`;
  }
  for (const [name, members] of wanted) {
    const reason = countReason(name, members, counts.get(name));
    if (reason !== undefined) return reason;
  }
  return undefined;
}

function countReason(
  name: string,
  members: Members,
  count: number | undefined,
): string | undefined {
  if (count === undefined) return `ipset ${name} is gone`;
  if (members === 'any' || count === members.size) return undefined;
  return `ipset ${name} has ${count} members, expected ${members.size}`;
}

/** `any`: no state says which there are. */
type Members = Pick<ReadonlySet<string>, 'has' | 'size'> | 'any';

function lookup({ members }: IpsetSpec): Members {
  if (members === undefined) return 'any';
  return 'has' in members ? members : new Set(members);
}

function memberCount(members: IpsetSpec['members']): number | undefined {
  if (members === undefined) return undefined;
  return 'size' in members ? members.size : members.length;
}
