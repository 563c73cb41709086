import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as rationals from '../../../src/graph/rational.ts';

const {
  add,
  compare,
  multiply,
  one,
  rational,
  subtract,
  sum,
  toFraction,
  toNumber,
  toPercent,
  zero,
} = rationals;
const anyRational = fc
  .tuple(fc.bigInt({ min: -1000n, max: 1000n }), fc.bigInt({ min: 1n, max: 1000n }))
  .map(([top, bottom]) => rational(top, bottom));

describe('a rational', () => {
  it.each([
    [2, 4, '1/2'],
    [3, -9, '-1/3'],
    [6, 3, '2'],
    [0, 7, '0'],
  ])('of %i and %i is in lowest terms: %s', (top, bottom, text) => {
    expect(toFraction(rational(top, bottom))).toBe(text);
  });

  it.each([
    [1, 3, '33.33 %'],
    [2, 3, '66.67 %'],
    [1, 4, '25 %'],
    [1, 16, '6.25 %'],
    [1, 1, '100 %'],
    [1, 100_000, '0 %'],
  ])('of %i and %i is %s', (top, bottom, text) => {
    expect(toPercent(rational(top, bottom))).toBe(text);
  });

  it('has no denominator of 0', () => {
    expect(() => rational(1, 0)).toThrow(RangeError);
  });

  it('adds n shares of 1/n up to exactly 1', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), (count) => {
        expect(sum(Array.from({ length: count }, () => rational(1, count)))).toEqual(one);
      }),
    );
  });

  it('obeys the laws of arithmetic', () => {
    fc.assert(
      fc.property(anyRational, anyRational, anyRational, (a, b, c) => {
        expect(multiply(a, add(b, c))).toEqual(add(multiply(a, b), multiply(a, c)));
        expect(subtract(add(a, b), b)).toEqual(a);
        expect(compare(a, b)).toBe(Math.sign(toNumber(subtract(a, b))));
        expect(add(a, zero)).toEqual(a);
      }),
    );
  });
});
