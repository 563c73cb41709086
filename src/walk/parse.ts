import { named } from './named.ts';

/** One `name values` pair of a rule, with the extension (`-m`) or target it follows. */
export interface Option {
  readonly name: string;
  readonly negated: boolean;
  readonly values: readonly string[];
}

/** A rule as written: options in order, matches and target options alike. */
export interface ParsedRule {
  readonly text: string;
  readonly options: readonly Option[];
}

/** Chain → rules; built-in chains have a policy. */
export interface ParsedChain {
  policy: string | undefined;
  readonly rules: ParsedRule[];
}

export type ParsedTables = ReadonlyMap<string, ReadonlyMap<string, ParsedChain>>;

const builtIn: ReadonlyMap<string, readonly string[]> = named<readonly string[]>({
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
  security: ['INPUT', 'FORWARD', 'OUTPUT'],
});

/**
 * Reads restore text as `--noflush` would load it into an empty kernel. An option that is not known takes the words up to the
 * next one; lines that are none of such a text throw.
 */
export function parseTables(text: string): ParsedTables {
  const tables = new Map<string, Map<string, ParsedChain>>();
  let current: Map<string, ParsedChain> | undefined;
  for (const line of text.split('\n').map((each) => each.trim())) {
    if (line === '' || line.startsWith('#')) continue;
    if (line === 'COMMIT') current = undefined;
    else if (line.startsWith('*')) current = openTable(tables, line.slice(1));
    else if (current) readLine(current, line);
    else throw new Error(`line outside a table: ${line}`);
  }
  return tables;
}

function openTable(
  tables: Map<string, Map<string, ParsedChain>>,
  name: string,
): Map<string, ParsedChain> {
  const names = builtIn.get(name);
  if (!names) throw new Error(`unknown table ${name}`);
  const table =
    tables.get(name) ?? new Map(names.map((each) => [each, { policy: 'ACCEPT', rules: [] }]));
  tables.set(name, table);
  return table;
}

function readLine(table: Map<string, ParsedChain>, line: string): void {
  const words = splitWords(line.replace(/^\[\d+:\d+\] /, ''));
  const [command = '', name = ''] = words;
  if (command.startsWith(':')) return declare(table, command.slice(1), name);
  if (command === '-N') return declare(table, name, '-');
  const chain = table.get(name);
  if (!chain) throw new Error(`no chain ${name}: ${line}`);
  if (command === '-A') chain.rules.push(readRule(words.slice(2), line));
  else if (command === '-I') insert(chain, words, line);
  else if (command === '-P') chain.policy = words[2];
  else throw new Error(`unknown command ${command}: ${line}`);
}

function declare(table: Map<string, ParsedChain>, name: string, policy: string): void {
  const chain = table.get(name);
  if (!chain) table.set(name, { policy: undefined, rules: [] });
  else if (chain.policy === undefined) chain.rules.length = 0;
  else chain.policy = policy;
}

function insert(chain: ParsedChain, words: readonly string[], line: string): void {
  const isNumbered = /^\d+$/.test(words[2] ?? '');
  const at = isNumbered ? Number(words[2]) - 1 : 0;
  if (at < 0 || at > chain.rules.length) throw new Error(`no such position: ${line}`);
  chain.rules.splice(at, 0, readRule(words.slice(isNumbered ? 3 : 2), line));
}

function readRule(words: readonly string[], text: string): ParsedRule {
  const options: Option[] = [];
  let negated = false;
  for (let i = 0; i < words.length;) {
    const name = words[i++] ?? '';
    if (name === '!') {
      negated = true;
      continue;
    }
    const count = arity.get(name) ?? wordsUntilOption(words, i);
    const values = words.slice(i, i + count);
    if (values.length < count) throw new Error(`${name} lacks a value: ${text}`);
    options.push({ name, negated, values });
    negated = false;
    i += count;
  }
  return { text, options };
}

function wordsUntilOption(words: readonly string[], from: number): number {
  const end = words.findIndex((word, i) => i >= from && (word === '!' || word.startsWith('-')));
  return (end === -1 ? words.length : end) - from;
}

const arity: ReadonlyMap<string, number> = named<number>({
  ...Object.fromEntries(
    (
      '-s -d -i -o -p -m -j -g --dport --sport --dports --sports --comment --ctstate --mark --probability --mode ' +
      '--src-type --dst-type --bytecode --name --seconds --mask --to-destination --set-xmark ' +
      '--or-mark --and-mark --xor-mark --set-mark --reject-with --timeout --nfacct-name ' +
      '--state --ports --to-source --to-ports --log-prefix --log-level'
    )
      .split(' ')
      .map((name) => [name, 1]),
  ),
  '--match-set': 2,
  '--add-set': 2,
  '--tcp-flags': 2,
  '--syn': 0,
  '--exist': 0,
  '--set': 0,
  '--rcheck': 0,
  '--reap': 0,
  '--rsource': 0,
  '--random-fully': 0,
  '--physdev-is-in': 0,
  '--physdev-is-bridged': 0,
  '--restore-mark': 0,
  '--save-mark': 0,
  '--notrack': 0,
  '--update': 0,
  '--random': 0,
  '--persistent': 0,
});

/** Words of a line; double quotes hold words together, a backslash escapes inside them. */
function splitWords(line: string): readonly string[] {
  const words = line.match(/"(?:[^"\\]|\\.)*"|\S+/g) ?? [];
  return words.map((word) =>
    word.startsWith('"') ? word.slice(1, -1).replaceAll(/\\(.)/g, '$1') : word,
  );
}
