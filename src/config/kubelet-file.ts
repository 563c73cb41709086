import { isDeepStrictEqual } from 'node:util';
import { fieldValue } from './field-value.ts';
import { isFields, readDocument } from './file-document.ts';
import { FlagValues, fieldOf, presetOf } from './flag-table.ts';
import type { FlagSpec, FlagTable, FlagValue } from './flag-table.ts';
import type { FieldProblem } from './problems.ts';
import { closest } from './suggest.ts';

export const kubeletFileKind = {
  apiVersion: 'kubelet.config.k8s.io/v1beta1',
  kind: 'KubeletConfiguration',
} as const;

/** Text of a configuration file, by its path. */
export interface KubeletFile {
  readonly path: string;
  readonly text: string;
}

/** Settings of all files and of the command line. */
export interface KubeletSettings {
  readonly flags: FlagValues;
  /** What was given and has no effect, in words. */
  readonly warnings: readonly string[];
}

/** Fields with the path of a file; a relative one counts from where the configuration lies. */
const paths: ReadonlySet<string> = new Set([
  'staticPodPath',
  'tlsCertFile',
  'tlsPrivateKeyFile',
  'authentication.x509.clientCAFile',
  'podLogsDir',
  'resolvConf',
]);

/**
 * Reads KubeletConfiguration files, the later ones over the earlier (maps are merged, lists replaced), and what flags say over all of them.
 * A field that is none, or stands twice, is a problem of the result: upstream's reading is strict too. Throws a usage error where a
 * file is no such file.
 */
export function readKubeletFiles(
  files: readonly KubeletFile[],
  table: FlagTable,
  flags: FlagValues,
): KubeletSettings {
  const reading = new Reading(table);
  for (const file of files) reading.file(file);
  return reading.over(flags);
}

class Reading {
  readonly #table: FlagTable;
  readonly #byPath: ReadonlyMap<string, FlagSpec>;
  readonly #values = new Map<string, FlagValue>();
  readonly #given = new Map<string, string>();
  readonly #warnings: string[] = [];
  readonly #problems: FieldProblem[] = [];
  #file: KubeletFile = { path: '', text: '' };

  constructor(table: FlagTable) {
    this.#table = table;
    this.#byPath = new Map(
      table.flatMap((flag) => (flag.configPath === undefined ? [] : [[flag.configPath, flag]])),
    );
  }

  file(file: KubeletFile): void {
    this.#file = file;
    const { root, repeated } = readDocument(file.text, file.path, kubeletFileKind);
    for (const name of repeated) this.#problem(name, 'stands there more than once', undefined);
    this.#section(root, '');
  }

  over(flags: FlagValues): KubeletSettings {
    for (const flag of this.#table) {
      const field = fieldOf(flag);
      if (!flags.given(field)) continue;
      this.#values.set(field, this.#merged(flag, flags.value(field)));
      this.#given.set(field, flags.shown(field));
    }
    const problems = [...flags.problems, ...this.#problems];
    return {
      flags: new FlagValues(this.#table, this.#values, this.#given, problems),
      warnings: this.#warnings,
    };
  }

  #section(fields: object, above: string): void {
    for (const [key, written] of Object.entries(fields)) {
      const name = above === '' ? key : `${above}.${key}`;
      const flag = this.#byPath.get(name);
      if (flag !== undefined) this.#field(flag, name, written);
      else if (this.#byPath.keys().some((path) => path.startsWith(`${name}.`)))
        this.#inner(name, written);
      else if (name !== 'kind' && name !== 'apiVersion') this.#unknown(name);
    }
  }

  #inner(name: string, written: unknown): void {
    if (isFields(written)) this.#section(written, name);
    else if (written !== null)
      this.#problem(name, `${JSON.stringify(written)} is not a section with fields`, undefined);
  }

  #field(flag: FlagSpec, name: string, written: unknown): void {
    const read = fieldValue(flag, written);
    if (read.kind === 'unfit') this.#problem(name, read.text, read.hint);
    if (read.kind === 'unset' && flag.item === 'pair' && isFields(written)) this.#empty(flag, name);
    if (read.kind !== 'value') return;
    const field = fieldOf(flag);
    this.#values.set(field, this.#merged(flag, this.#resolved(name, read.value)));
    this.#given.set(field, `${this.#file.path}: ${name}`);
    if (flag.noEffect !== undefined && !isDeepStrictEqual(read.value, presetOf(flag)))
      this.#warnings.push(`${this.#file.path}: ${name} has no effect: ${flag.noEffect}`);
  }

  /** A map without anything in it is not the default. */
  #empty(flag: FlagSpec, name: string): void {
    const field = fieldOf(flag);
    if (this.#values.has(field)) return;
    this.#values.set(field, []);
    this.#given.set(field, `${this.#file.path}: ${name}`);
  }

  /** Maps add up: of one key the last value counts. */
  #merged(flag: FlagSpec, value: FlagValue): FlagValue {
    const before = this.#values.get(fieldOf(flag));
    const isMap = flag.item === 'gate' || flag.item === 'pair';
    if (!isMap || !Array.isArray(before) || !Array.isArray(value)) return value;
    const byName = new Map<string, string>();
    for (const each of [...(before as readonly string[]), ...(value as readonly string[])])
      byName.set(each.slice(0, each.indexOf('=')), each);
    return [...byName.values()];
  }

  #resolved(name: string, value: FlagValue): FlagValue {
    if (typeof value !== 'string' || value === '' || !paths.has(name)) return value;
    if (value.startsWith('/')) return value;
    const folder = this.#file.path.slice(0, this.#file.path.lastIndexOf('/') + 1);
    return `${folder}${value}`;
  }

  #unknown(name: string): void {
    const guess = closest(name, [...this.#byPath.keys()]);
    const hint = guess === undefined ? undefined : `did you mean ${guess}?`;
    this.#problem(name, `is not a field of ${kubeletFileKind.kind}`, hint);
  }

  #problem(name: string, text: string, hint: string | undefined): void {
    this.#problems.push({ message: `${this.#file.path}: ${name}: ${text}`, hint });
  }
}
