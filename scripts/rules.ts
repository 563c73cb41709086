// `npm run rules`: renders every scenario of the rule book into its folder and names what changed.
import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { committed, renderScenario, ruleBook, scenarios } from './rule-book.ts';

let changed = 0;
for (const name of scenarios()) {
  for (const file of await renderScenario(name)) {
    if (committed(file) === file.content) continue;
    writeFileSync(file.path, file.content);
    process.stdout.write(`rendered ${relative(ruleBook, file.path)}\n`);
    changed++;
  }
}
process.stdout.write(
  changed === 0 ? 'rules: everything is up to date\n' : `rules: ${changed} files\n`,
);
