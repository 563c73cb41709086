import { SwitchyardError } from '../error.ts';
import { parseDuration } from './duration.ts';
import { FlagValues, fieldOf } from './flag-table.ts';
import type { FlagSpec, FlagTable, FlagValue } from './flag-table.ts';
import { closest } from './suggest.ts';

/** What a command line says. */
export interface ParsedFlags {
  readonly flags: FlagValues;
  readonly positionals: readonly string[];
  /** `--help` or `-h` was met; what follows it is not read. */
  readonly help: boolean;
  /** Deprecated flags and flags without effect that were given, in words. */
  readonly warnings: readonly string[];
}

/**
 * Reads a command line as pflag does: `--x`, `--x=V`, `--x V`, `-v=2`, `-v2`, `-v 2`, `_` for `-`,
 * `--` before positionals; flags and positionals in any order; the last use of a flag wins, lists add
 * up. Throws a SwitchyardError of code `usage` that names the flag and what was expected.
 */
export function parseFlags(table: FlagTable, argv: readonly string[]): ParsedFlags {
  const reading = new Reading(table);
  let rest = argv;
  while (rest.length > 0 && !reading.help) rest = reading.step(rest);
  return reading.result();
}

/** One value of a flag from its text; throws the usage error where it does not fit the flag's type. */
export function parseFlagValue(flag: FlagSpec, text: string, shown: string): FlagValue {
  const value = valueOf(flag, text);
  if (value !== undefined) return value;
  throw new SwitchyardError('usage', `${shown}: ${JSON.stringify(text)} is not ${expected(flag)}`, {
    ...withGuess(guessOf(flag, text)),
  });
}

/** What a flag expects, with its article: `a duration such as 30s or 1m30s`. */
function expected(flag: FlagSpec): string {
  switch (flag.type) {
    case 'bool':
      return 'true or false';
    case 'int':
      return 'a whole number';
    case 'duration':
      return 'a duration such as 30s or 1m30s';
    case 'enum':
      return `one of ${(flag.values ?? []).filter((value) => value !== '').join(', ')}`;
    case 'list':
      return 'a comma-separated list';
    case 'string':
      return 'a text';
    default:
      return flag.type satisfies never;
  }
}

/** What may have been meant by a text that does not fit. */
function guessOf(flag: FlagSpec, text: string): string | undefined {
  if (flag.type === 'enum') return closest(text, flag.values ?? []);
  if (flag.type === 'duration' && parseDuration(`${text}s`) !== undefined) return `${text}s`;
  return undefined;
}

function valueOf(flag: FlagSpec, text: string): FlagValue {
  switch (flag.type) {
    case 'bool':
      return booleanOf(text);
    case 'int':
      return /^[+-]?\d{1,15}$/.test(text) ? Number(text) : undefined;
    case 'duration':
      return parseDuration(text);
    case 'enum':
      return flag.values?.includes(text) === true ? text : undefined;
    case 'list':
      if (flag.whole === true) return [text];
      return text === '' ? [] : text.split(',').map((item) => item.trim());
    case 'string':
      return text;
    default:
      return flag.type satisfies never;
  }
}

/** The spellings Go's strconv.ParseBool takes. */
function booleanOf(text: string): boolean | undefined {
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text)) return true;
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)) return false;
  return undefined;
}

class Reading {
  readonly #table: FlagTable;
  readonly #byName: ReadonlyMap<string, FlagSpec>;
  readonly #values = new Map<string, FlagValue>();
  readonly #given = new Map<string, string>();
  readonly #positionals: string[] = [];
  readonly #warnings: string[] = [];
  help = false;

  constructor(table: FlagTable) {
    this.#table = table;
    this.#byName = new Map(
      table.flatMap((flag) => [flag.name, ...(flag.aliases ?? [])].map((name) => [name, flag])),
    );
  }

  result(): ParsedFlags {
    return {
      flags: new FlagValues(this.#table, this.#values, this.#given),
      positionals: this.#positionals,
      help: this.help,
      warnings: this.#warnings,
    };
  }

  /** Reads one flag or positional off the front and returns what is left. */
  step(argv: readonly string[]): readonly string[] {
    const [word = '', ...rest] = argv;
    if (word === '--') {
      this.#positionals.push(...rest);
      return [];
    }
    if (word.startsWith('--')) return this.#long(word, rest);
    if (word.startsWith('-') && word !== '-') return this.#short(word, rest);
    this.#positionals.push(word);
    return rest;
  }

  #long(word: string, rest: readonly string[]): readonly string[] {
    const equals = word.indexOf('=');
    const name = (equals < 0 ? word : word.slice(0, equals)).slice(2).replaceAll('_', '-');
    const inline = equals < 0 ? undefined : word.slice(equals + 1);
    const flag = this.#byName.get(name);
    if (flag) return this.#take(flag, `--${name}`, inline, rest);
    if (name === 'help') return this.#askHelp(inline, rest);
    // `-v` is a flag of one letter whose long form is as short
    const letter = this.#table.find((each) => each.short === name);
    if (letter) return this.#take(letter, `--${name}`, inline, rest);
    throw unknownFlag(`--${name}`, closest(name, [...this.#byName.keys()]));
  }

  #short(word: string, rest: readonly string[]): readonly string[] {
    const letter = word.slice(1, 2);
    const tail = word.slice(2);
    const flag = this.#table.find((each) => each.short === letter);
    if (!flag) {
      if (word === '-h') return this.#askHelp(undefined, rest);
      const name = word.slice(1).split('=')[0] ?? '';
      throw unknownFlag(word, closest(name.replace(/^-/, ''), [...this.#byName.keys()]));
    }
    if (tail === '') return this.#take(flag, `-${letter}`, undefined, rest);
    return this.#take(flag, `-${letter}`, tail.startsWith('=') ? tail.slice(1) : tail, rest);
  }

  #askHelp(inline: string | undefined, rest: readonly string[]): readonly string[] {
    this.help = inline === undefined || booleanOf(inline) !== false;
    return rest;
  }

  #take(
    flag: FlagSpec,
    shown: string,
    inline: string | undefined,
    rest: readonly string[],
  ): readonly string[] {
    if (inline !== undefined) {
      this.#set(flag, shown, inline);
      return rest;
    }
    if (flag.type === 'bool') {
      this.#set(flag, shown, 'true');
      return rest;
    }
    const [value, ...after] = rest;
    if (value === undefined) {
      throw new SwitchyardError('usage', `${shown} needs a value: ${expected(flag)}`);
    }
    this.#set(flag, shown, value);
    return after;
  }

  #set(flag: FlagSpec, shown: string, text: string): void {
    const value = parseFlagValue(flag, text, shown);
    // Asking for something not to happen asks for nothing that is not built.
    if (flag.notYet !== undefined && value !== false) {
      throw new SwitchyardError('usage', `${shown}: ${flag.notYet}`);
    }
    const field = fieldOf(flag);
    const before = this.#values.get(field);
    const list = flag.type === 'list' && this.#given.has(field) ? [before, value].flat() : value;
    this.#values.set(field, list as FlagValue);
    if (!this.#given.has(field)) this.#warn(flag, shown);
    this.#given.set(field, shown);
  }

  #warn(flag: FlagSpec, shown: string): void {
    if (flag.deprecated !== undefined) {
      this.#warnings.push(`${shown} is deprecated: ${flag.deprecated}`);
    }
    if (flag.noEffect !== undefined) {
      this.#warnings.push(`${shown} has no effect: ${flag.noEffect}`);
    }
  }
}

function unknownFlag(shown: string, guess: string | undefined): SwitchyardError {
  return new SwitchyardError('usage', `unknown flag ${shown}`, {
    hint: guess === undefined ? '--help lists the flags' : `did you mean --${guess}?`,
  });
}

function withGuess(guess: string | undefined): { hint?: string } {
  return guess === undefined ? {} : { hint: `did you mean ${guess}?` };
}
