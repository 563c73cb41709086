import { addressBytes, formatAddress } from '../../ip/address.ts';
import type { Address, Family } from '../../ip/address.ts';
import { cidrAddress, prefixLength } from '../../ip/cidr.ts';
import type { Cidr } from '../../ip/cidr.ts';
import type { Protocol } from '../../services/service-port.ts';
import { protocolText } from './chain-names.ts';

/**
 * A key of a dispatch tree, as hexadecimal digits: the address (none for node ports), one digit for
 * the protocol, four for the port. A prefix of it is an address prefix, then a port range.
 */
export type DispatchKey = string & { readonly __brand: 'DispatchKey' };

const protocols: readonly Protocol[] = ['TCP', 'UDP', 'SCTP'];

/** The key of a frontend; without an address that of a node port. */
export function dispatchKey(
  address: Address | undefined,
  protocol: Protocol,
  port: number,
): DispatchKey {
  const digits = address === undefined ? '' : addressDigits(address);
  return `${digits}${protocols.indexOf(protocol)}${port.toString(16).padStart(4, '0')}` as DispatchKey;
}

/** The key of a bare address, for trees that look at nothing else. */
export function addressKey(address: Address): DispatchKey {
  return addressDigits(address) as DispatchKey;
}

/** Which part of the packet the digits of a tree's keys are compared with. */
export interface KeyLayout {
  readonly family: Family;
  /** `-d`, `-s`, or undefined where the keys begin with the protocol. */
  readonly address: '-d' | '-s' | undefined;
}

/** The match for all packets whose key begins with the given digits; '' for the empty prefix. */
export function prefixMatch(prefix: string, { family, address }: KeyLayout): string {
  const digits = family === 'ipv4' ? 8 : 32;
  if (address === undefined) return portMatch(prefix);
  if (prefix === '') return '';
  const network = formatAddress(bytesOf(prefix.slice(0, digits).padEnd(digits, '0')));
  const length = 4 * Math.min(prefix.length, digits);
  const rest = portMatch(prefix.slice(digits));
  return `${address} ${network}/${length}${rest === '' ? '' : ` ${rest}`}`;
}

function portMatch(prefix: string): string {
  const protocol = protocols[Number(prefix.charAt(0))];
  if (prefix === '' || protocol === undefined) return '';
  const text = protocolText(protocol);
  const digits = prefix.slice(1);
  if (digits === '') return `-p ${text}`;
  const low = Number.parseInt(digits.padEnd(4, '0'), 16);
  const high = Number.parseInt(digits.padEnd(4, 'f'), 16);
  return `-p ${text} -m ${text} --dport ${low === high ? low : `${low}:${high}`}`;
}

/** A test whether the address of a key lies in a prefix of any length. */
export function prefixTest(cidr: Cidr): (key: DispatchKey) => boolean {
  const digits = addressDigits(cidrAddress(cidr));
  const length = prefixLength(cidr);
  const whole = digits.slice(0, length >> 2);
  const spare = 4 - (length & 3);
  if (spare === 4) return (key) => key.startsWith(whole);
  const last = Number.parseInt(digits.charAt(whole.length), 16) >> spare;
  return (key) =>
    key.startsWith(whole) && Number.parseInt(key.charAt(whole.length), 16) >> spare === last;
}

function addressDigits(address: Address): string {
  if (address.includes(':')) return Buffer.from(addressBytes(address)).toString('hex');
  let digits = '';
  for (const octet of address.split('.')) digits += octetDigits[Number(octet)] ?? '';
  return digits;
}

const octetDigits: readonly string[] = Array.from({ length: 256 }, (_, octet) =>
  octet.toString(16).padStart(2, '0'),
);

function bytesOf(digits: string): Uint8Array {
  return Uint8Array.from(Buffer.from(digits, 'hex'));
}
