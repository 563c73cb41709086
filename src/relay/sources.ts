import { addressBytes } from '../ip/address.ts';
import type { Address } from '../ip/address.ts';
import { cidrAddress, prefixLength } from '../ip/cidr.ts';
import type { Cidr } from '../ip/cidr.ts';

/** Whether an address is one of some clients. */
export type SourceTest = (address: Address) => boolean;

interface Prefix {
  readonly network: bigint;
  readonly shift: bigint;
}

/** Prefixes made ready for a question a connection. undefined: everybody. */
export function sourceTest(sources: readonly Cidr[] | undefined): SourceTest {
  if (sources === undefined) return () => true;
  const byLength = new Map<number, readonly Prefix[]>();
  for (const cidr of sources) {
    const bytes = addressBytes(cidrAddress(cidr));
    const shift = BigInt(8 * bytes.length - prefixLength(cidr));
    const prefix = { network: numberOf(bytes) >> shift, shift };
    byLength.set(bytes.length, [...(byLength.get(bytes.length) ?? []), prefix]);
  }
  return (address) => {
    const bytes = addressBytes(address);
    const number = numberOf(bytes);
    const prefixes = byLength.get(bytes.length) ?? [];
    return prefixes.some(({ network, shift }) => number >> shift === network);
  };
}

function numberOf(bytes: Uint8Array): bigint {
  return bytes.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n);
}
