/** A chain as iptables-save prints it: all of a table's chains, foreign ones too. */
export interface DumpedChain {
  readonly isBuiltIn: boolean;
  /** Arguments as printed, without `-A CHAIN`. */
  readonly rules: readonly string[];
}

/** A table's chains by name. */
export type DumpedTable = ReadonlyMap<string, DumpedChain>;

/** The tables that were printed, by name. */
export type Dump = ReadonlyMap<string, DumpedTable>;

/** Reads what `iptables-save` prints of all tables. */
export function parseDump(save: string): Dump {
  const tables = new Map<string, Map<string, { isBuiltIn: boolean; rules: string[] }>>();
  let table = new Map<string, { isBuiltIn: boolean; rules: string[] }>();
  for (const line of save.split('\n')) {
    if (line.startsWith('*')) tables.set(line.slice(1), (table = new Map()));
    const [, name, policy] = /^:(\S+) (\S+)/.exec(line) ?? [];
    if (name !== undefined) table.set(name, { isBuiltIn: policy !== '-', rules: [] });
    const [, chain, args] = /^-A (\S+) ?(.*)$/.exec(line) ?? [];
    if (chain !== undefined) table.get(chain)?.rules.push(args ?? '');
  }
  return tables;
}

/** The chain a rule goes to, or the target of another kind; undefined where it has none. */
export function targetOf(args: string): string | undefined {
  return /(?:^| )-[jg] (\S+)$/.exec(args)?.[1];
}

/** The ipsets a rule matches or fills. */
export function setsOf(args: string): readonly string[] {
  return [...args.matchAll(/ --(?:match|add|del|map)-set (\S+)/g)].map(([, set]) => set ?? '');
}
