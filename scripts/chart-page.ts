// `npm run chart`: writes the table of values in charts/switchyard/README.md from values.yaml and its comments.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isMap, isScalar, parseDocument } from 'yaml';
import type { Node, Pair, YAMLMap } from 'yaml';

const folder = join(import.meta.dirname, '..', 'charts', 'switchyard');
const page = join(folder, 'README.md');

interface Row {
  readonly path: string;
  readonly value: string;
  readonly text: string;
}

/** The page as it is, and as the values make it. */
export function chartPage(): { readonly committed: string; readonly made: string } {
  const committed = readFileSync(page, 'utf8');
  const rows = valueRows(readFileSync(join(folder, 'values.yaml'), 'utf8'));
  const lines = rows.map(({ path, value, text }) => `| \`${path}\` | \`${value}\` | ${text} |`);
  const table = ['| value | default | |', '|---|---|---|', ...lines].join('\n');
  return { committed, made: committed.replace(/^\| value \|.*(?:\n\|.*)*/m, () => table) };
}

/** A row for each value with a comment that begins with `--`; throws where a value has none, nor any below it. */
export function valueRows(text: string): readonly Row[] {
  const { contents } = parseDocument(text, { keepSourceTokens: true });
  if (!isMap(contents)) throw new Error('values.yaml: expected a map');
  return rowsOf(contents, []);
}

function rowsOf(map: YAMLMap, above: readonly string[]): readonly Row[] {
  return map.items.flatMap((pair, at) => {
    const { key, value } = pair as Pair<Node, Node | null>;
    const path = [...above, String(isScalar(key) ? key.value : '')];
    // The comment of a map's first key is the map's own.
    const comment = key.commentBefore ?? (at === 0 ? map.commentBefore : undefined) ?? '';
    const said = /(?:^|\n) -- (?<text>[^]*)/.exec(comment)?.groups?.['text'];
    if (said !== undefined) {
      const shown = JSON.stringify(value?.toJSON() ?? null).replaceAll(/^"|"$/g, "'");
      return [{ path: path.join('.'), value: shown, text: said.replaceAll(/\s*\n\s*/g, ' ') }];
    }
    if (isMap(value) && value.items.length > 0) return rowsOf(value, path);
    throw new Error(`values.yaml: ${path.join('.')} has no comment that begins with "-- "`);
  });
}

if (import.meta.main) writeFileSync(page, chartPage().made);
