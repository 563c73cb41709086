import type { Origin } from '../../graph/rule-graph.ts';
import { diffSets } from './diff-sets.ts';
import type { SetChanges } from './diff-sets.ts';
import { isGeneratedChain, jumpKey } from './read.ts';
import type { Observed } from './read.ts';
import { carriesGeneration, generationRule } from './static-rules.ts';
import { jumpArgs } from './render.ts';
import type { Chain, ChainName, IptablesState, Jump, Rule, TableName } from './state.ts';

/** A restore file, with the service port each line is for. */
export interface Batch {
  readonly text: string;
  /** By line number less one; undefined for lines of no service. */
  readonly origins: readonly (Origin | undefined)[];
}

/** A chain that no service needs any more. */
export interface Deletion {
  readonly table: TableName;
  readonly chain: ChainName;
}

/** How to get from what was applied to what is desired. Pure data; `apply` runs it. */
export interface Transaction {
  /** Chain lines, missing jumps and changed chains, roots always: one batch; '' where nothing is to be written. */
  readonly restore: string;
  /** The service port each line of `restore` is for, by line number less one. */
  readonly origins: readonly (Origin | undefined)[];
  /** Their own batch, later: one foreign reference to a chain of these makes a whole batch fail. */
  readonly deletions: readonly Deletion[];
  readonly sets: SetChanges;
  readonly rulesWritten: Readonly<Record<TableName, number>>;
}

/** Order in restore files: what accepts and rejects first, then what translates. */
export const tableOrder: readonly TableName[] = ['filter', 'nat', 'mangle'];

/**
 * The transaction from `applied` to `desired`. Without `applied` (first sync, after a failure) everything is
 * sent, and `observed`, the kernel's content, says which jumps are missing and which chains are stale.
 * Where nothing differs the transaction is empty, whatever the generation.
 */
export function diff(
  applied: IptablesState | undefined,
  desired: IptablesState,
  generation: string,
  observed?: Observed,
): Transaction {
  const tables = tableOrder.map((table) => diffTable(table, applied, desired, observed));
  const sets = diffSets(applied?.sets, desired.sets);
  const changed = tables.some((table) => table.changed);
  const deletions = tables.flatMap((table) => table.deletions);
  const rulesWritten = { filter: 0, nat: 0, mangle: 0 };
  if (!changed) {
    return { restore: '', origins: [], deletions, sets, rulesWritten };
  }
  const lines = new Lines();
  for (const table of tables) {
    rulesWritten[table.table] = writeTable(lines, table, generation);
  }
  const { text, origins } = lines.batch();
  return { restore: text, origins, deletions, sets, rulesWritten };
}

/** The restore file that removes chains: all are emptied first, because they may refer to each other. */
export function deletionBatch(deletions: readonly Deletion[]): string {
  return chainBatch(deletions, true);
}

/** The restore file that empties chains. */
export function flushBatch(deletions: readonly Deletion[]): string {
  return chainBatch(deletions, false);
}

function chainBatch(deletions: readonly Deletion[], isDeletion: boolean): string {
  const lines: string[] = [];
  for (const table of tableOrder) {
    const chains = deletions.filter((each) => each.table === table).map((each) => each.chain);
    if (chains.length === 0) continue;
    lines.push(`*${table}`);
    for (const chain of chains) lines.push(`:${chain} - [0:0]`);
    if (isDeletion) for (const chain of chains) lines.push(`-X ${chain}`);
    lines.push('COMMIT');
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/** Whether two versions of a chain hold the same rules, origins left aside. */
export function sameRules(a: Chain, b: Chain): boolean {
  if (a === b || a.rules === b.rules) return true;
  return (
    a.rules.length === b.rules.length && a.rules.every((rule, i) => rule.args === b.rules[i]?.args)
  );
}

interface TableDiff {
  readonly table: TableName;
  readonly changed: boolean;
  /** Chains that exist nowhere but as targets of jumps: made, never emptied. */
  readonly bare: readonly ChainName[];
  readonly chains: readonly Chain[];
  readonly jumps: readonly Jump[];
  readonly deletions: readonly Deletion[];
}

function diffTable(
  table: TableName,
  applied: IptablesState | undefined,
  desired: IptablesState,
  observed: Observed | undefined,
): TableDiff {
  const before = applied?.tables[table];
  const after = desired.tables[table];
  const chains: Chain[] = [];
  let changed = false;
  for (const chain of after.values()) {
    const old = before?.get(chain.name);
    const differs = old === undefined || !sameRules(old, chain);
    if (differs) changed = true;
    if (differs || chain.role === 'root') chains.push(chain);
  }
  const jumps = missingJumps(table, applied, desired, observed);
  const bare = bareTargets(table, jumps, desired, observed);
  const deletions = goneChains(table, before, after, observed);
  return { table, changed: changed || jumps.length > 0, bare, chains, jumps, deletions };
}

function missingJumps(
  table: TableName,
  applied: IptablesState | undefined,
  desired: IptablesState,
  observed: Observed | undefined,
): readonly Jump[] {
  const there =
    applied === undefined
      ? (observed?.[table].jumps ?? new Set<string>())
      : new Set(applied.jumps.filter((jump) => jump.table === table).map(jumpKey));
  return desired.jumps.filter((jump) => jump.table === table && !there.has(jumpKey(jump)));
}

/** KUBE-FIREWALL is jumped to even where its content is the kubelet's. */
function bareTargets(
  table: TableName,
  jumps: readonly Jump[],
  desired: IptablesState,
  observed: Observed | undefined,
): readonly ChainName[] {
  const targets = new Set(jumps.map((jump) => jump.to));
  return [...targets].filter(
    (name) => !desired.tables[table].has(name) && observed?.[table].chains.has(name) !== true,
  );
}

function goneChains(
  table: TableName,
  before: ReadonlyMap<ChainName, Chain> | undefined,
  after: ReadonlyMap<ChainName, Chain>,
  observed: Observed | undefined,
): readonly Deletion[] {
  const gone = new Set<ChainName>();
  for (const chain of before?.values() ?? []) {
    if (chain.role === 'generated' && !after.has(chain.name)) gone.add(chain.name);
  }
  for (const name of observed?.[table].chains.keys() ?? []) {
    if (isGeneratedChain(name) && !after.has(name)) gone.add(name);
  }
  return [...gone].toSorted().map((chain) => ({ table, chain }));
}

/** Answers the rules written: those of chains, jumps and the generation comment left aside. */
function writeTable(lines: Lines, table: TableDiff, generation: string): number {
  if (table.chains.length === 0 && table.jumps.length === 0) return 0;
  lines.add(`*${table.table}`);
  for (const name of table.bare) lines.add(`:${name} - [0:0]`);
  for (const chain of table.chains) lines.add(`:${chain.name} - [0:0]`);
  for (const jump of table.jumps) {
    lines.add(`-I ${jump.from} ${jumpArgs(jump)}`);
  }
  for (const chain of table.chains) {
    for (const rule of rulesOf(table.table, chain, generation)) {
      lines.add(`-A ${chain.name} ${rule.args}`, rule.origin);
    }
  }
  lines.add('COMMIT');
  return table.chains.reduce((sum, chain) => sum + chain.rules.length, 0);
}

function rulesOf(table: TableName, chain: Chain, generation: string): readonly Rule[] {
  if (!carriesGeneration(table, chain.name)) return chain.rules;
  return [generationRule(generation), ...chain.rules];
}

class Lines {
  readonly #text: string[] = [];
  readonly #origins: (Origin | undefined)[] = [];

  add(line: string, origin?: Origin): void {
    this.#text.push(line);
    this.#origins.push(origin);
  }

  batch(): Batch {
    return { text: `${this.#text.join('\n')}\n`, origins: this.#origins };
  }
}
