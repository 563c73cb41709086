import { parseDuration } from './duration.ts';
import type { FlagSpec, FlagValue } from './flag-table.ts';
import { isQuantity, parseFloat32, parseInt32 } from './go-number.ts';
import { closest } from './suggest.ts';

/** What a flag expects, with its article: `a duration such as 30s or 1m30s`. */
export function expected(flag: FlagSpec): string {
  switch (flag.type) {
    case 'bool':
      return 'true or false';
    case 'int':
      return 'a whole number';
    case 'float':
      return 'a number';
    case 'duration':
      return 'a duration such as 30s or 1m30s';
    case 'enum':
      return `one of ${(flag.values ?? []).filter((value) => value !== '').join(', ')}`;
    case 'list':
      return expectedList(flag);
    case 'quantity':
      return 'a quantity such as 512 or 2Ki';
    case 'string':
      return 'a text';
    default:
      return flag.type satisfies never;
  }
}

const listForms: Readonly<Record<NonNullable<FlagSpec['item']>, string>> = {
  gate: 'a list of NAME=true or NAME=false',
  module: 'a list of PATTERN=LEVEL',
  pair: 'a list of NAME=VALUE',
  header: 'a list of NAME:VALUE',
  taint: 'a list of KEY=VALUE:EFFECT',
  any: 'a list',
};

function expectedList({ item }: FlagSpec): string {
  return item === undefined ? 'a comma-separated list' : listForms[item];
}

/** A value that does not fit, in words; a header may hold what nobody else is to know. */
export function unfitText(flag: FlagSpec, written: unknown): string {
  return flag.item === 'header' ? 'what is given' : JSON.stringify(written);
}

/** What may have been meant by a text that does not fit. */
export function guessOf(flag: FlagSpec, text: string): string | undefined {
  if (flag.type === 'enum') return closest(text, flag.values ?? []);
  if (flag.type === 'duration' && parseDuration(`${text}s`) !== undefined) return `${text}s`;
  return undefined;
}

/** A flag's value from its text; undefined where the text does not fit the flag's type. */
export function valueOf(flag: FlagSpec, text: string): FlagValue {
  switch (flag.type) {
    case 'bool':
      return booleanOf(text);
    case 'int':
      return parseInt32(text);
    case 'float':
      return parseFloat32(text);
    case 'duration':
      return parseDuration(text);
    case 'enum':
      return flag.values?.includes(text) === true ? text : undefined;
    case 'list':
      return listOf(flag, text);
    case 'quantity':
      return isQuantity(text) ? text : undefined;
    case 'string':
      return text;
    default:
      return flag.type satisfies never;
  }
}

/** The spellings Go's strconv.ParseBool takes. */
export function booleanOf(text: string): boolean | undefined {
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text)) return true;
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)) return false;
  return undefined;
}

function listOf({ item, whole }: FlagSpec, text: string): readonly string[] | undefined {
  if (whole === true) return [text];
  const items = text === '' ? [] : text.split(',').map((each) => each.trim());
  switch (item) {
    case undefined:
      return items;
    case 'gate':
      return allOf(items.filter((each) => each !== '').map(gateOf));
    case 'any':
      return items;
    case 'module':
    case 'pair':
    case 'header':
    case 'taint':
      return items.every((each) => itemForms[item].test(each)) ? items : undefined;
    default:
      return item satisfies never;
  }
}

const itemForms = {
  module: /^[^=]+=\d+$/,
  pair: /^[^=]+=/,
  header: /^[^:]+:/,
  taint: /^[^=:]+(?:=[^=:]*)?:(?:NoSchedule|PreferNoSchedule|NoExecute)$/,
} as const;

/** `NAME=t` as `NAME=true`. */
function gateOf(text: string): string | undefined {
  const [, name, value = ''] = /^([^=]+)=(.*)$/.exec(text) ?? [];
  const on = booleanOf(value.trim());
  return name === undefined || on === undefined ? undefined : `${name.trim()}=${String(on)}`;
}

function allOf(items: readonly (string | undefined)[]): readonly string[] | undefined {
  const known = items.filter((each) => each !== undefined);
  return known.length === items.length ? known : undefined;
}
