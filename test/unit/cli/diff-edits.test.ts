import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ComparedPart } from '../../../src/backends/compared.ts';
import { differencesOf, editedParts } from '../../../src/cli/diff/differences.ts';
import { edits } from '../../../src/cli/diff/edits.ts';
import { listText } from '../../../src/cli/diff/list-text.ts';
import { patchText } from '../../../src/cli/diff/patch-text.ts';

const line = (text: string, object?: string) => ({ text, object });
const lines = (texts: readonly string[]) => texts.map((text) => line(text));
const texts = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 12 });

/** Job: what is told to differ is just what differs, and the patch leads from the one to the other. */
describe('the edits from what is there to what is wanted', () => {
  it('give both sides back, and keep what is common', () => {
    fc.assert(
      fc.property(texts, texts, (found, wanted) => {
        const list = edits(lines(found), lines(wanted));
        const side = (other: string): readonly string[] =>
          list.filter(({ kind }) => kind !== other).map((each) => each.line.text);
        expect(side('missing')).toEqual(found);
        expect(side('unexpected')).toEqual(wanted);
        const isSame = list.every(({ kind }) => kind === 'same');
        expect(isSame).toBe(found.join(' ') === wanted.join(' '));
      }),
    );
  });

  it('do not compare long lists in all ways', () => {
    const found = Array.from({ length: 3000 }, (_, i) => line(`found ${i}`));
    const wanted = Array.from({ length: 3000 }, (_, i) => line(`wanted ${i}`));
    const list = edits([...found, line('both')], [line('both'), ...wanted]);
    expect(list.filter(({ kind }) => kind === 'same').map((each) => each.line.text)).toEqual([
      'both',
    ]);
    expect(list).toHaveLength(6001);
  });

  it('see what is in another order, in long lists too', () => {
    const many = Array.from({ length: 2500 }, (_, i) => (i % 7 === 0 ? 'often' : `rule ${i}`));
    const wanted = [...many, 'the last one'];
    const found = ['the last one', ...many.slice(0, 1000), 'strange', ...many.slice(1001)];
    const list = edits(lines(found), lines(wanted));
    const side = (other: string): readonly string[] =>
      list.filter(({ kind }) => kind !== other).map((each) => each.line.text);
    expect(side('missing')).toEqual(found);
    expect(side('unexpected')).toEqual(wanted);
    expect(list.filter(({ kind }) => kind !== 'same').map((each) => each.line.text)).toEqual([
      'the last one',
      'strange',
      'rule 1000',
      'the last one',
    ]);
  });
});

const parts: readonly ComparedPart[] = [
  {
    name: 'nat',
    sections: [
      {
        name: 'chain A',
        wanted: [
          line('-A A 1'),
          line('-A A 2', 'default/web:http'),
          line('-A A 3'),
          line('-A A 4'),
        ],
        found: [line('-A A 1'), line('-A A two'), line('-A A 3'), line('-A A 4'), line('-A A 5')],
      },
      {
        name: 'chain B',
        wanted: [line('-A B 1', 'default/b:x'), line('-A B 2')],
        found: undefined,
      },
      { name: 'chain C', wanted: undefined, found: [] },
    ],
  },
];

describe('differences', () => {
  const edited = editedParts(parts);

  it('are missing, unexpected or different, with what they are for', () => {
    expect(listText('IPv4', differencesOf(edited))).toBe(`IPv4: 4 differences
  nat
    different   default/web:http  -A A 2
    there is                      -A A two
    unexpected  -                 -A A 5
    missing     default/b:x       chain B (2 lines)
    unexpected  -                 chain C (0 lines)
`);
  });

  it('are none where all is as wanted', () => {
    const same = editedParts([
      { name: 'nat', sections: [{ name: 'chain A', wanted: [line('x')], found: [line('x')] }] },
    ]);
    expect(listText('IPv4', differencesOf(same))).toBe('IPv4: as wanted\n');
    expect(patchText('ipv4', same)).toBe('');
  });

  it('make a patch', () => {
    expect(patchText('ipv4', edited)).toBe(`--- kernel/ipv4/nat
+++ wanted/ipv4/nat
@@ -1,7 +1,8 @@
 # chain A
 -A A 1
--A A two
+-A A 2
 -A A 3
 -A A 4
--A A 5
+# chain B
+-A B 1
+-A B 2
-# chain C
`);
  });
});
