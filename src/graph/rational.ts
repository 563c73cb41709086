/** An exact fraction in lowest terms with a positive denominator. Probabilities are never floats. */
export interface Rational {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

export const zero: Rational = { numerator: 0n, denominator: 1n };
export const one: Rational = { numerator: 1n, denominator: 1n };

/** `numerator / denominator` in lowest terms; a denominator of zero is a RangeError. */
export function rational(numerator: bigint | number, denominator: bigint | number = 1n): Rational {
  const [top, bottom] = [BigInt(numerator), BigInt(denominator)];
  if (bottom === 0n) throw new RangeError('a fraction needs a denominator other than 0');
  const divisor =
    greatestCommonDivisor(magnitude(top), magnitude(bottom)) * (bottom < 0n ? -1n : 1n);
  return { numerator: top / divisor, denominator: bottom / divisor };
}

export function add(a: Rational, b: Rational): Rational {
  return rational(
    a.numerator * b.denominator + b.numerator * a.denominator,
    a.denominator * b.denominator,
  );
}

export function subtract(a: Rational, b: Rational): Rational {
  return add(a, { numerator: -b.numerator, denominator: b.denominator });
}

export function multiply(a: Rational, b: Rational): Rational {
  return rational(a.numerator * b.numerator, a.denominator * b.denominator);
}

/** Negative, zero or positive, as sort functions expect. */
export function compare(a: Rational, b: Rational): number {
  const difference = a.numerator * b.denominator - b.numerator * a.denominator;
  return difference < 0n ? -1 : Number(difference > 0n);
}

export function sum(terms: Iterable<Rational>): Rational {
  let total = zero;
  for (const term of terms) total = add(total, term);
  return total;
}

/** The nearest float, for comparisons with a tolerance and for display. */
export function toNumber(value: Rational): number {
  return Number(value.numerator) / Number(value.denominator);
}

/** `1/3`, or `1` for whole numbers. */
export function toFraction(value: Rational): string {
  return value.denominator === 1n
    ? String(value.numerator)
    : `${value.numerator}/${value.denominator}`;
}

/** `33.33 %`, rounded to hundredths; without decimals where it is whole (`25 %`). */
export function toPercent(value: Rational): string {
  const hundredths = (value.numerator * 20_000n + value.denominator) / (value.denominator * 2n);
  const [whole, rest] = [hundredths / 100n, hundredths % 100n];
  return rest === 0n ? `${whole} %` : `${whole}.${String(rest).padStart(2, '0')} %`;
}

function magnitude(value: bigint): bigint {
  return value < 0n ? -value : value;
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x === 0n ? 1n : x;
}
