import { isDeepStrictEqual } from 'node:util';
import { fieldValue } from './field-value.ts';
import type { FieldValue } from './field-value.ts';
import { isFields, readDocument } from './file-document.ts';
import { FlagValues, fieldOf, presetOf } from './flag-table.ts';
import type { FlagSpec, FlagTable, FlagValue } from './flag-table.ts';
import type { FieldProblem } from './problems.ts';
import { closest } from './suggest.ts';

/** Settings read from a configuration file. */
export interface ConfigFile {
  readonly flags: FlagValues;
  /** Fields that are not used and flags the file overrides, in words. */
  readonly warnings: readonly string[];
}

/**
 * Reads a KubeProxyConfiguration into the values of the flags that say the same. Empty and null
 * fields are the defaults, as kubeadm writes them. Unknown fields and those that stand twice are warned of, where kube-proxy
 * falls back to lenient decoding; values of a wrong type are problems of the result. Throws a usage error where it is no such file.
 */
export function readConfigFile(
  text: string,
  path: string,
  table: FlagTable,
  flags: FlagValues,
): ConfigFile {
  const { root, repeated } = readDocument(text, path);
  const reading = new Reading(path, table);
  for (const name of repeated)
    reading.warn(name, 'stands there more than once, the last one counts');
  reading.section(root, '');
  for (const flag of table) if (flags.given(fieldOf(flag))) reading.beside(flag, flags);
  return reading.result();
}

class Reading {
  readonly #path: string;
  readonly #table: FlagTable;
  readonly #byPath: ReadonlyMap<string, FlagSpec>;
  readonly #values = new Map<string, FlagValue>();
  readonly #given = new Map<string, string>();
  readonly #warnings: string[] = [];
  readonly #problems: FieldProblem[] = [];

  constructor(path: string, table: FlagTable) {
    this.#path = path;
    this.#table = table;
    this.#byPath = new Map(
      table.flatMap((flag) => (flag.configPath === undefined ? [] : [[flag.configPath, flag]])),
    );
  }

  /** All fields of a section, and of those inside it. */
  section(fields: object, above: string): void {
    for (const [key, written] of Object.entries(fields)) {
      const name = above === '' ? key : `${above}.${key}`;
      const flag = this.#byPath.get(name);
      if (flag !== undefined) this.#field(flag, name, fieldValue(flag, written));
      else if (this.#isSection(name)) this.#inner(name, written);
      else if (name !== 'kind' && name !== 'apiVersion') this.#unknown(name);
    }
  }

  warn(name: string, text: string): void {
    this.#warnings.push(`${this.#path}: ${name} ${text}`);
  }

  /** A flag on the command line: some count beside the file. */
  beside(flag: FlagSpec, flags: FlagValues): void {
    const field = fieldOf(flag);
    if (flag.besideFile !== true) {
      this.#warnings.push(`${flags.shown(field)} is ignored: --config is given`);
      return;
    }
    this.#values.set(field, flags.value(field));
    this.#given.set(field, flags.shown(field));
  }

  result(): ConfigFile {
    return {
      flags: new FlagValues(this.#table, this.#values, this.#given, this.#problems),
      warnings: this.#warnings,
    };
  }

  #field(flag: FlagSpec, name: string, read: FieldValue): void {
    if (read.kind === 'unfit') this.#problem(name, read.text, read.hint);
    if (read.kind !== 'value') return;
    const field = fieldOf(flag);
    this.#values.set(field, read.value);
    this.#given.set(field, `${this.#path}: ${name}`);
    if (flag.noEffect !== undefined && !isDeepStrictEqual(read.value, presetOf(flag))) {
      this.warn(name, `has no effect: ${flag.noEffect}`);
    }
  }

  #isSection(name: string): boolean {
    return this.#byPath.keys().some((path) => path.startsWith(`${name}.`));
  }

  #inner(name: string, written: unknown): void {
    if (isFields(written)) this.section(written, name);
    else if (written !== null) {
      const inside = this.#byPath.keys().find((path) => path.startsWith(`${name}.`)) ?? '';
      const hint = `write its fields below it: ${inside}, for example`;
      this.#problem(name, `${JSON.stringify(written)} is not a section with fields`, hint);
    }
  }

  /** A name nobody reads: what is meant does not happen. */
  #unknown(name: string): void {
    const guess = closest(name, [...this.#byPath.keys()]);
    const meant = guess === undefined ? '' : `; did you mean ${guess}?`;
    this.warn(name, `is not a field of KubeProxyConfiguration and is not used${meant}`);
  }

  #problem(name: string, text: string, hint: string | undefined): void {
    this.#problems.push({ message: `${this.#path}: ${name}: ${text}`, hint });
  }
}
