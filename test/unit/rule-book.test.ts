import { relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  committed,
  readmeOf,
  renderIndex,
  renderScenario,
  ruleBook,
  scenarios,
  surplus,
} from '../../scripts/rule-book.ts';
import type { RenderedFile } from '../../scripts/rule-book.ts';

const renderings = new Map<string, Promise<readonly RenderedFile[]>>();

/** Rendered once, by whichever test comes first. */
async function rendered(name: string): Promise<readonly RenderedFile[]> {
  const known = renderings.get(name) ?? renderScenario(name);
  renderings.set(name, known);
  return known;
}

async function renderedBook(): Promise<ReadonlyMap<string, readonly RenderedFile[]>> {
  const book = new Map<string, readonly RenderedFile[]>();
  for (const name of scenarios()) book.set(name, await rendered(name));
  return book;
}

describe('the rule book', () => {
  it('has its scenarios', () => {
    expect(scenarios().length).toBeGreaterThanOrEqual(25);
  });

  it.each(scenarios())(
    '%s is committed as the program renders it (npm run rules)',
    async (name) => {
      for (const file of await rendered(name)) {
        expect(committed(file), relative(ruleBook, file.path)).toBe(file.content);
      }
    },
  );

  it.each(scenarios())('%s says in three lines what it shows', (name) => {
    const { title, text } = readmeOf(name);
    expect(title).not.toBe('');
    expect(text).toHaveLength(3);
    for (const line of text) expect(line).toMatch(/^\S.{20,}\.$/);
  });

  it('lists them as npm run rules does', { timeout: 60_000 }, async () => {
    const index = renderIndex(await renderedBook());
    expect(committed(index)).toBe(index.content);
  });

  it('holds no file that nobody renders', { timeout: 60_000 }, async () => {
    expect(surplus([...(await renderedBook()).values()].flat())).toEqual([]);
  });
});
