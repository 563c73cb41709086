import { membersOf } from './diff-sets.ts';
import type { Chain, Features, IptablesState, Jump, TableName } from './state.ts';
import { carriesGeneration, generationRule } from './static-rules.ts';

/** What a rendered file says about itself. */
export interface RenderOptions {
  /** Written as the first rule of the nat and filter roots. */
  readonly generation?: string;
  /** The assumed feature set, for the header. */
  readonly features?: Features;
}

const tables: readonly TableName[] = ['mangle', 'filter', 'nat'];

/**
 * The file that `iptables-restore --noflush` (`ip6tables-restore` for IPv6) loads on a node without
 * rules. Chains are sorted by name; jumps are put at the top one after the other, as the agent does.
 */
export function renderRestore(state: IptablesState, options: RenderOptions = {}): string {
  const tool = state.family === 'ipv4' ? 'iptables-restore' : 'ip6tables-restore';
  // Without them: its jumps are inserted, so a second load would have each of them twice.
  const where = `for a node without our rules; load with ${tool} --noflush`;
  const lines = [`# switchyard, mode iptables, ${state.family}: ${where}`];
  if (options.features !== undefined) lines.push(featuresLine(options.features));
  for (const set of state.sets.values()) {
    lines.push(`# needs: ipset create ${set.name} ${set.create}`);
    for (const member of membersOf(set)) lines.push(`# needs: ipset add ${set.name} ${member}`);
  }
  return `${[...lines, ...renderTables(state, options.generation)].join('\n')}\n`;
}

/** The lines of the tables alone. */
export function renderTables(state: IptablesState, generation?: string): readonly string[] {
  const lines: string[] = [];
  for (const table of tables) renderTable(table, state, generation, lines);
  return lines;
}

/** A jump's arguments as they follow the name of the chain it is in. */
export function jumpArgs({ match, to }: Jump): string {
  return match === '' ? `-j ${to}` : `${match} -j ${to}`;
}

function featuresLine({ hairpin, affinity, randomFully, comments }: Features): string {
  return `# features: hairpin=${hairpin} affinity=${affinity} randomFully=${randomFully} comments=${comments}`;
}

function renderTable(
  table: TableName,
  state: IptablesState,
  generation: string | undefined,
  lines: string[],
): void {
  const chains = [...state.tables[table].values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const jumps = state.jumps.filter((jump) => jump.table === table);
  if (chains.length === 0 && jumps.length === 0) return;
  lines.push(`*${table}`);
  for (const { name } of chains) lines.push(`:${name} - [0:0]`);
  for (const jump of jumps) lines.push(`-I ${jump.from} 1 ${jumpArgs(jump)}`);
  for (const chain of chains) renderRules(table, chain, generation, lines);
  lines.push('COMMIT');
}

function renderRules(
  table: TableName,
  { name, rules }: Chain,
  generation: string | undefined,
  lines: string[],
): void {
  if (generation !== undefined && carriesGeneration(table, name)) {
    lines.push(`-A ${name} ${generationRule(generation).args}`);
  }
  for (const { args } of rules) lines.push(`-A ${name} ${args}`);
}
