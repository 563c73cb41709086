import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const docs = join(import.meta.dirname, '..', 'docs');

/** A page as it is, and as the program makes it: a table after each comment that names it. */
export interface MadePage {
  readonly path: string;
  readonly committed: string;
  readonly made: string;
}

/** The lines of each table, by the name in its comment. */
export type Tables = Readonly<Record<string, readonly string[]>>;

/** `file`: in docs/. Throws where it has no place for a table. */
export function madePage(file: string, all: Tables): MadePage {
  const page = join(docs, file);
  const committed = readFileSync(page, 'utf8');
  let made = committed;
  for (const [name, rows] of Object.entries(all)) {
    const place = new RegExp(`(<!-- ${name} -->\n\n)(?:(?:\\|.*\n)+\n)?`);
    if (!place.test(made)) throw new Error(`${page} has no place for the table ${name}`);
    made = made.replace(place, (_, mark: string) => `${mark}${rows.join('\n')}\n\n`);
  }
  return { path: page, committed, made };
}
