import { generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isIP } from 'node:net';
import { isAbsent } from '../../error.ts';
import { addressBytes, parseAddress } from '../../ip/address.ts';

/** PEM texts. */
export interface ServingPair {
  readonly cert: string;
  readonly key: string;
}

const yearMs = 365 * 24 * 3_600_000;

/**
 * The pair of `kubelet.crt` and `kubelet.key` in a folder, made where there is none that fits (spec 10.1): self-signed, for a year, for
 * `names`.
 */
export async function keptServingPair(
  folder: string,
  names: readonly string[],
  nowMs: number,
): Promise<ServingPair> {
  const certPath = join(folder, 'kubelet.crt');
  const keyPath = join(folder, 'kubelet.key');
  const kept = await readPair(certPath, keyPath);
  if (kept !== undefined && fits(kept, nowMs)) return kept;
  const made = selfSigned(names, nowMs);
  await mkdir(folder, { recursive: true, mode: 0o755 });
  for (const [path, text, mode] of [
    [keyPath, made.key, 0o600],
    [certPath, made.cert, 0o644],
  ] as const) {
    await writeFile(`${path}.new`, text, { mode });
    await rename(`${path}.new`, path);
  }
  return made;
}

async function readPair(certPath: string, keyPath: string): Promise<ServingPair | undefined> {
  try {
    const [cert, key] = await Promise.all([readFile(certPath, 'utf8'), readFile(keyPath, 'utf8')]);
    return { cert, key };
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

function fits({ cert }: ServingPair, nowMs: number): boolean {
  try {
    return Date.parse(new X509Certificate(cert).validTo) > nowMs;
  } catch {
    return false;
  }
}

/**
 * A certificate that signs itself (RFC 5280) with a P-256 key. node:crypto makes keys and signatures, and no certificates; the fields of
 * this one are few and always the same, so that they are written here (docs/adr/0003-dependencies.md).
 */
export function selfSigned(names: readonly string[], nowMs: number): ServingPair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const ecdsaWithSha256 = sequence(oid([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));
  const seconds = Math.floor(nowMs / 1000);
  const commonName = `${names[0] ?? 'kubelet'}@${seconds}`.slice(-64);
  const name = sequence(
    tlv(0x31, sequence(oid([0x55, 0x04, 0x03]), tlv(0x0c, Buffer.from(commonName)))),
  );
  // A clock may be behind, as that of a client.
  const validity = sequence(time(nowMs - 3_600_000), time(nowMs + yearMs));
  const serial = Buffer.concat([Buffer.from([0x01]), randomBytes(15)]);
  const body = sequence(
    tlv(0xa0, tlv(0x02, Buffer.from([2]))),
    tlv(0x02, serial),
    ecdsaWithSha256,
    name,
    validity,
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(...extensions(names))),
  );
  const signature = sign('sha256', body, privateKey);
  const whole = sequence(
    body,
    ecdsaWithSha256,
    tlv(0x03, Buffer.concat([Buffer.from([0]), signature])),
  );
  return { cert: pem(whole), key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

/** A CA of itself, so that a client can be told to trust it; digitalSignature, keyEncipherment, keyCertSign; serverAuth. */
function extensions(names: readonly string[]): Buffer[] {
  const yes = tlv(0x01, Buffer.from([0xff]));
  const serverAuth = oid([0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01]);
  const extension = (id: number, ...rest: Buffer[]): Buffer =>
    sequence(oid([0x55, 0x1d, id]), ...rest);
  return [
    extension(0x0f, yes, tlv(0x04, tlv(0x03, Buffer.from([0x02, 0xa4])))),
    extension(0x25, tlv(0x04, sequence(serverAuth))),
    extension(0x13, yes, tlv(0x04, sequence(yes))),
    extension(0x11, tlv(0x04, sequence(...names.map(generalName)))),
  ];
}

function generalName(name: string): Buffer {
  const address = isIP(name) === 0 ? undefined : parseAddress(name);
  if (address === undefined) return tlv(0x82, Buffer.from(name));
  return tlv(0x87, Buffer.from(addressBytes(address)));
}

function tlv(tag: number, content: Buffer): Buffer {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  if (length < 0x100) return Buffer.concat([Buffer.from([tag, 0x81, length]), content]);
  return Buffer.concat([Buffer.from([tag, 0x82, length >> 8, length & 0xff]), content]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tlv(0x30, Buffer.concat(parts));
}

function oid(bytes: readonly number[]): Buffer {
  return tlv(0x06, Buffer.from(bytes));
}

/** GeneralizedTime, UTCTime before 2050 as RFC 5280 wants it. */
function time(ms: number): Buffer {
  const text = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  return Number(text.slice(0, 4)) < 2050
    ? tlv(0x17, Buffer.from(text.slice(2)))
    : tlv(0x18, Buffer.from(text));
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}
