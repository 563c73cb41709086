// docs/differences.md and what the comparison with upstream's kube-proxy takes for known are the same.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { knownDifferences } from '../upstream/known-differences.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/differences.md'), 'utf8');
const rows = page
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| what '))
  .map((line) => line.slice(2, -2).split(' | '));

describe('docs/differences.md', () => {
  it('has the rows that are known, and no others', () => {
    const names = rows.map(([what = '']) => what);
    expect(knownDifferences.map(({ row }) => row).toSorted()).toEqual(names.toSorted());
  });

  it.each(rows)('%s: both sides, the reason and the test are there', (...cells) => {
    expect(cells).toHaveLength(5);
    expect(cells.at(-1)).toMatch(/^(\[[^\]]+\]\(\.\.\/test\/[^)]+\)(, )?)+$/);
  });
});
