/** `$(NAME)` in variables, commands and subPathExpr. */
import * as fc from 'fast-check';
import { expect, it, test } from 'vitest';

import { expand, expandStrictly } from '../../../../src/kubelet/environment/expand.ts';

const variables: Readonly<Record<string, string>> = { A: '1', B: '$(A)', EMPTY: '' };
const lookup = (name: string): string | undefined =>
  Object.hasOwn(variables, name) ? variables[name] : undefined;

it.each([
  ['$(A)', '1'],
  ['x$(A)y$(A)', 'x1y1'],
  ['$(EMPTY)', ''],
  ['$(NONE)', '$(NONE)'],
  ['$$(A)', '$(A)'],
  ['$$$(A)', '$1'],
  ['$$$$(A)', '$$(A)'],
  ['$(A', '$(A'],
  ['$(A)$$(A', '1$(A'],
  ['$A ${A} $', '$A ${A} $'],
  ['$()', '$()'],
  ['$(constructor)', '$(constructor)'],
  // once: what comes out is not read again
  ['$(B)', '$(A)'],
])('%s is %s', (text, expanded) => {
  expect(expand(text, lookup)).toBe(expanded);
});

test('half a million that are not closed stay as they are, however long that would take from each to the end', () => {
  const text = '$('.repeat(500_000);
  expect(expand(`$(A)$$${text}`, lookup)).toBe(`1$${text}`);
});

test('text without a dollar stays, and a doubled one stays a single one', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const plain = text.replaceAll('$', '');
      expect(expand(plain, lookup)).toBe(plain);
      expect(expand(text.replaceAll('$', '$$$$'), lookup)).toBe(text);
    }),
  );
});

test('strictly, the first variable that is missing is told', () => {
  expect(expandStrictly('$(A)/$(X)/$(Y)', lookup)).toEqual({ missing: 'X' });
  expect(expandStrictly('$(A)/$$(X)', lookup)).toEqual({ text: '1/$(X)' });
});

test('variables that each name the one before twice end at what the kernel takes', () => {
  const values = new Map([['v0', 'x'.repeat(1000)]]);
  const grow = (): void => {
    for (let index = 1; index < 60; index++) {
      const before = `$(v${index - 1})`;
      values.set(
        `v${index}`,
        expand(before + before, (name) => values.get(name)),
      );
    }
  };
  expect(grow).toThrow(/"\$\(v7\)\$\(v7\)" is longer than the 131072 bytes/);
  expect(values.get('v7')).toHaveLength(128_000);
});
