import { compact } from '../compact.ts';
import type { FieldProblem } from '../informer/kind.ts';
import { parseCidr } from '../ip/cidr.ts';

/** A JSON object of unknown content. */
export type Raw = Readonly<Record<string, unknown>>;

export function isRaw(value: unknown): value is Raw {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Reads fields of a raw API object. A value of the wrong type becomes a problem with its path, and
 * the reader goes on with undefined: bad fields never hide good ones.
 */
export class FieldReader {
  readonly problems: FieldProblem[] = [];

  text(raw: Raw, key: string, path: string): string | undefined {
    const value = raw[key];
    if (value === undefined || value === null || typeof value === 'string')
      return value ?? undefined;
    return this.report(path, `expected a text, got ${shown(value)}`);
  }

  /** A text of a closed set. Another one is reported and still returned: it means none of those known. */
  oneOf(raw: Raw, key: string, path: string, known: readonly string[]): string | undefined {
    const value = this.text(raw, key, path);
    if (value !== undefined && !known.includes(value))
      this.report(path, `expected ${known.join(', ')}, got ${shown(value)}`);
    return value;
  }

  flag(raw: Raw, key: string, path: string): boolean | undefined {
    const value = raw[key];
    if (value === undefined || value === null || typeof value === 'boolean')
      return value ?? undefined;
    return this.report(path, `expected true or false, got ${shown(value)}`);
  }

  /** An integer within bounds; undefined where absent or unusable. */
  int(raw: Raw, key: string, path: string, min: number, max: number): number | undefined {
    const value = raw[key];
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max)
      return value;
    return this.report(path, `expected an integer ${min}..${max}, got ${shown(value)}`);
  }

  object(raw: Raw, key: string, path: string): Raw {
    const value = raw[key];
    if (isRaw(value)) return value;
    if (value !== undefined && value !== null)
      this.report(path, `expected an object, got ${shown(value)}`);
    return {};
  }

  list(raw: Raw, key: string, path: string): readonly unknown[] {
    const value = raw[key];
    if (Array.isArray(value)) return value as readonly unknown[];
    if (value !== undefined && value !== null)
      this.report(path, `expected a list, got ${shown(value)}`);
    return compact<unknown>([]);
  }

  /** The objects of a list, each with its path; other items are reported. */
  objects(raw: Raw, key: string, path: string): readonly (readonly [Raw, string])[] {
    return this.list(raw, key, path).flatMap((item, i) => {
      if (isRaw(item)) return [[item, `${path}[${i}]`] as const];
      this.report(`${path}[${i}]`, `expected an object, got ${shown(item)}`);
      return [];
    });
  }

  texts(raw: Raw, key: string, path: string): readonly string[] {
    const texts = this.list(raw, key, path).filter((item, i): item is string => {
      if (typeof item !== 'string')
        this.report(`${path}[${i}]`, `expected a text, got ${shown(item)}`);
      return typeof item === 'string';
    });
    return compact(texts);
  }

  /** The texts of a list that are prefixes; the others are reported. */
  cidrs(raw: Raw, key: string, path: string): readonly string[] {
    return this.list(raw, key, path).filter((item, i): item is string => {
      if (typeof item === 'string' && parseCidr(item) !== undefined) return true;
      this.report(`${path}[${i}]`, `expected a CIDR, got ${shown(item)}`);
      return false;
    });
  }

  report(field: string, reason: string): undefined {
    this.problems.push({ field, reason });
  }
}

function shown(value: unknown): string {
  const text = jsonOf(value);
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

/** The value may be nested deeper than JSON.stringify can go: that must not cost the whole object. */
function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return 'what is nested too deeply';
  }
}
