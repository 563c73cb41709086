// docs/mode-switches.md says for each kind of traffic and each direction what becomes of it, and each line has a test.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { linksOf, titlesOf } from '../support/test-links.ts';

const docs = join(import.meta.dirname, '../../docs');
const page = readFileSync(join(docs, 'mode-switches.md'), 'utf8');
const rows = page
  .split('\n')
  .filter((line) => /^\| .*\[packets\]/.test(line))
  .map((line) => line.slice(2, -2).split(' | '));
const kinds = [
  'TCP to a cluster IP from a pod',
  'UDP to a cluster IP from a pod',
  'TCP to a cluster IP from the node',
  'UDP to a cluster IP from the node',
  'TCP to a node port from outside',
  'UDP to a node port from outside',
  'TCP over IPv6',
  'long-lived TCP, over several switches',
  'new connections during the switch',
  'new connections of the node itself',
  "a port of a bound address that is no service's",
  'ClientIP affinity',
];

const titles = (file: string): readonly string[] =>
  titlesOf(readFileSync(join(docs, file), 'utf8'));

describe('docs/mode-switches.md', () => {
  it('has a line for each kind of traffic', () => {
    expect(rows.map(([kind]) => kind)).toEqual(kinds);
  });

  it.each(rows)('%s: four directions, and a test that is there', (...cells) => {
    expect(cells).toHaveLength(6);
    for (const { file, title } of linksOf(cells.at(-1) ?? '')) {
      expect(
        titles(file).filter((each) => each === title),
        title,
      ).toHaveLength(1);
    }
  });

  it('names tests that are there beside the table, too', () => {
    const named = [...page.matchAll(/\[test\]\((\S+) "([^"]+)"\)/g)];
    expect(named).toHaveLength(3);
    for (const [, file = '', title = ''] of named) expect(titles(file)).toContain(title);
  });
});
