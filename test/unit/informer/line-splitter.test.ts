import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { LineSplitter } from '../../../src/informer/line-splitter.ts';

test('lines come out whole, wherever the bytes were cut', () => {
  const line = fc
    .string({ unit: 'grapheme', minLength: 1 })
    .map((text) => text.replaceAll(/[\r\n]/g, '').trim())
    .filter((text) => text !== '');
  const cuts = fc.array(fc.nat(40), { minLength: 1 });
  fc.assert(
    fc.property(fc.array(line), cuts, (lines, sizes) => {
      const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''));
      const splitter = new LineSplitter();
      const seen: string[] = [];
      for (let at = 0, turn = 0; at < bytes.length; turn++) {
        const size = (sizes[turn % sizes.length] ?? 0) + 1;
        seen.push(...splitter.push(bytes.subarray(at, at + size)));
        at += size;
      }
      expect(seen).toEqual(lines);
    }),
  );
});

test('empty lines and carriage returns are left out, and an unfinished line waits', () => {
  const splitter = new LineSplitter();
  expect(splitter.push(Buffer.from('a\r\n\n\r\nb'))).toEqual(['a']);
  expect(splitter.push(Buffer.from('c\n'))).toEqual(['bc']);
});
