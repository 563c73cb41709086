import { isIPv4, isIPv6 } from 'node:net';

/** An IP family. One pipeline (services → graph → backend) exists per family. */
export type Family = 'ipv4' | 'ipv6';

/** An IP address in canonical text: dotted decimal without leading zeros, or RFC 5952. */
export type Address = string & { readonly __brand: 'Address' };

/** `IPv4` / `IPv6`, as EndpointSlices, Service.ipFamilies and metric labels spell it. */
export function familyLabel(family: Family): 'IPv4' | 'IPv6' {
  return family === 'ipv4' ? 'IPv4' : 'IPv6';
}

export function familyOf(address: Address): Family {
  return address.includes(':') ? 'ipv6' : 'ipv4';
}

/** 127.0.0.0/8 and ::1. */
export function isLoopback(address: Address): boolean {
  return address === '::1' || address.startsWith('127.');
}

/** 0.0.0.0 and ::, which stand for no address. */
export function isUnspecified(address: Address): boolean {
  return address === '0.0.0.0' || address === '::';
}

/** 224.0.0.0/4 and ff00::/8 (RFC 5771, RFC 4291): groups, no node's own. */
export function isMulticast(address: Address): boolean {
  return /^(?:22[4-9]|23\d)\.|^ff/.test(address);
}

/** fe80::/10: such an address means nothing without an interface. */
export function isLinkLocal(address: Address): boolean {
  return /^fe[89ab]/.test(address);
}

/**
 * Reads an address leniently, as upstream does: leading zeros in IPv4 octets are decimal
 * (`10.0.0.041` is `10.0.0.41`), an IPv4-mapped IPv6 address is IPv4.
 * Anything else that is no address gives undefined; zones are refused.
 */
export function parseAddress(text: string): Address | undefined {
  const v4 = parseV4(text);
  if (v4) return v4;
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const bytes = v6Bytes(text);
  return formatAddress(isMapped(bytes) ? bytes.subarray(12) : bytes);
}

/** The 4 or 16 bytes of an address, most significant first. */
export function addressBytes(address: Address): Uint8Array {
  return address.includes(':') ? v6Bytes(address) : v4Bytes(address);
}

/** Canonical text of 4 or 16 bytes. */
export function formatAddress(bytes: Uint8Array): Address {
  return (bytes.length === 4 ? bytes.join('.') : formatV6(bytes)) as Address;
}

/** `ip:port`, or `[ip]:port` for IPv6: how rules and logs spell an endpoint. */
export function hostPort(address: Address, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function parseV4(text: string): Address | undefined {
  if (isIPv4(text)) return text as Address;
  if (!/^\d+\.\d+\.\d+\.\d+$/.test(text)) return undefined;
  const canonical = text.split('.').map(Number).join('.');
  return isIPv4(canonical) ? (canonical as Address) : undefined;
}

function v4Bytes(text: string): Uint8Array {
  return Uint8Array.from(text.split('.'), Number);
}

function v6Bytes(text: string): Uint8Array {
  const [head = '', tail] = text.split('::');
  const left = hextets(head);
  const right = tail === undefined ? [] : hextets(tail);
  const words = [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right];
  const bytes = new Uint8Array(16);
  words.forEach((word, i) => {
    bytes[2 * i] = word >> 8;
    bytes[2 * i + 1] = word & 255;
  });
  return bytes;
}

function hextets(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((part) => {
    if (!part.includes('.')) return [Number.parseInt(part, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}

function isMapped(bytes: Uint8Array): boolean {
  return bytes.subarray(0, 10).every((b) => b === 0) && bytes[10] === 255 && bytes[11] === 255;
}

/** RFC 5952: lower-case, no leading zeros, the longest run of two or more zero words is `::`. */
function formatV6(bytes: Uint8Array): string {
  const words = Array.from(
    { length: 8 },
    (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0),
  );
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && words[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  if (best.start < 0) return hex(words);
  return `${hex(words.slice(0, best.start))}::${hex(words.slice(best.start + best.length))}`;
}

function hex(words: readonly number[]): string {
  return words.map((word) => word.toString(16)).join(':');
}
