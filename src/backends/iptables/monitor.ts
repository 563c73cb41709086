import { SwitchyardError } from '../../error.ts';
import { isLockFailure, lockError } from './apply.ts';
import type { ApplyPort } from './apply.ts';
import { misplacedJumps, rulesInFront } from './base-chains.ts';
import { tableOrder } from './diff.ts';
import { findGeneration, generationChain, generationText } from './generation.ts';
import type { Generation } from './generation.ts';
import { jumpKey, parseSave } from './read.ts';
import type { Observed, ObservedTable } from './read.ts';
import type { PrintedRules } from './printed-rules.ts';
import { carriesGeneration, generationRule } from './static-rules.ts';
import type { Chain, IptablesState, TableName } from './state.ts';

const timeoutMs = 60_000;

/** Up to this many rules a look at the whole table costs next to nothing; over it only roots and jumps are looked at. */
const wholeTableRules = 20_000;

/** Chains that other programs write too (the kubelet keeps its own rule in it). */
const sharedChains: ReadonlySet<string> = new Set(['KUBE-FIREWALL']);

/**
 * Reads the tables from the kernel. The nft tools read all of them for each, so that they are asked once; for a
 * table that is not in the answer they are asked again, lest half an answer is taken for the whole.
 */
export async function readTables(port: ApplyPort, signal: AbortSignal): Promise<Observed> {
  const dumps = port.iptables.variant === 'nft' ? await dumpAll(port, signal) : undefined;
  const read = async (table: TableName): Promise<ObservedTable> => {
    const dump = dumps?.get(table);
    return dump === undefined ? readTable(port, table, signal) : parseSave(dump);
  };
  const [filter, nat, mangle] = await Promise.all([read('filter'), read('nat'), read('mangle')]);
  return { filter, nat, mangle };
}

/** The tables that a dump of everything holds from beginning to end; none where the tool cannot print one of them. */
async function dumpAll(port: ApplyPort, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
  const { exitCode, stdout } = await port.tools.run(port.iptables.save, [], { timeoutMs, signal });
  return exitCode === 0 ? splitTables(stdout) : new Map();
}

/** The tables of a dump by name, those that break off left out. */
export function splitTables(dump: string): ReadonlyMap<string, string> {
  const tables = new Map<string, string>();
  for (let start = 0; start < dump.length;) {
    const end = dump.indexOf('\nCOMMIT\n', start);
    if (end === -1) break;
    const table = dump.slice(start, end + '\nCOMMIT\n'.length);
    const name = /^\*(\S+)$/m.exec(table)?.[1];
    if (name !== undefined) tables.set(name, table);
    start += table.length;
  }
  return tables;
}

/** What a look at the tables has found. */
export interface TablesAudit {
  /** Why the kernel's rules are no longer what we wrote last, or undefined while they are. */
  readonly reason: string | undefined;
  /** Rules of others that leave nothing for our jumps behind them, `"-A FORWARD -j ACCEPT" in filter`. */
  readonly inFront: readonly string[];
}

/** Looks whether the kernel's rules are what we wrote last. */
export async function auditTables(
  port: ApplyPort,
  applied: IptablesState,
  generations: ReadonlyMap<TableName, Generation>,
  printed: PrintedRules,
  signal: AbortSignal,
): Promise<TablesAudit> {
  const inFront: string[] = [];
  const small = new Set(tableOrder.filter((table) => isSmall(applied.tables[table])));
  const all = small.size === tableOrder.length ? await readTables(port, signal) : undefined;
  for (const table of tableOrder) {
    const whole = small.has(table);
    const read = whole ? readTable : readRoots;
    const observed = all?.[table] ?? (await read(port, table, signal, applied));
    const reason = tableReason(table, observed, {
      applied,
      generation: generations.get(table),
      printed,
      whole,
    });
    if (reason !== undefined) return { reason, inFront };
    for (const { rule, takesAll } of rulesInFront(table, applied.jumps, observed)) {
      if (takesAll) inFront.push(`"-A ${rule}" in ${table}`);
    }
  }
  return { reason: undefined, inFront };
}

function isSmall(chains: ReadonlyMap<unknown, Chain>): boolean {
  let rules = 0;
  for (const chain of chains.values()) rules += chain.rules.length;
  return rules <= wholeTableRules;
}

/** What a table is compared with. */
export interface Expected {
  readonly applied: IptablesState;
  /** Of the table's last restore; undefined: none yet. */
  readonly generation: Generation | undefined;
  readonly printed: PrintedRules;
  /** All chains were read, not just roots and built-in ones. */
  readonly whole: boolean;
}

/** The verdict over one table. */
export function tableReason(
  table: TableName,
  observed: ObservedTable,
  { applied, generation, printed, whole }: Expected,
): string | undefined {
  if (generation !== undefined && carriesGeneration(table, generationChain)) {
    const reason = generationReason(table, observed, generation);
    if (reason !== undefined) return reason;
  }
  const moved = jumpsReason(table, applied, observed);
  if (moved !== undefined) return moved;
  for (const chain of applied.tables[table].values()) {
    if (!whole && chain.role === 'generated') continue;
    const rules = observed.chains.get(chain.name);
    if (rules === undefined) return `chain ${chain.name} is gone from ${table}`;
    const reason = chainReason(table, chain, rules, generation, printed);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

function jumpsReason(
  table: TableName,
  { jumps }: IptablesState,
  observed: ObservedTable,
): string | undefined {
  for (const jump of jumps) {
    if (jump.table === table && !observed.jumps.has(jumpKey(jump))) {
      return `the jump from ${jump.from} to ${jump.to} is gone from ${table}`;
    }
  }
  const misplaced = misplacedJumps(table, jumps, observed);
  if (misplaced === undefined) return undefined;
  const found = misplaced.found.map((each) => `"${each}"`).join(', ');
  return `the jumps of ${misplaced.from} in ${table} are in another order, or there twice: ${found}`;
}

function chainReason(
  table: TableName,
  chain: Chain,
  found: readonly string[],
  generation: Generation | undefined,
  printed: PrintedRules,
): string | undefined {
  const where = `${chain.name} in ${table}`;
  const ours = chain.rules.map(({ args }) => args);
  if (generation !== undefined && carriesGeneration(table, chain.name)) {
    ours.unshift(generationRule(generationText(generation)).args);
    if (findGeneration(found[0] ?? '') === undefined)
      return `a second writer: the first rule of ${where} is not ours: "${found[0]}"`;
  }
  const isShared = sharedChains.has(chain.name);
  if (isShared ? found.length < ours.length : found.length !== ours.length) {
    const extra =
      found.length > ours.length ? found.find((rule) => !ours.includes(rule)) : undefined;
    const which = extra === undefined ? '' : `: "${extra}" is not ours`;
    return `chain ${where} holds ${found.length} rules, expected ${ours.length}${which}`;
  }
  const other = isShared ? undefined : printed.firstOther(chain, ours, found);
  return other === undefined
    ? undefined
    : `rule ${other + 1} of chain ${where} is "${found[other]}", expected "${ours[other]}"`;
}

function generationReason(
  table: TableName,
  observed: ObservedTable,
  ours: Generation,
): string | undefined {
  const { generation: found, sample } = observed;
  if (found !== undefined) {
    if (found.instanceId !== ours.instanceId) {
      return `a second writer: another Switchyard (instance ${found.instanceId}) writes ${table}`;
    }
    if (found.number === ours.number) return undefined;
    return `${table} was put back to an earlier state (generation ${found.number}, expected ${ours.number})`;
  }
  if (sample !== undefined) {
    return `a second writer: ${generationChain} in ${table} holds rules that are not ours, such as "${sample}" (is a kube-proxy running on this node?)`;
  }
  return observed.chains.has(generationChain)
    ? `${table} was flushed: ${generationChain} is empty`
    : `${table} was flushed: ${generationChain} is gone`;
}

async function readTable(
  port: ApplyPort,
  table: TableName,
  signal: AbortSignal,
): Promise<ObservedTable> {
  const { save } = port.iptables;
  const result = await port.tools.run(save, ['-t', table], { timeoutMs, signal });
  if (result.exitCode !== 0) {
    const words = result.stderr.trim() || `exit code ${result.exitCode}`;
    throw new SwitchyardError('tool', `${save} -t ${table} failed: ${words}`, { retryable: true });
  }
  if (isCutShort(result.stdout, /^COMMIT\n/m)) {
    throw new SwitchyardError('tool', `${save} -t ${table} ended before the table's end`, {
      retryable: true,
    });
  }
  return parseSave(result.stdout);
}

/** Half a table would be taken for one from which somebody took rules and jumps. */
function isCutShort(dump: string, whole: RegExp): boolean {
  return dump !== '' && !whole.test(dump);
}

/** Roots and built-in chains only, one by one: independent of the number of services. */
async function readRoots(
  port: ApplyPort,
  table: TableName,
  signal: AbortSignal,
  applied: IptablesState,
): Promise<ObservedTable> {
  const roots = [...applied.tables[table].values()].filter((chain) => chain.role === 'root');
  const builtIn = applied.jumps.filter((jump) => jump.table === table).map((jump) => jump.from);
  const listings: string[] = [];
  for (const chain of new Set([...builtIn, ...roots.map((root) => root.name)])) {
    const args = ['-w', '5', '-t', table, '-S', chain];
    const result = await port.tools.run(port.iptables.iptables, args, { timeoutMs, signal });
    if (isLockFailure(result)) throw await lockError(port, port.iptables.iptables, result);
    if (result.exitCode !== 0) continue;
    if (isCutShort(result.stdout, /^-[PN] .*\n$/ms)) {
      const command = [port.iptables.iptables, ...args].join(' ');
      throw new SwitchyardError('tool', `${command} ended before its end`, { retryable: true });
    }
    listings.push(result.stdout);
  }
  return parseSave(listings.join('\n'));
}
