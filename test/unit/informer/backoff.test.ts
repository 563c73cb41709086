import { expect, test } from 'vitest';

import { Backoff } from '../../../src/informer/backoff.ts';

function delays(random: number, count: number): number[] {
  const backoff = new Backoff(() => random);
  return Array.from({ length: count }, () => backoff.nextMs());
}

test.each([
  ['least', 0, [800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000]],
  ['most', 0.999_999, [1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]],
])('delays double from 0.8 s to 30 s: %s jitter', (_name, random, expected) => {
  expect(delays(random, 7)).toEqual(expected);
});

test('it stays at its longest, however often one tries', () => {
  expect(delays(0.999_999, 2_000).at(-1)).toBe(30_000);
});

test('after a reset the first delay comes again', () => {
  const backoff = new Backoff(() => 0);
  backoff.nextMs();
  backoff.nextMs();
  backoff.reset();
  expect(backoff.nextMs()).toBe(800);
});
