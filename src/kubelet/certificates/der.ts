import { isIP } from 'node:net';
import { addressBytes, parseAddress } from '../../ip/address.ts';

/**
 * The part of DER (X.690) that certificates and requests for them need. node:crypto makes keys and signatures, and neither of these; their
 * fields are few and always the same, so that they are written here (docs/adr/0003-dependencies.md).
 */
export function tlv(tag: number, content: Buffer): Buffer {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  if (length < 0x100) return Buffer.concat([Buffer.from([tag, 0x81, length]), content]);
  if (length < 0x1_0000)
    return Buffer.concat([Buffer.from([tag, 0x82, length >> 8, length & 0xff]), content]);
  throw new RangeError(`${length} bytes are too many for a certificate`);
}

export function sequence(...parts: readonly Buffer[]): Buffer {
  return tlv(0x30, Buffer.concat(parts));
}

/** An object identifier, by its encoded content. */
export function oid(...bytes: readonly number[]): Buffer {
  return tlv(0x06, Buffer.from(bytes));
}

export function utf8(text: string): Buffer {
  return tlv(0x0c, Buffer.from(text));
}

export function octets(content: Buffer): Buffer {
  return tlv(0x04, content);
}

/** A BIT STRING of whole bytes. */
export function bits(content: Buffer): Buffer {
  return tlv(0x03, Buffer.concat([Buffer.from([0]), content]));
}

/** UTCTime before 2050 as RFC 5280 wants it, then GeneralizedTime. */
export function time(ms: number): Buffer {
  const text = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  return Number(text.slice(0, 4)) < 2050
    ? tlv(0x17, Buffer.from(text.slice(2)))
    : tlv(0x18, Buffer.from(text));
}

/** Parts of a name, each with one attribute: `[commonName('n1')]`. */
export function distinguishedName(...attributes: readonly Buffer[]): Buffer {
  return sequence(...attributes.map((each) => tlv(0x31, each)));
}

export function commonName(text: string): Buffer {
  return sequence(oid(0x55, 0x04, 0x03), utf8(text));
}

export function organization(text: string): Buffer {
  return sequence(oid(0x55, 0x04, 0x0a), utf8(text));
}

/** What a certificate is for besides its subject: host names and IP addresses. */
export function subjectAltNames(names: readonly string[]): Buffer {
  return sequence(oid(0x55, 0x1d, 0x11), octets(sequence(...names.map(generalName))));
}

function generalName(name: string): Buffer {
  const address = isIP(name) === 0 ? undefined : parseAddress(name);
  if (address === undefined) return tlv(0x82, Buffer.from(name));
  return tlv(0x87, Buffer.from(addressBytes(address)));
}

export const ecdsaWithSha256 = sequence(oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02));

/** As a PEM text with this label: `CERTIFICATE`. */
export function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}
