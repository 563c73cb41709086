import type { Origin } from '../../graph/rule-graph.ts';
import { jumpArgs } from './render.ts';
import type { Chain, ChainName, Jump, Rule, TableName } from './state.ts';
import { carriesGeneration, generationRule } from './static-rules.ts';

/** A restore file, with the service port each line is for. */
export interface Batch {
  readonly text: string;
  /** By line number less one; undefined for lines of no service. */
  readonly origins: readonly (Origin | undefined)[];
}

/** A chain that is written, and what the kernel holds of it. */
export interface ChainChange {
  readonly chain: Chain;
  /** Roots of a table that is written at all are written also where they do not differ. */
  readonly differs: boolean;
  /** `unknown`: rules are there, of an earlier run, of kube-proxy or of anybody. */
  readonly before: readonly Rule[] | 'unknown';
}

/** What is to be written of one table. */
export interface TableChange {
  readonly table: TableName;
  /** Chains that exist nowhere but as targets of jumps: made, never emptied. */
  readonly bare: readonly ChainName[];
  readonly chains: readonly ChainChange[];
  readonly jumps: readonly Jump[];
  /** They go with the content of the chains that both modes share. */
  readonly strayJumps: readonly StrayJump[];
}

/** A jump of another mode. */
export interface StrayJump {
  /** As printed: `INPUT … -j KUBE-IPVS-FILTER`. */
  readonly rule: string;
  /** Ours leads from the same chain to the same chain, which will hold what is meant for packets that take ours. */
  readonly isReplaced: boolean;
}

/** A batch, and the rules its tables hold afterwards of what was written: jumps and generations left aside. */
export interface RestoreFile extends Batch {
  readonly rules: Readonly<Record<TableName, number>>;
}

/**
 * The restore file. The kernel takes each table by itself, and between two of them no packet may find
 * a service neither translated (nat) nor refused (filter): its connection would be tracked as one to the service
 * address itself, and that lasts as long as the client tries. So new verdicts come before nat, and old
 * ones go after it: a verdict too many does no harm, for translated packets pass it by. Where a change does both,
 * the new ones are first put on top of the old.
 */
export function writeRestore(
  tables: Readonly<Record<TableName, TableChange>>,
  generation: string,
): RestoreFile {
  const { filter, nat, mangle } = tables;
  const lines = new Lines();
  const loses = nat.chains.some(({ differs }) => differs) && filter.chains.some(losesRules);
  const ahead = loses && filter.chains.some(gainsRules);
  if (ahead) writeAhead(lines, filter);
  const rest = ahead ? { ...filter, bare: [], jumps: [], strayJumps: unreplaced(filter) } : filter;
  for (const table of loses ? [nat, rest, mangle] : [rest, nat, mangle]) {
    writeTable(lines, table, generation);
  }
  const rules = { filter: ruleCount(filter), nat: ruleCount(nat), mangle: ruleCount(mangle) };
  return { ...lines.batch(), rules };
}

function unreplaced({ strayJumps }: TableChange): readonly StrayJump[] {
  return strayJumps.filter(({ isReplaced }) => !isReplaced);
}

function losesRules({ chain, differs, before }: ChainChange): boolean {
  return differs && (before === 'unknown' || !includesAll(chain.rules, before));
}

function gainsRules({ chain, differs, before }: ChainChange): boolean {
  return differs && (before === 'unknown' || !includesAll(before, chain.rules));
}

function includesAll(rules: readonly Rule[], wanted: readonly Rule[]): boolean {
  const texts = new Set(rules.map(({ args }) => args));
  return wanted.every(({ args }) => texts.has(args));
}

/** Puts all that the changed chains will hold on top of what they hold; nothing is removed. */
function writeAhead(lines: Lines, { table, bare, chains, jumps, strayJumps }: TableChange): void {
  const changed = chains.filter(({ differs }) => differs);
  lines.add(`*${table}`);
  for (const name of bare) lines.add(`:${name} - [0:0]`);
  for (const { chain, before } of changed) {
    if (before !== 'unknown' && before.length === 0) lines.add(`:${chain.name} - [0:0]`);
  }
  for (const { rule } of strayJumps.filter(({ isReplaced }) => isReplaced)) lines.add(`-D ${rule}`);
  writeJumps(lines, jumps);
  for (const { chain } of changed) {
    // Each goes to the top, so the last one comes first.
    for (const { args, origin } of chain.rules.toReversed()) {
      lines.add(`-I ${chain.name} ${returning(args)}`, origin);
    }
  }
  lines.add('COMMIT');
}

/** A goto would pass by the older rules below it. */
function returning(args: string): string {
  return args.replace(/(^| )-g (KUBE-\S+)$/, '$1-j $2');
}

function writeTable(
  lines: Lines,
  { table, bare, chains, jumps, strayJumps }: TableChange,
  generation: string,
): void {
  if (chains.length + jumps.length + strayJumps.length === 0) return;
  lines.add(`*${table}`);
  for (const name of bare) lines.add(`:${name} - [0:0]`);
  for (const { chain } of chains) lines.add(`:${chain.name} - [0:0]`);
  for (const { rule } of strayJumps) lines.add(`-D ${rule}`);
  writeJumps(lines, jumps);
  for (const { chain } of chains) {
    for (const rule of rulesOf(table, chain, generation)) {
      lines.add(`-A ${chain.name} ${rule.args}`, rule.origin);
    }
  }
  lines.add('COMMIT');
}

function writeJumps(lines: Lines, jumps: readonly Jump[]): void {
  for (const jump of jumps) lines.add(`-I ${jump.from} ${jumpArgs(jump)}`);
}

function rulesOf(table: TableName, chain: Chain, generation: string): readonly Rule[] {
  if (!carriesGeneration(table, chain.name)) return chain.rules;
  return [generationRule(generation), ...chain.rules];
}

function ruleCount({ chains }: TableChange): number {
  return chains.reduce((sum, { chain }) => sum + chain.rules.length, 0);
}

/** Lines are put together by the thousand: ten thousands of small texts are not all held at once. */
const piece = 1000;

class Lines {
  readonly #pieces: string[] = [];
  readonly #origins: (Origin | undefined)[] = [];
  #lines: string[] = [];

  add(line: string, origin?: Origin): void {
    this.#lines.push(line);
    this.#origins.push(origin);
    if (this.#lines.length === piece) this.#join();
  }

  batch(): Batch {
    this.#join();
    return { text: this.#pieces.join(''), origins: this.#origins };
  }

  #join(): void {
    if (this.#lines.length > 0) this.#pieces.push(`${this.#lines.join('\n')}\n`);
    this.#lines = [];
  }
}
