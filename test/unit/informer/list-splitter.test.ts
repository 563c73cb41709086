import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { ListSplitter } from '../../../src/informer/list-splitter.ts';

function split(bytes: Buffer, cuts: readonly number[]): { items: unknown[]; around: unknown } {
  const items: unknown[] = [];
  const splitter = new ListSplitter((item) => items.push(item));
  let start = 0;
  for (const cut of [...cuts.toSorted((a, b) => a - b), bytes.length]) {
    splitter.push(bytes.subarray(start, cut));
    start = cut;
  }
  return { items, around: splitter.end() };
}

const anyObject = fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue());

test('the items and what is around them are those of JSON.parse, wherever the bytes are cut', () => {
  const lists = fc.record({
    metadata: anyObject,
    items: fc.array(anyObject),
    kind: fc.constantFrom('items', '"items":[', 'ünicode\\'),
    after: fc.jsonValue(),
  });
  fc.assert(
    fc.property(lists, fc.nat(4), fc.array(fc.nat()), (list, indent, places) => {
      const bytes = Buffer.from(JSON.stringify(list, null, indent));
      const cuts = places.map((place) => place % (bytes.length + 1));
      const whole = JSON.parse(bytes.toString()) as typeof list;
      expect(split(bytes, cuts)).toEqual({ items: whole.items, around: { ...whole, items: [] } });
    }),
  );
});

test('a list that comes byte by byte is the same', () => {
  const list = { items: [{ a: '\\"}{"\\', ü: ['日本', { b: {} }] }, {}], metadata: { x: '"' } };
  const bytes = Buffer.from(JSON.stringify(list));
  const everywhere = Array.from(bytes, (_byte, index) => index);
  expect(split(bytes, everywhere)).toEqual({ items: list.items, around: { ...list, items: [] } });
});

test.each(['{"items":null}', '{"items":[ ]}', '{"other":[{"items":[1]}]}', '[1]', 'null'])(
  '%s has no items',
  (text) => expect(split(Buffer.from(text), [])).toEqual({ items: [], around: JSON.parse(text) }),
);

test.each(['', '<html>{', '{"items":[{"a":1}', '{"items":[{"a":1}]', '{"items":[{"a":}]}'])(
  '%s is no JSON',
  (text) => expect(() => split(Buffer.from(text), [])).toThrow(SyntaxError),
);

test.each(['{"items":[null]}', '{"items":["{}"]}', '{"items":[{},7]}', '{"items":[[{}]]}'])(
  '%s is refused',
  (text) => expect(() => split(Buffer.from(text), [])).toThrow('a list of what is no object'),
);

test.each([
  ['an object', '{"items":[{"a":"'],
  ['the text before the objects', '{"metadata":{"continue":"'],
  ['what is no JSON', '<html>'],
])('%s without an end is given up before it fills the memory', (_what, start) => {
  const splitter = new ListSplitter(() => undefined);
  splitter.push(Buffer.from(start));
  const chunk = Buffer.alloc(64 * 1024, 'x');
  const fill = (): void => {
    for (let bytes = 0; bytes < 32 * 1024 * 1024; bytes += chunk.length) splitter.push(chunk);
  };
  expect(fill).toThrow('a part of it has no end');
});

test('objects may be as large as etcd takes them, and as many as there are', () => {
  let bytes = 0;
  const splitter = new ListSplitter((item) => (bytes += (item as { a: string }).a.length));
  splitter.push(Buffer.from('{"items":['));
  const object = `{"a":"${'x'.repeat(1_500_000)}"}`;
  for (let count = 0; count < 20; count++) splitter.push(Buffer.from(`${object},`));
  splitter.push(Buffer.from(`${object}]}`));
  expect(splitter.end()).toEqual({ items: [] });
  expect(bytes).toBe(21 * 1_500_000);
});
