import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KeyedTable } from '../../../src/backends/keyed-table.ts';

// A map of which each version stays as it was: what it holds, what it shares, what it finds different.

type Changes = readonly (readonly [string, number | undefined])[];

const changes: fc.Arbitrary<Changes> = fc.array(
  fc.tuple(
    fc.integer({ min: 0, max: 400 }).map((n) => `10.96.${n % 7}.${n},tcp:80`),
    fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
  ),
  { maxLength: 60 },
);

function applied(to: ReadonlyMap<string, number>, all: Changes): Map<string, number> {
  const map = new Map(to);
  for (const [key, item] of all) {
    if (item === undefined) map.delete(key);
    else map.set(key, item);
  }
  return map;
}

describe('a keyed table', () => {
  it('holds what a map would hold after the same changes, and leaves earlier versions alone', () => {
    fc.assert(
      fc.property(fc.array(changes, { maxLength: 8 }), (steps) => {
        let [table, map] = [new KeyedTable<string, number>(), new Map<string, number>()];
        for (const step of steps) {
          const [oldTable, oldMap] = [table, map];
          table = table.with(new Map(step));
          map = applied(map, step);
          expect(new Map(table)).toEqual(map);
          expect(table.size).toBe(map.size);
          expect(new Map(oldTable)).toEqual(oldMap);
          for (const [key] of step) {
            expect(table.get(key)).toBe(map.get(key));
            expect(table.has(key)).toBe(map.has(key));
          }
          expect(applied(oldMap, [...table.changesFrom(oldTable)])).toEqual(map);
        }
      }),
    );
  });

  it('is in the same order however its items came', () => {
    fc.assert(
      fc.property(changes, changes, (first, second) => {
        const map = applied(applied(new Map(), first), second);
        const inSteps = new KeyedTable<string, number>().with(new Map(first)).with(new Map(second));
        const atOnce = new KeyedTable<string, number>().with(map);
        expect([...inSteps]).toEqual([...atOnce]);
      }),
    );
  });

  it('names what differs and nothing else', () => {
    const many = new Map(Array.from({ length: 30_000 }, (_, n) => [`10.${n >> 8}.0.${n}`, n]));
    const before = new KeyedTable<string, number>().with(many);
    const after = before.with(
      new Map<string, number | undefined>([
        ['10.0.0.7', undefined],
        ['10.0.0.8', 80],
        ['new', 1],
        ['10.0.0.9', 9], // as it was
      ]),
    );
    expect(new Map(after.changesFrom(before))).toEqual(
      new Map<string, number | undefined>([
        ['10.0.0.7', undefined],
        ['10.0.0.8', 80],
        ['new', 1],
      ]),
    );
  });

  it('is the table itself where nothing changed', () => {
    const table = new KeyedTable<string, number>().with(new Map([['a', 1]]));
    expect(table.with(new Map([['a', 1]]))).toBe(table);
    expect(table.with(new Map([['b', undefined]]))).toBe(table);
  });
});
