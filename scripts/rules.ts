// `npm run rules`: renders every scenario of the rule book into its folder, and the table of them;
// names what changed, and what no longer belongs there.
import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import {
  committed,
  renderIndex,
  renderScenario,
  ruleBook,
  scenarios,
  surplus,
} from './rule-book.ts';
import type { RenderedFile } from './rule-book.ts';

const byScenario = new Map<string, readonly RenderedFile[]>();
for (const name of scenarios()) byScenario.set(name, await renderScenario(name));
const rendered = [...[...byScenario.values()].flat(), renderIndex(byScenario)];
const changed = rendered.filter((file) => committed(file) !== file.content);
for (const { path, content } of changed) {
  writeFileSync(path, content);
  process.stdout.write(`rendered ${relative(ruleBook, path)}\n`);
}
for (const file of surplus(rendered)) process.stdout.write(`surplus, please delete: ${file}\n`);
process.stdout.write(
  changed.length === 0 ? 'rules: everything is up to date\n' : `rules: ${changed.length} files\n`,
);
