import type { Observed } from './read.ts';
import type { Chain, ChainName, IptablesState, TableName } from './state.ts';
import { chains } from './static-rules.ts';

/** Targets of KUBE-SERVICES where rules themselves choose endpoints (spec/kube-proxy.md 3.4). */
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
