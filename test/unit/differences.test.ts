// docs/differences.md and what the comparison with upstream's kube-proxy takes for known are the same, and the tests
// that its rows name are there.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { linksOf, titlesOf } from '../support/test-links.ts';
import { knownDifferences } from '../upstream/known-differences.ts';
import { knownIpvsDifferences } from '../vm/known-ipvs-differences.ts';

const docs = join(import.meta.dirname, '../../docs');
const besides = new Set(['../test/upstream/upstream.test.ts', '../test/vm/upstream.test.ts']);
/** Some of the iptables mode hold in ipvs mode too. */
const allKnown = [...new Set([...knownDifferences, ...knownIpvsDifferences])];

const rows = readFileSync(join(docs, 'differences.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| what '))
  .map((line) => line.slice(2, -2).split(' | '));

describe('docs/differences.md', () => {
  it('has the rows that are known, and no others', () => {
    const names = rows.map(([what = '']) => what);
    expect(allKnown.map(({ row }) => row).toSorted()).toEqual(names.toSorted());
  });

  it.each(rows)('%s: both sides, the reason and the test are there', (...cells) => {
    expect(cells).toHaveLength(5);
    const links = linksOf(cells.at(-1) ?? '');
    for (const { file, title } of links) {
      const titles = titlesOf(readFileSync(join(docs, file), 'utf8'));
      expect(
        titles.filter((each) => each === title),
        `${title}: a test of ${file}, and one only`,
      ).toHaveLength(1);
    }
    const known = allKnown.find(({ row }) => row === cells[0]);
    const isVisible = typeof known?.shows !== 'string';
    expect(links.some(({ file }) => besides.has(file))).toBe(isVisible);
  });
});

describe('titles are found', () => {
  it.each([
    ["it('is', () => {", ['is']],
    ["  test.skip('is', async () => {", ['is']],
    ["it.each([\n  [1, ')'],\n])('is %i', (n) => {", ['is %i']],
    [
      "describe.skipIf(!able).each(['nft'] as const)(\n  `is, ${name}`,\n  (variant) => {",
      ['is, ${name}'],
    ],
    ["suite.test(\n  'an-id',\n  'is',\n  async () => {", ['is']],
    ["it('is', { timeout: hours }, async () => {", ['is']],
    ["// it('is', () => {", []],
    ["const title = 'is';", []],
    ["expect(lines).toContain('is', () => {", []],
    ["stream.on('is', () => {", []],
  ])('%j', (source, titles) => {
    expect(titlesOf(source)).toEqual(titles);
  });
});
