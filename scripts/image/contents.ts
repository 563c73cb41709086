import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

/** `image/contents.yaml`: what is in the image. Paths have no slash in front. */
export interface Contents {
  /** Debian packages, and the globs of the files that are taken. */
  readonly packages: Readonly<Record<string, readonly string[]>>;
  /** Symbolic links and where they lead. */
  readonly links: Readonly<Record<string, string>>;
  /** Empty folders and their modes. */
  readonly folders: Readonly<Record<string, number>>;
  /** Files and their text. */
  readonly files: Readonly<Record<string, string>>;
}

export const root = join(import.meta.dirname, '../..');

/** Reads the list. A key or value of another kind is refused by name. */
export function readContents(file = join(root, 'image/contents.yaml')): Contents {
  const value: unknown = parse(readFileSync(file, 'utf8'));
  const { packages, links, folders, files, ...others } = record(value, file);
  const unknown = Object.keys(others);
  if (unknown.length > 0) throw new Error(`${file}: unknown: ${unknown.join(', ')}`);
  return {
    packages: mapped(packages, 'packages', globs),
    links: mapped(links, 'links', text),
    folders: mapped(folders, 'folders', (mode, name) => Number.parseInt(text(mode, name), 8)),
    files: mapped(files, 'files', text),
  };
}

function mapped<T>(
  value: unknown,
  name: string,
  read: (value: unknown, name: string) => T,
): Readonly<Record<string, T>> {
  const entries = Object.entries(record(value, name));
  return Object.fromEntries(entries.map(([key, each]) => [key, read(each, `${name}: ${key}`)]));
}

function globs(value: unknown, name: string): readonly string[] {
  if (!Array.isArray(value)) throw new Error(`${name}: expected a list of globs`);
  return value.map((each) => text(each, name));
}

function text(value: unknown, name: string): string {
  if (typeof value !== 'string') throw new Error(`${name}: expected a text`);
  return value;
}

function record(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>;
  }
  throw new Error(`${name}: expected a map`);
}
