import type { FieldProblem } from './problems.ts';

/**
 * What a flag takes. `bool` follows pflag: `--x`, `--x=true`, `--x=false`, never `--x false`.
 * `int` is Go's int32, `0x10` included. `duration` is Go's (`1m30s`), read into milliseconds. `list` is
 * comma separated and may be repeated; `enum` is one of `values`; `quantity` is Kubernetes' (`1Mi`), kept as text.
 */
type FlagType = 'bool' | 'string' | 'int' | 'float' | 'duration' | 'list' | 'enum' | 'quantity';

/** One flag: everything that parsing, `--help` and the documentation need to know of it. */
export interface FlagSpec {
  /** Without the dashes, words joined by `-`. */
  readonly name: string;
  readonly type: FlagType;
  /** Property of the parsed values; the name in camel case where absent. */
  readonly field?: string;
  /**
   * In the parsed form: boolean, string, integer, milliseconds or list. Undefined: unset, and then
   * the value is undefined (lists: empty).
   */
  readonly default?: boolean | string | number | readonly string[];
  readonly help: string;
  /** One letter: `v` makes `-v=2`, `-v2` and `-v 2` work. */
  readonly short?: string;
  /** For `enum`: the values allowed. */
  readonly values?: readonly string[];
  /** What the value is called in --help: `PATH`, `IP:PORT`. */
  readonly placeholder?: string;
  /** Names that are read as this flag. */
  readonly aliases?: readonly string[];
  /** Parsed but not shown by --help; the text says what to use instead, and is warned with. */
  readonly deprecated?: string;
  /** Taken for the sake of compatibility and without effect: a warning gives this reason. */
  readonly noEffect?: string;
  /** For `list`: each use of the flag is one item, commas are part of it. */
  readonly whole?: boolean;
  /**
   * For `list`: what an item is. A gate is `NAME=BOOLEAN` (in a file a map), a module `PATTERN=VERBOSITY` (in a file a list
   * of `filePattern` and `verbosity`), a pair `NAME=VALUE` (in a file a map of texts), a header `NAME:VALUE` (in a file a map of lists),
   * a taint `KEY=VALUE:EFFECT` (in a file a map of the three). `any` is one of which nothing is read: JSON.
   */
  readonly item?: 'gate' | 'module' | 'pair' | 'header' | 'taint' | 'any';
  /** Where a KubeProxyConfiguration (or a KubeletConfiguration) file says the same: `iptables.masqueradeBit`. */
  readonly configPath?: string;
  /** A field of the file that no flag sets; `name` is its path. */
  readonly fileOnly?: true;
  /** In a file a zero means the default, for the field cannot be left out there; otherwise a zero is a zero. */
  readonly zeroIsUnset?: true;
  /** In a file an empty text is a value like another; otherwise it means the default. */
  readonly emptyCounts?: true;
  /** In a file a number of nanoseconds is a duration too. */
  readonly nanoseconds?: true;
  /** Counts beside a file, whatever that says. */
  readonly besideFile?: true;
  /** Where --help lists it; flags without a group come first. */
  readonly group?: string;
}

/** All flags of one command. */
export type FlagTable = readonly FlagSpec[];

export type FlagValue = boolean | string | number | readonly string[] | undefined;

/** Parsed flags of a table by field. The accessors throw on a field the table does not have: a bug, not a user's error. */
export class FlagValues {
  readonly #values: ReadonlyMap<string, FlagValue>;
  readonly #names: ReadonlyMap<string, string>;
  readonly #given: ReadonlyMap<string, string>;
  /** What was said and could not be read, so that it is told with what else is wrong; such a field has its default. */
  readonly problems: readonly FieldProblem[];

  /** `given` has, by field, what was said and where: `--mode`, `c.yaml: iptables.masqueradeBit`. */
  constructor(
    table: FlagTable,
    values: ReadonlyMap<string, FlagValue>,
    given: ReadonlyMap<string, string>,
    problems: readonly FieldProblem[] = [],
  ) {
    this.problems = problems;
    this.#values = new Map([
      ...table.map((flag) => [fieldOf(flag), presetOf(flag)] as const),
      ...values,
    ]);
    this.#names = new Map(
      table.map((flag) => [fieldOf(flag), flag.fileOnly ? flag.name : `--${flag.name}`]),
    );
    this.#given = given;
  }

  /** Whether the command line or the configuration file said it. */
  given(field: string): boolean {
    return this.#given.has(field);
  }

  /** What messages call a setting: the words it was given in, else the flag's name. */
  shown(field: string): string {
    const name = this.#given.get(field) ?? this.#names.get(field);
    if (name === undefined) throw new Error(`no flag has the field ${field}`);
    return name;
  }

  /** The value as it is, for those who do not know its type. */
  value(field: string): FlagValue {
    return this.#read(field);
  }

  bool(field: string): boolean {
    return this.#read(field) === true;
  }

  /** '' where the flag has no default and was not given. */
  text(field: string): string {
    const value = this.#read(field);
    return typeof value === 'string' ? value : '';
  }

  /** Numbers as they are, durations in milliseconds; 0 where unset. */
  number(field: string): number {
    const value = this.#read(field);
    return typeof value === 'number' ? value : 0;
  }

  list(field: string): readonly string[] {
    const value = this.#read(field);
    return Array.isArray(value) ? (value as readonly string[]) : [];
  }

  #read(field: string): FlagValue {
    if (!this.#values.has(field)) throw new Error(`no flag has the field ${field}`);
    return this.#values.get(field);
  }
}

/** A flag's value where nobody gives it. */
export function presetOf(flag: FlagSpec): FlagValue {
  return flag.default ?? (flag.type === 'list' ? [] : undefined);
}

/** The property a flag is read by. */
export function fieldOf(flag: FlagSpec): string {
  return flag.field ?? flag.name.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}
