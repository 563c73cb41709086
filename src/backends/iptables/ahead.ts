import type { Observed } from './read.ts';
import type { Chain, ChainName, IptablesState, SetName, TableName } from './state.ts';
import { chains } from './static-rules.ts';

/** Targets of KUBE-SERVICES where rules themselves choose endpoints. */
const choosing = /(?:^| )-[jg] (?:DNAT|KUBE-(?:SVC|SVL|EXT|FW|SEP)-|KUBE-NODEPORTS\b)/;

/** Whether the rules in force translate service addresses: those of an iptables mode, whoever wrote them. */
export function isTranslating({ nat }: Observed): boolean {
  return nat.chains.get(chains.services)?.some((rule) => choosing.test(rule)) === true;
}

/** Of a state, some chains and the jumps to them. */
export function onlyChains(
  state: IptablesState,
  names: Readonly<Record<TableName, readonly string[]>>,
): IptablesState {
  const some = (table: TableName): ReadonlyMap<ChainName, Chain> =>
    new Map([...state.tables[table]].filter(([name]) => names[table].includes(name)));
  return {
    ...state,
    tables: { filter: some('filter'), nat: some('nat'), mangle: some('mangle') },
    jumps: state.jumps.filter(({ table, to }) => names[table].includes(to)),
  };
}

/**
 * Hides the node's own translated connections whose source is in a set: as soon as an address is bound the kernel takes
 * it for one, and only this node answers for it. Marked here and not earlier: a filter lets go on what has the mark.
 */
export function hidesSources({ tables }: IptablesState, sources: SetName): readonly string[] {
  const marks = tables.nat.get(chains.markMasq)?.rules ?? [];
  const own = `-m conntrack --ctstate DNAT -m set --match-set ${sources} src`;
  return marks.map(({ args }) => `${own} ${args}`);
}

/** That on top of the rules that are in force; '' where they masquerade nothing. */
export function hidingBatch({ nat }: Observed, state: IptablesState, sources: SetName): string {
  if (!nat.chains.has(chains.postrouting)) return '';
  const lines = hidesSources(state, sources).map((rule) => `-I ${chains.postrouting} ${rule}\n`);
  return lines.length === 0 ? '' : `*nat\n${lines.join('')}COMMIT\n`;
}
