/** A quantity in billionths, exact: `1` is 1_000_000_000n, `100m` is 100_000_000n. */
export type Quantity = bigint;

/** How many billionths one of a unit has. */
const ONE: Quantity = 1_000_000_000n;

const decimal: Readonly<Record<string, Quantity>> = {
  n: 1n,
  u: 1000n,
  m: 1_000_000n,
  '': ONE,
  k: ONE * 1000n,
  M: ONE * 1000n ** 2n,
  G: ONE * 1000n ** 3n,
  T: ONE * 1000n ** 4n,
  P: ONE * 1000n ** 5n,
  E: ONE * 1000n ** 6n,
};
const binary: Readonly<Record<string, Quantity>> = {
  Ki: ONE << 10n,
  Mi: ONE << 20n,
  Gi: ONE << 30n,
  Ti: ONE << 40n,
  Pi: ONE << 50n,
  Ei: ONE << 60n,
};
/** More says nothing but that somebody wants to see how long it takes. */
const MOST_EXPONENT = 30;
const form = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+)|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?)$/;

/**
 * Reads `100m`, `64Mi`, `1.5`, `2e3`; what is smaller than a billionth is rounded up, as in Kubernetes. undefined where it is
 * no quantity.
 */
export function parseQuantity(text: string): Quantity | undefined {
  const [, sign, whole = '', fraction = '', exponent, suffix = ''] = form.exec(text) ?? [];
  if (sign === undefined || whole + fraction === '') return undefined;
  const power = Number(exponent ?? '0');
  if (Math.abs(power) > MOST_EXPONENT) return undefined;
  const unit = decimal[suffix] ?? binary[suffix] ?? ONE;
  const over = BigInt(whole + fraction) * unit * 10n ** BigInt(Math.max(0, power));
  const size = roundedUp(over, 10n ** BigInt(fraction.length + Math.max(0, -power)));
  return sign === '-' ? -size : size;
}

/** A quantity of an object that has been validated: what is none counts as nothing. */
export function quantityOf(text: string | undefined): Quantity {
  return (text === undefined ? undefined : parseQuantity(text)) ?? 0n;
}

/** In whole units (bytes, cores, pieces), rounded up. */
export function wholeUnits(quantity: Quantity): bigint {
  return roundedUp(quantity, ONE);
}

/** In thousandths, rounded up: CPU is counted so. */
export function milliUnits(quantity: Quantity): bigint {
  return roundedUp(quantity, 1_000_000n);
}

/** How many of `divisor` it takes: as the downward API has resources. */
export function inUnitsOf(quantity: Quantity, divisor: Quantity): bigint {
  return roundedUp(quantity, divisor <= 0n ? ONE : divisor);
}

/** The shortest decimal form that is exact: `2`, `1500m`. */
export function quantityText(quantity: Quantity): string {
  const units: readonly (readonly [string, Quantity])[] = [
    ['', ONE],
    ['m', 1_000_000n],
    ['u', 1000n],
  ];
  const [suffix, unit] = units.find(([, each]) => quantity % each === 0n) ?? ['n', 1n];
  return `${quantity / unit}${suffix}`;
}

/** Away from nothing for what is above it. */
function roundedUp(value: bigint, divisor: bigint): bigint {
  const quotient = value / divisor;
  return value % divisor > 0n ? quotient + 1n : quotient;
}
