// Quantities: exact, rounded up as Kubernetes does.
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  inUnitsOf,
  milliUnits,
  parseQuantity,
  quantityText,
  wholeUnits,
} from '../../../../src/kubelet/pod/quantity.ts';

const one = 1_000_000_000n;

test.for([
  ['0', 0n],
  ['1', one],
  ['100m', one / 10n],
  ['1.5', (one * 3n) / 2n],
  ['.5', one / 2n],
  ['64Mi', one * 64n * 1024n * 1024n],
  ['1.5Gi', (one * 3n * 1024n ** 3n) / 2n],
  ['2k', one * 2000n],
  ['1E', one * 10n ** 18n],
  ['1e3', one * 1000n],
  ['1E-2', one / 100n],
  ['5u', 5000n],
  ['1n', 1n],
  ['0.1n', 1n],
  ['-2', -2n * one],
  ['9007199254740993', 9_007_199_254_740_993n * one],
] as const)('%s', ([text, size]) => {
  expect(parseQuantity(text)).toBe(size);
});

test.for(['', 'Mi', '1 Mi', '1mi', '1KB', '--1', '1e', '1e99', 'e3', '.', '1.2.3', '1Kii'])(
  '%j is no quantity',
  (text) => {
    expect(parseQuantity(text)).toBeUndefined();
  },
);

test('parts of a unit count as a whole one', () => {
  expect(wholeUnits(parseQuantity('100m') ?? 0n)).toBe(1n);
  expect(milliUnits(parseQuantity('1500u') ?? 0n)).toBe(2n);
  expect(inUnitsOf(parseQuantity('1025Ki') ?? 0n, parseQuantity('1Mi') ?? 0n)).toBe(2n);
  expect(inUnitsOf(parseQuantity('3') ?? 0n, 0n)).toBe(3n);
});

test('what is written is read as the same', () => {
  fc.assert(
    fc.property(fc.bigInt(0n, 10n ** 30n), (size) => {
      expect(parseQuantity(quantityText(size))).toBe(size);
    }),
  );
});
