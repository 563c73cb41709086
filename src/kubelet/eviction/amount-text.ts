import { quantityOf, wholeUnits } from '../pod/quantity.ts';

const binary = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const decimal = ['', 'k', 'M', 'G', 'T', 'P', 'E'];

/** Bytes as Kubernetes writes them, exact: `100Mi`, `12671572Ki`, `7`. */
export function bytesText(bytes: number): string {
  return scaled(BigInt(Math.trunc(bytes)), 1024n, binary);
}

/** Pieces: `12k`, `1234`. */
export function piecesText(pieces: number): string {
  return scaled(BigInt(Math.trunc(pieces)), 1000n, decimal);
}

/** The sum of quantities of bytes; in the form of the first. */
export function sumText(quantities: readonly string[]): string {
  const [first = '0'] = quantities;
  if (quantities.length === 1) return first;
  const all = quantities.reduce((sum, text) => sum + quantityOf(text), 0n);
  const isBinary = first.endsWith('i') || !/^\d+$/.test(first);
  return scaled(wholeUnits(all), isBinary ? 1024n : 1000n, isBinary ? binary : decimal);
}

function scaled(amount: bigint, step: bigint, suffixes: readonly string[]): string {
  let [rest, place] = [amount, 0];
  while (rest !== 0n && rest % step === 0n && place < suffixes.length - 1) {
    rest /= step;
    place += 1;
  }
  return `${rest}${suffixes[place] ?? ''}`;
}
