import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { findRefused } from '../../../../src/backends/iptables/bisect.ts';

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

function refusing(bad: ReadonlySet<number>, namesCulprit: boolean) {
  const groups: (readonly number[])[] = [];
  const attempt = (group: readonly number[]) => {
    groups.push(group);
    const culprit = group.find((item) => bad.has(item));
    if (culprit === undefined) return Promise.resolve(undefined);
    return Promise.resolve({ words: 'no', culprit: namesCulprit ? culprit : undefined });
  };
  return { groups, attempt };
}

/** Refuses 5, and names the first of the group. */
function blamesTheFirst(group: readonly number[]) {
  return Promise.resolve(group.includes(5) ? { words: 'no', culprit: group[0] } : undefined);
}

describe('finding what is refused', () => {
  it('finds exactly the bad ones, whether or not the tool names them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 200 }),
        fc.uniqueArray(fc.integer({ min: 0, max: 199 }), { maxLength: 8 }),
        fc.boolean(),
        async (count, bad, namesCulprit) => {
          const { attempt } = refusing(new Set(bad), namesCulprit);
          const found = await findRefused(numbers(count), attempt, 1000);
          const expected = bad.filter((item) => item < count).toSorted((a, b) => a - b);
          expect(found.map(({ item }) => item).toSorted((a, b) => a - b)).toEqual(expected);
        },
      ),
    );
  });

  it('needs about two attempts a halving for one bad item among many', async () => {
    const { groups, attempt } = refusing(new Set([777]), false);
    await findRefused(numbers(1024), attempt, 1000);
    expect(groups.length).toBeLessThanOrEqual(2 * 10 + 1);
  });

  it('needs three attempts where the tool names the one culprit', async () => {
    const { groups, attempt } = refusing(new Set([777]), true);
    await findRefused(numbers(1024), attempt, 1000);
    expect(groups).toHaveLength(3);
  });

  it('does not believe a tool that names an innocent', async () => {
    const found = await findRefused(numbers(16), blamesTheFirst, 1000);
    expect(found).toEqual([{ item: 5, words: 'no' }]);
  });

  it('stops at the cap, and lets nothing pass that was not tried', async () => {
    const bad = new Set(numbers(64).filter((item) => item % 2 === 0));
    const { groups, attempt } = refusing(bad, false);
    const found = await findRefused(numbers(64), attempt, 10);
    expect(groups).toHaveLength(10);
    const items = new Set(found.map(({ item }) => item));
    expect([...bad].filter((item) => !items.has(item))).toEqual([]);
    expect(found.at(-1)?.words).toMatch(/10 attempts/);
  });

  it('tries nothing where there is nothing', async () => {
    const { groups, attempt } = refusing(new Set(), false);
    expect(await findRefused([], attempt, 10)).toEqual([]);
    expect(groups).toEqual([]);
  });
});
