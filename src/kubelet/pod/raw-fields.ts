import { isRaw } from '../../services/field-reader.ts';
import type { Raw } from '../../services/field-reader.ts';

/** A text, or '' for what is none. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** What a quantity is written as: a text or a number. */
export function quantityWritten(value: unknown): string {
  return typeof value === 'number' ? String(value) : textOf(value);
}

/** A map below a key; empty where there is none. */
export function sectionOf(raw: Raw, key: string): Raw {
  const value = raw[key];
  return isRaw(value) ? value : {};
}

/** The maps of a list below a key. */
export function mapsOf(raw: Raw, key: string): readonly Raw[] {
  const value = raw[key];
  return Array.isArray(value) ? value.filter(isRaw) : [];
}

/** The same, each with the path of its field; `at` is that of `raw`. */
export function placedMaps(raw: Raw, key: string, at: string): readonly (readonly [Raw, string])[] {
  const value = raw[key];
  if (!Array.isArray(value)) return [];
  return value.flatMap((each, index) => (isRaw(each) ? [[each, `${at}.${key}[${index}]`]] : []));
}
