import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

/** docs/kubelet-scenarios.md names what there is: every scenario, each with a test of that title, and every scenario of the contract. */

const root = join(import.meta.dirname, '../../..');
const count = 134;

interface Row {
  readonly number: number;
  readonly file: string;
  readonly test: string;
}

function rows(): readonly Row[] {
  const lines = readFileSync(join(root, 'docs/kubelet-scenarios.md'), 'utf8').split('\n');
  return lines.flatMap((line) => {
    const cells = line.split('|').map((cell) => cell.trim());
    const [, number = '', , file = '', test = ''] = cells;
    return /^\d+$/.test(number) ? [{ number: Number(number), file, test }] : [];
  });
}

const contractFolder = 'test/kubelet/contract';

/** `17: title`, of all that the contract has. */
function contractScenarios(): readonly string[] {
  const files = readdirSync(join(root, contractFolder));
  return files.flatMap((file) => {
    const text = readFileSync(join(root, contractFolder, file), 'utf8');
    const found = text.matchAll(/number: (?<number>\d+),\s+title:\s+'(?<title>[^']+)'/g);
    return [...found].map(({ groups }) => `${groups?.['number']}: ${groups?.['title']}, ${file}`);
  });
}

function source(file: string): string {
  return readFileSync(join(root, 'test', file), 'utf8');
}

describe('the table of the scenarios', () => {
  const all = rows();

  it('has each number once, in order', () => {
    const numbers = Array.from({ length: count }, (_, index) => index + 1);
    expect(all.map(({ number }) => number)).toEqual(numbers);
  });

  it('has the contract’s scenarios as they are there', () => {
    const named = all.filter(({ file }) => file.startsWith('contract/'));
    const told = named.map(({ number, test, file }) => `${number}: ${test}, ${file.slice(9)}`);
    expect(told.toSorted()).toEqual(contractScenarios().toSorted());
  });

  it('names tests that exist, or says why there is none yet', () => {
    const others = all.filter(({ file }) => !file.startsWith('contract/'));
    const missing = others.filter(({ file, test }) =>
      file === '–' ? !test.startsWith('not yet: ') : !source(file).includes(`'${test}'`),
    );
    expect(missing).toEqual([]);
  });
});
