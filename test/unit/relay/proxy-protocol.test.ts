import { describe, expect, it } from 'vitest';
import type { Address } from '../../../src/ip/address.ts';
import { proxyHeader } from '../../../src/relay/proxy-protocol.ts';

const place = (address: string, port: number) => ({ address: address as Address, port });
const signature = '0d0a0d0a000d0a515549540a';

/** The PROXY protocol, version 2 (haproxy's doc/proxy-protocol.txt, section 2.2). */
describe('a PROXY header', () => {
  it('names two IPv4 ends', () => {
    const header = proxyHeader(place('192.0.2.10', 50_000), place('10.96.0.41', 80));
    expect(Buffer.from(header).toString('hex')).toBe(
      `${signature}2111000cc000020a0a600029c3500050`,
    );
  });

  it('names two IPv6 ends', () => {
    const header = proxyHeader(place('2001:db8::10', 1), place('fd00::1', 65_535));
    expect(Buffer.from(header).toString('hex')).toBe(
      `${signature}2121002420010db8000000000000000000000010fd0000000000000000000000000000010001ffff`,
    );
  });

  it('writes an IPv4 end as an IPv6 one beside the other family', () => {
    const header = proxyHeader(place('192.0.2.10', 1), place('fd00::1', 2));
    expect(Buffer.from(header).toString('hex')).toBe(
      `${signature}2121002400000000000000000000ffffc000020afd00000000000000000000000000000100010002`,
    );
  });
});
