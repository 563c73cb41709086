import { plainLine } from '../compared.ts';
import type { ComparedLine, ComparedPart, ComparedSection } from '../compared.ts';
import { membersOf } from './diff-sets.ts';
import { sameParameters } from './ipsets.ts';
import type { ObservedSet } from './ipsets.ts';
import { staleSets } from './remains.ts';
import type { IpsetSpec, IptablesState, SetName } from './state.ts';

/** A set that is there, with its members. */
interface SavedSet extends ObservedSet {
  readonly members: readonly string[];
}

/**
 * The sets that are wanted beside those that `ipset save` printed. Members that the kernel puts in (affinity) do not count.
 * `keepsIpvs`: sets of an ipvs mode are somebody's, be it of one before us whose connections drain.
 */
export function comparedSets(
  { family, sets }: Pick<IptablesState, 'family' | 'sets'>,
  saved: string,
  keepsIpvs: boolean,
): ComparedPart {
  const there = savedSets(saved);
  const stale = staleSets([...there.values()], { family, sets }, keepsIpvs);
  const names = new Set([...sets.keys(), ...stale]);
  const sections = [...names]
    .toSorted()
    .map((name) => section(name, sets.get(name), there.get(name)));
  return { name: 'sets', sections };
}

function section(
  name: SetName,
  spec: IpsetSpec | undefined,
  saved: SavedSet | undefined,
): ComparedSection {
  return {
    name: `set ${name}`,
    wanted: spec && [plainLine(`create ${name} ${spec.create}`), ...adds(name, membersOf(spec))],
    found: saved && [
      plainLine(`create ${name} ${foundParameters(saved, spec)}`),
      ...adds(name, spec?.members === undefined ? [] : saved.members),
    ],
  };
}

/** What the kernel adds to the parameters of its own is no difference. */
function foundParameters(saved: SavedSet, spec: IpsetSpec | undefined): string {
  if (spec !== undefined && sameParameters(saved, spec)) return spec.create;
  return `${saved.type} ${saved.header}`;
}

function adds(name: SetName, members: Iterable<string>): readonly ComparedLine[] {
  return [...members].toSorted().map((member) => plainLine(`add ${name} ${member}`));
}

function savedSets(saved: string): ReadonlyMap<SetName, SavedSet> {
  const sets = new Map<SetName, ObservedSet & { readonly members: string[] }>();
  for (const line of saved.split('\n')) {
    const [, command, name = '', rest = ''] = /^(create|add) (\S+) (.*)$/.exec(line) ?? [];
    if (command === 'add') sets.get(name as SetName)?.members.push(rest.split(' ', 1)[0] ?? '');
    if (command !== 'create') continue;
    const [type = '', ...options] = rest.split(' ');
    const header = options.join(' ');
    sets.set(name as SetName, {
      name: name as SetName,
      family: /\bfamily inet6\b/.test(header) ? 'ipv6' : 'ipv4',
      type,
      header,
      entries: undefined,
      members: [],
    });
  }
  return sets;
}
