import { relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { committed, renderScenario, ruleBook, scenarios } from '../../scripts/rule-book.ts';

describe('the rule book', () => {
  it('has its scenarios', () => {
    expect(scenarios().length).toBeGreaterThanOrEqual(25);
  });

  it.each(scenarios())(
    '%s is committed as the program renders it (npm run rules)',
    async (name) => {
      for (const file of await renderScenario(name)) {
        expect(committed(file), relative(ruleBook, file.path)).toBe(file.content);
      }
    },
  );
});
