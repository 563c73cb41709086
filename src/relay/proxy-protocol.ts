import { addressBytes, familyOf } from '../ip/address.ts';
import type { Address } from '../ip/address.ts';

/** One end of a connection. */
export interface Place {
  readonly address: Address;
  readonly port: number;
}

const signature = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
/** Version 2, command PROXY: on behalf of another. */
const versionAndCommand = 0x21;
const streamOver = { ipv4: 0x11, ipv6: 0x21 } as const;

/**
 * The header of the PROXY protocol, version 2, that a TCP connection starts with: who connects, and what was asked. Where
 * the two are of different families, the IPv4 address is written as an IPv6 one (`::ffff:a.b.c.d`).
 */
export function proxyHeader(source: Place, destination: Place): Uint8Array {
  const both4 = familyOf(source.address) === 'ipv4' && familyOf(destination.address) === 'ipv4';
  const family = both4 ? 'ipv4' : 'ipv6';
  const addresses = [source, destination].flatMap(({ address }) => bytesAs(family, address));
  const ports = [source.port, destination.port].flatMap((port) => [port >> 8, port & 255]);
  const body = [...addresses, ...ports];
  return Uint8Array.from([
    ...signature,
    versionAndCommand,
    streamOver[family],
    body.length >> 8,
    body.length & 255,
    ...body,
  ]);
}

function bytesAs(family: 'ipv4' | 'ipv6', address: Address): readonly number[] {
  const bytes = [...addressBytes(address)];
  if (family === 'ipv4' || bytes.length === 16) return bytes;
  return [...Array<number>(10).fill(0), 255, 255, ...bytes];
}
