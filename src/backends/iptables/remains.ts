import type { Remains } from './diff.ts';
import { fixedChains, isProxyJump } from './fixed-chains.ts';
import { isOurSet } from './ipsets.ts';
import type { ObservedSet } from './ipsets.ts';
import { isIpvsModeSet, isUpstreamIpvsSet } from './ipvs-names.ts';
import { jumpKey } from './read.ts';
import type { Observed } from './read.ts';
import type { StrayJump } from './restore-file.ts';
import { chains } from './static-rules.ts';
import type { ChainName, IptablesState, SetName, TableName } from './state.ts';

const tables = ['filter', 'nat', 'mangle'] as const;

/** Where a kubelet lives, KUBE-FIREWALL is its own. */
const kubeletCanary = 'KUBE-KUBELET-CANARY' as ChainName;

/**
 * The jumps and chains of fixed name that a mode has and the desired state has not. They would go on judging by what
 * was true of the services when that mode ended.
 */
export function remainsOf(observed: Observed, desired: IptablesState, ownsGuard = false): Remains {
  const guardGoes = ownsGuard && !observed.mangle.chains.has(kubeletCanary);
  const known = (table: TableName): readonly string[] =>
    guardGoes && table === 'filter' ? [...fixedChains[table], chains.firewall] : fixedChains[table];
  const isTarget = (table: TableName, chain: string): boolean =>
    desired.jumps.some((jump) => jump.table === table && jump.to === chain);
  return {
    jumps: {
      filter: strayJumps('filter', observed, desired, known('filter')),
      nat: strayJumps('nat', observed, desired, known('nat')),
      mangle: strayJumps('mangle', observed, desired, known('mangle')),
    },
    chains: tables.flatMap((table) =>
      [...observed[table].chains.keys()]
        .filter((chain) => known(table).includes(chain) && !desired.tables[table].has(chain))
        .filter((chain) => !isTarget(table, chain))
        .toSorted()
        .map((chain) => ({ table, chain })),
    ),
  };
}

function strayJumps(
  table: TableName,
  observed: Observed,
  desired: IptablesState,
  known: readonly string[],
): readonly StrayJump[] {
  const own = desired.jumps.filter((jump) => jump.table === table);
  const wanted = new Set(own.map(jumpKey));
  return [...observed[table].jumps].flatMap(([key, rule]) => {
    const jump = wanted.has(key) ? undefined : jumpOfMode(rule, known);
    if (jump === undefined) return [];
    const isReplaced = own.some(({ from, to }) => from === jump.from && to === jump.to);
    return [{ rule, isReplaced }];
  });
}

/** `INPUT -m comment --comment "kubernetes …" -j KUBE-NODE-PORT`, `INPUT -j KUBE-FIREWALL` */
function jumpOfMode(
  rule: string,
  known: readonly string[],
): { readonly from: string; readonly to: string } | undefined {
  const [, from = '', args = '', to = ''] = /^(\S+) ((?:.* )?-j (KUBE-\S+))$/.exec(rule) ?? [];
  const isOfMode = isProxyJump(args) || args === `-j ${chains.firewall}`;
  return isOfMode && known.includes(to) ? { from, to } : undefined;
}

/**
 * Sets of an earlier run or of another mode that the state has no use for; those of the ipvs modes only where nothing
 * needs them any more.
 */
export function staleSets(
  observed: readonly ObservedSet[],
  { family, sets }: Pick<IptablesState, 'family' | 'sets'>,
  keepsIpvs = false,
): readonly SetName[] {
  return observed
    .filter((set) => familyOf(set) === family && !sets.has(set.name))
    .filter((set) => {
      const isOfIpvs = isIpvsModeSet(set.name) || isUpstreamIpvsSet(set.name, set.type);
      return isOfIpvs ? !keepsIpvs : isOurSet(set) || set.name.startsWith(affinitySetPrefix);
    })
    .map(({ name }) => name);
}

/** Prefix of the names that the lowering gives to affinity sets. */
const affinitySetPrefix = 'KUBE-AFF-';

/** A set of ports has no family, but a name of one. */
function familyOf({ name, family, type }: ObservedSet): ObservedSet['family'] {
  if (!type.startsWith('bitmap:')) return family;
  return name.startsWith('KUBE-6-') ? 'ipv6' : 'ipv4';
}
