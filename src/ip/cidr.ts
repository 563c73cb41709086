import { addressBytes, familyOf, formatAddress, parseAddress } from './address.ts';
import type { Address, Family } from './address.ts';

/** A prefix in canonical text, host bits masked off: `10.0.0.0/8`, `fd00::/64`. */
export type Cidr = string & { readonly __brand: 'Cidr' };

/** Reads `address/length`, masks host bits off; undefined where it is no prefix. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.lastIndexOf('/');
  if (slash < 0 || !/^\d{1,3}$/.test(text.slice(slash + 1))) return undefined;
  const address = parseAddress(text.slice(0, slash));
  if (address === undefined) return undefined;
  const bytes = addressBytes(address);
  const length = Number(text.slice(slash + 1));
  return length <= bytes.length * 8 ? cidrOf(bytes, length) : undefined;
}

/** The prefix of `length` bits that holds the given address bytes. */
export function cidrOf(bytes: Uint8Array, length: number): Cidr {
  const masked = bytes.map((byte, i) => byte & maskByte(length, i));
  return `${formatAddress(masked)}/${length}` as Cidr;
}

export function cidrFamily(cidr: Cidr): Family {
  return cidr.includes(':') ? 'ipv6' : 'ipv4';
}

export function prefixLength(cidr: Cidr): number {
  return Number(cidr.slice(cidr.lastIndexOf('/') + 1));
}

/** The first address of the prefix. */
export function cidrAddress(cidr: Cidr): Address {
  return cidr.slice(0, cidr.lastIndexOf('/')) as Address;
}

export function cidrContains(cidr: Cidr, address: Address): boolean {
  if (cidrFamily(cidr) !== familyOf(address)) return false;
  const length = prefixLength(cidr);
  const network = addressBytes(cidrAddress(cidr));
  return addressBytes(address).every(
    (byte, i) => (byte & maskByte(length, i)) === (network[i] ?? 0),
  );
}

function maskByte(length: number, index: number): number {
  const bits = Math.min(8, Math.max(0, length - 8 * index));
  return (0xff << (8 - bits)) & 0xff;
}
