import type { Origin } from '../../graph/rule-graph.ts';
import { jumpsToWrite } from './base-chains.ts';
import { ChainTable } from './chain-table.ts';
import { diffSets } from './diff-sets.ts';
import type { SetChanges } from './diff-sets.ts';
import { findGeneration } from './generation.ts';
import { arePrintsOf } from './printed-rules.ts';
import { isGeneratedChain, jumpKey } from './read.ts';
import type { Observed, ObservedTable } from './read.ts';
import { writeRestore } from './restore-file.ts';
import type { ChainChange, StrayJump, TableChange } from './restore-file.ts';
import type { Chain, ChainName, IptablesState, Jump, TableName } from './state.ts';
import { carriesGeneration } from './static-rules.ts';

type Chains = ReadonlyMap<ChainName, Chain>;

/** A chain that no service needs any more. */
export interface Deletion {
  readonly table: TableName;
  readonly chain: ChainName;
}

/** What another mode of a service proxy, Switchyard's or kube-proxy's, has left in the tables. */
export interface Remains {
  /** Jumps from built-in chains. */
  readonly jumps: Readonly<Record<TableName, readonly StrayJump[]>>;
  readonly chains: readonly Deletion[];
}

/** How to get from what was applied to what is desired. Pure data; `apply` runs it. */
export interface Transaction {
  /** Chain lines, missing jumps, changed chains, and all roots of each table that changed: one batch; '' where none did. */
  readonly restore: string;
  /** The tables that `restore` writes. */
  readonly tables: readonly TableName[];
  /** The chains of nat that `restore` empties and fills: what their rules have counted goes with it. */
  readonly natChains: readonly Chain[];
  /** The service port each line of `restore` is for, by line number less one. */
  readonly origins: readonly (Origin | undefined)[];
  /** Their own batch, later: one foreign reference to a chain of these makes a whole batch fail. */
  readonly deletions: readonly Deletion[];
  readonly sets: SetChanges;
  readonly rulesWritten: Readonly<Record<TableName, number>>;
}

/** The order in which tables are gone through; restore files have their own ({@link writeRestore}). */
export const tableOrder: readonly TableName[] = ['filter', 'nat', 'mangle'];

/**
 * The transaction from `applied` to `desired`. Without `applied` (first sync, after a failure) `observed`, the
 * kernel's content, says which chains are as they should be, which jumps are missing or out of place, and which chains are stale;
 * all others and all roots are sent.
 * Where nothing differs the transaction is empty, whatever the generation. What remains of another mode goes too.
 */
export function diff(
  applied: IptablesState | undefined,
  desired: IptablesState,
  generation: string,
  observed?: Observed,
  remains?: Remains,
): Transaction {
  const change = (table: TableName): TableChange => {
    const { strayJumps, ...ours } = diffTable(table, applied, desired, observed);
    return { ...ours, strayJumps: [...strayJumps, ...(remains?.jumps[table] ?? [])] };
  };
  const tables = { filter: change('filter'), nat: change('nat'), mangle: change('mangle') };
  const sets = diffSets(applied?.sets, desired.sets);
  const deletions = tableOrder.flatMap((table) => {
    const gone = goneChains(table, applied?.tables[table], desired.tables[table], observed);
    return [...gone, ...(remains?.chains ?? []).filter((each) => each.table === table)];
  });
  const written = tableOrder.filter((table) => isWritten(tables[table]));
  const { text, origins, rules } = writeRestore(tables, generation);
  return {
    restore: text,
    origins,
    tables: written,
    natChains: tables.nat.chains.map(({ chain }) => chain),
    deletions,
    sets,
    rulesWritten: rules,
  };
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

/** A table in which nothing differs is left alone, roots and all: each one costs the tools a reading of the kernel. */
function isWritten({ chains, jumps, strayJumps }: TableChange): boolean {
  return chains.length + jumps.length + strayJumps.length > 0;
}

function diffTable(
  table: TableName,
  applied: IptablesState | undefined,
  desired: IptablesState,
  observed: Observed | undefined,
): TableChange {
  const seen = applied === undefined ? observed?.[table].chains : undefined;
  const chains = chainChanges(table, applied?.tables[table], desired.tables[table], seen);
  const { insert: jumps, replace: strayJumps } =
    applied === undefined
      ? jumpsToWrite(table, desired.jumps, observed?.[table])
      : { insert: newJumps(table, applied, desired), replace: [] };
  const isSame = jumps.length === 0 && !chains.some(({ differs }) => differs);
  if (isSame) return { table, chains: [], jumps: [], strayJumps: [], bare: [] };
  const bare = bareTargets(table, jumps, desired, observed);
  return { table, chains, jumps, strayJumps, bare };
}

function chainChanges(
  table: TableName,
  applied: Chains | undefined,
  desired: Chains,
  observed: ObservedTable['chains'] | undefined,
): readonly ChainChange[] {
  const chains: ChainChange[] = [];
  for (const chain of unlike(desired, applied)) {
    const before = applied?.get(chain.name);
    const found = observed?.get(chain.name);
    const isThere = before === undefined ? holds(found, table, chain) : sameRules(before, chain);
    if (isThere && chain.role === 'generated') continue;
    // A generation is new wherever the kernel had to be read, so that roots differ there.
    const differs = before === undefined || !isThere;
    chains.push({ chain, differs, before: before?.rules ?? heldRules(found, chain, isThere) });
  }
  return chains;
}

/** The chains of a table that another may not have as they are, and all roots: no more than has to be looked at. */
function unlike(table: Chains, other: Chains | undefined): Iterable<Chain> {
  const isKnown = table instanceof ChainTable && other instanceof ChainTable;
  return isKnown ? table.unlike(other) : table.values();
}

/** Whether the kernel was found to hold a chain as it is wanted: what an agent before us wrote need not be written again. */
function holds(found: readonly string[] | undefined, table: TableName, chain: Chain): boolean {
  if (found === undefined) return false;
  const hasGeneration =
    carriesGeneration(table, chain.name) && findGeneration(found[0] ?? '') !== undefined;
  return arePrintsOf(chain, hasGeneration ? found.slice(1) : found);
}

function heldRules(
  found: readonly string[] | undefined,
  chain: Chain,
  isThere: boolean,
): ChainChange['before'] {
  if (isThere) return chain.rules;
  return found === undefined || found.length === 0 ? [] : 'unknown';
}

function newJumps(
  table: TableName,
  applied: IptablesState,
  desired: IptablesState,
): readonly Jump[] {
  const there = new Set(applied.jumps.filter((jump) => jump.table === table).map(jumpKey));
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
  before: Chains | undefined,
  after: Chains,
  observed: Observed | undefined,
): readonly Deletion[] {
  const gone = new Set<ChainName>();
  for (const chain of before ? unlike(before, after) : []) {
    if (chain.role === 'generated' && !after.has(chain.name)) gone.add(chain.name);
  }
  for (const name of observed?.[table].chains.keys() ?? []) {
    if (isGeneratedChain(name) && !after.has(name)) gone.add(name);
  }
  return [...gone].toSorted().map((chain) => ({ table, chain }));
}
