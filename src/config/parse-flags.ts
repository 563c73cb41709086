import { isDeepStrictEqual } from 'node:util';
import { FlagValues, fieldOf, presetOf } from './flag-table.ts';
import type { FlagSpec, FlagTable, FlagValue } from './flag-table.ts';
import { booleanOf, expected, guessOf, unfitText, valueOf } from './flag-value.ts';
import { refuse } from './problems.ts';
import type { FieldProblem } from './problems.ts';
import { closest } from './suggest.ts';

/** How much `--version` tells. */
export type VersionForm = 'short' | 'raw';

/** What a command line says. */
export interface ParsedFlags {
  readonly flags: FlagValues;
  readonly positionals: readonly string[];
  /** `--help` or `-h` was met; what follows it is not read. */
  readonly help: boolean;
  /** `--version` (a line) or `--version=raw` (everything) was met. */
  readonly version: VersionForm | undefined;
  /** Deprecated flags and flags without effect that were given, in words. */
  readonly warnings: readonly string[];
}

/**
 * Reads a command line as pflag does: `--x`, `--x=V`, `--x V`, `-v=2`, `-v2`, `-v 2`, `-it` for `-i -t`, `_` for `-`,
 * `--` before positionals; flags and positionals in any order; the last use of a flag wins, lists add
 * up. Throws a SwitchyardError of code `usage` that names each wrong flag and what was expected.
 */
export function parseFlags(table: FlagTable, argv: readonly string[]): ParsedFlags {
  const reading = new Reading(table);
  let rest = argv;
  while (rest.length > 0 && !reading.help) rest = reading.step(rest);
  if (!reading.help) refuse(reading.problems);
  return reading.result();
}

class Reading {
  readonly #table: FlagTable;
  readonly #byName: ReadonlyMap<string, FlagSpec>;
  readonly #values = new Map<string, FlagValue>();
  readonly #given = new Map<string, string>();
  readonly #positionals: string[] = [];
  readonly #warnings: string[] = [];
  readonly #warned = new Set<FlagSpec>();
  readonly problems: FieldProblem[] = [];
  help = false;
  #version: VersionForm | undefined;

  constructor(table: FlagTable) {
    this.#table = table;
    this.#byName = new Map(
      table
        .filter((flag) => flag.fileOnly === undefined)
        .flatMap((flag) => [flag.name, ...(flag.aliases ?? [])].map((name) => [name, flag])),
    );
  }

  result(): ParsedFlags {
    return {
      flags: new FlagValues(this.#table, this.#values, this.#given),
      positionals: this.#positionals,
      help: this.help,
      version: this.#version,
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
    if (name === 'version') return this.#askVersion(inline, rest);
    // `-v` is a flag of one letter whose long form is as short
    const letter = this.#table.find((each) => each.short === name);
    if (letter) return this.#take(letter, `--${name}`, inline, rest);
    return this.#unknown(`--${name}`, name, rest);
  }

  #short(word: string, rest: readonly string[]): readonly string[] {
    const letter = word.slice(1, 2);
    const tail = word.slice(2);
    const flag = this.#table.find((each) => each.short === letter);
    if (!flag) {
      if (word === '-h') return this.#askHelp(undefined, rest);
      const name = word.slice(1).split('=')[0] ?? '';
      return this.#unknown(word, name.replace(/^-/, ''), rest);
    }
    if (tail === '') return this.#take(flag, `-${letter}`, undefined, rest);
    if (tail.startsWith('=')) return this.#take(flag, `-${letter}`, tail.slice(1), rest);
    if (flag.type !== 'bool') return this.#take(flag, `-${letter}`, tail, rest);
    this.#set(flag, `-${letter}`, 'true');
    return [`-${tail}`, ...rest];
  }

  #askHelp(inline: string | undefined, rest: readonly string[]): readonly string[] {
    this.help = inline === undefined || booleanOf(inline) !== false;
    return rest;
  }

  /** As upstream's: alone, a boolean, `raw`, or the version that is to be reported. */
  #askVersion(inline: string | undefined, rest: readonly string[]): readonly string[] {
    const asked = inline === undefined ? true : booleanOf(inline);
    if (inline === 'raw') this.#version = 'raw';
    else if (asked !== undefined) this.#version = asked ? 'short' : undefined;
    else if (/^v\d/.test(inline ?? '')) {
      this.#warnings.push(
        `--version=${inline ?? ''} has no effect: the version that is reported is the program's own`,
      );
    } else {
      const text = `--version: ${JSON.stringify(inline)} is not true, false or raw`;
      this.#problem(text, closest(inline ?? '', ['raw', 'true']));
    }
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
      this.#problem(`${shown} needs a value: ${expected(flag)}`, undefined);
      return after;
    }
    this.#set(flag, shown, value);
    return after;
  }

  #set(flag: FlagSpec, shown: string, text: string): void {
    const value = valueOf(flag, text);
    if (value === undefined) {
      this.#problem(
        `${shown}: ${unfitText(flag, text)} is not ${expected(flag)}`,
        guessOf(flag, text),
      );
      return;
    }
    const field = fieldOf(flag);
    const before = this.#values.get(field);
    const list = flag.type === 'list' && this.#given.has(field) ? [before, value].flat() : value;
    this.#values.set(field, list as FlagValue);
    this.#warn(flag, shown, value);
    this.#given.set(field, shown);
  }

  /** Once a flag; asking for what is the case anyway is nothing to be warned of. */
  #warn(flag: FlagSpec, shown: string, value: FlagValue): void {
    if (this.#warned.has(flag)) return;
    const said: string[] = [];
    if (flag.deprecated !== undefined) said.push(`${shown} is deprecated: ${flag.deprecated}`);
    if (flag.noEffect !== undefined && !isDeepStrictEqual(value, presetOf(flag))) {
      said.push(`${shown} has no effect: ${flag.noEffect}`);
    }
    if (said.length > 0) this.#warned.add(flag);
    this.#warnings.push(...said);
  }

  #problem(message: string, guess: string | undefined): void {
    const hint = guess === undefined ? undefined : `did you mean ${guess}?`;
    this.problems.push({ message, hint });
  }

  /** Whether a value belongs to it nobody knows: what follows is read for itself. */
  #unknown(shown: string, name: string, rest: readonly string[]): readonly string[] {
    const guess = closest(name, [...this.#byName.keys()]);
    const hint = guess === undefined ? '--help lists the flags' : `did you mean --${guess}?`;
    this.problems.push({ message: `unknown flag ${shown}`, hint });
    return rest;
  }
}
