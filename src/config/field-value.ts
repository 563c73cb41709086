import { durationWithin } from './duration.ts';
import type { FlagSpec, FlagValue } from './flag-table.ts';
import { isFields } from './file-document.ts';
import { expected, guessOf, unfitText, valueOf } from './flag-value.ts';
import { isInt32 } from './go-number.ts';

/** What a field of a file says: nothing (the default), a value, or something of another type. */
export type FieldValue =
  | { readonly kind: 'unset' }
  | { readonly kind: 'value'; readonly value: FlagValue }
  | { readonly kind: 'unfit'; readonly text: string; readonly hint: string | undefined };

/**
 * A field's value from what YAML says. Types are those of JSON, as in kube-proxy: a number in quotes is a text. Null, an
 * empty text (but where it counts) and, for fields that cannot be left out, zero mean the default.
 */
export function fieldValue(flag: FlagSpec, written: unknown): FieldValue {
  if (written === undefined || written === null) return { kind: 'unset' };
  if (written === '' && flag.emptyCounts !== true) return { kind: 'unset' };
  const value = converted(flag, written);
  if (value === undefined) return unfit(flag, written);
  const isZero = value === 0 || (Array.isArray(value) && value.length === 0);
  const isUnset = isZero && (flag.zeroIsUnset === true || flag.type === 'list');
  return isUnset ? { kind: 'unset' } : { kind: 'value', value };
}

function unfit(flag: FlagSpec, written: unknown): FieldValue {
  const text = `${unfitText(flag, written)} is not ${expectedInFile(flag)}`;
  const word = wordOf(written);
  if (word === undefined) return { kind: 'unfit', text, hint: undefined };
  const guess = guessOf(flag, word);
  const hint = guess === undefined ? hintOf(flag, word, written) : `did you mean ${guess}?`;
  return { kind: 'unfit', text, hint };
}

/** Where the right value has the wrong spelling. */
function hintOf(flag: FlagSpec, word: string, written: unknown): string | undefined {
  if (flag.type === 'list') return flag.item === undefined ? `write [${word}]` : undefined;
  if (valueOf(flag, word) === undefined) return undefined;
  return typeof written === 'string' ? 'leave the quotes out' : 'write it in quotes';
}

/** As a flag would have it; undefined for lists and maps. */
function wordOf(written: unknown): string | undefined {
  if (typeof written === 'string') return written;
  return typeof written === 'number' || typeof written === 'boolean' ? String(written) : undefined;
}

function expectedInFile(flag: FlagSpec): string {
  if (flag.type !== 'list') return expected(flag);
  return flag.item === undefined ? 'a list of texts' : formsInFile[flag.item];
}

const formsInFile: Readonly<Record<NonNullable<FlagSpec['item']>, string>> = {
  gate: 'a map of names to true or false',
  module: 'a list of filePattern and verbosity',
  pair: 'a map of texts',
  header: 'a map of names to lists of texts',
  taint: 'a list of key, value and effect',
  any: 'a section or a list',
};

function converted(flag: FlagSpec, written: unknown): FlagValue {
  switch (flag.type) {
    case 'bool':
      return typeof written === 'boolean' ? written : undefined;
    case 'int':
    case 'float':
      return numberOf(flag, written);
    case 'duration':
      return durationOf(flag, written);
    case 'quantity':
    case 'enum':
    case 'string':
      return textOf(flag, written);
    case 'list':
      return listOf(flag, written);
    default:
      return flag.type satisfies never;
  }
}

function numberOf({ type }: FlagSpec, written: unknown): number | undefined {
  if (typeof written !== 'number') return undefined;
  const fits = type === 'int' ? isInt32(written) : Number.isFinite(written);
  return fits ? written : undefined;
}

/** A quantity may be written as a number too. */
function textOf(flag: FlagSpec, written: unknown): FlagValue {
  if (typeof written === 'string') return valueOf(flag, written);
  if (flag.type !== 'quantity' || typeof written !== 'number') return undefined;
  return valueOf(flag, String(written));
}

function durationOf(flag: FlagSpec, written: unknown): FlagValue {
  if (flag.nanoseconds === true && typeof written === 'number')
    return Number.isInteger(written) ? durationWithin(written / 1e6) : undefined;
  return typeof written === 'string' ? valueOf(flag, written) : undefined;
}

function listOf({ item }: FlagSpec, written: unknown): readonly string[] | undefined {
  switch (item) {
    case undefined:
      return itemsOf(written, (each) => (typeof each === 'string' ? each : undefined));
    case 'gate':
      return isFields(written) ? itemsOf(Object.entries(written), gateOf) : undefined;
    case 'module':
      return itemsOf(written, moduleOf);
    case 'pair':
      return isFields(written) ? itemsOf(Object.entries(written), pairOf) : undefined;
    case 'header':
      return isFields(written) ? headersOf(written) : undefined;
    case 'taint':
      return itemsOf(written, taintOf);
    case 'any':
      return typeof written === 'object' ? [JSON.stringify(written)] : undefined;
    default:
      return item satisfies never;
  }
}

function gateOf(entry: unknown): string | undefined {
  const [name, on] = entry as [string, unknown];
  return typeof on === 'boolean' ? `${name}=${String(on)}` : undefined;
}

/** A quantity may be a number. */
function pairOf(entry: unknown): string | undefined {
  const [name, value] = entry as [string, unknown];
  const isText = typeof value === 'string' || typeof value === 'number';
  return isText ? `${name}=${value}` : undefined;
}

function headersOf(written: Readonly<Record<string, unknown>>): readonly string[] | undefined {
  const all = Object.entries(written).map(([name, values]) =>
    itemsOf(values, (each) => (typeof each === 'string' ? `${name}:${each}` : undefined)),
  );
  return all.includes(undefined) ? undefined : all.flatMap((each) => each ?? []);
}

function taintOf(entry: unknown): string | undefined {
  if (!isFields(entry)) return undefined;
  const { key, value = '', effect } = entry;
  if (typeof key !== 'string' || typeof value !== 'string' || typeof effect !== 'string')
    return undefined;
  return `${key}=${value}:${effect}`;
}

function moduleOf(entry: unknown): string | undefined {
  if (!isFields(entry)) return undefined;
  const { filePattern, verbosity, ...rest } = entry;
  if (typeof filePattern !== 'string' || typeof verbosity !== 'number') return undefined;
  return Object.keys(rest).length === 0 ? `${filePattern}=${verbosity}` : undefined;
}

/** A list whose items are all as they should be. */
function itemsOf(
  list: unknown,
  itemOf: (each: unknown) => string | undefined,
): readonly string[] | undefined {
  if (!Array.isArray(list)) return undefined;
  const items = list.map(itemOf).filter((each) => each !== undefined);
  return items.length === list.length ? items : undefined;
}
