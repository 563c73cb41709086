import {
  createPrivateKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import { join } from 'node:path';
import { KeptFile } from '../../../host/kept-file.ts';
import { secretFile } from '../../certificates/certificate-store.ts';
import {
  bits,
  commonName,
  distinguishedName,
  ecdsaWithSha256,
  octets,
  oid,
  pem,
  sequence,
  subjectAltNames,
  time,
  tlv,
} from '../../certificates/der.ts';

/** PEM texts. */
export interface ServingPair {
  readonly cert: string;
  readonly key: string;
}

const yearMs = 365 * 24 * 3_600_000;

/**
 * The pair of `kubelet.crt` and `kubelet.key` in a folder, made where there is none that fits: self-signed, for a year, for
 * `names`.
 */
export async function keptServingPair(
  folder: string,
  names: readonly string[],
  nowMs: number,
): Promise<ServingPair> {
  const forAll = { mode: 0o644, folderMode: 0o755, isSynced: true };
  const certFile = new KeptFile(join(folder, 'kubelet.crt'), forAll);
  const keyFile = secretFile(join(folder, 'kubelet.key'));
  const [cert, key] = await Promise.all([certFile.read(), keyFile.read()]);
  if (cert !== undefined && key !== undefined && fits({ cert, key }, nowMs)) return { cert, key };
  const made = selfSigned(names, nowMs);
  await keyFile.write(made.key);
  await certFile.write(made.cert);
  return made;
}

/** Whether both are whole and belong together, and the certificate holds: each file may be of another time, or an administrator's. */
function fits({ cert, key }: ServingPair, nowMs: number): boolean {
  try {
    const parsed = new X509Certificate(cert);
    return Date.parse(parsed.validTo) > nowMs && parsed.checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

/** A certificate that signs itself (RFC 5280) with a P-256 key. */
export function selfSigned(names: readonly string[], nowMs: number): ServingPair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const seconds = Math.floor(nowMs / 1000);
  const name = distinguishedName(commonName(`${names[0] ?? 'kubelet'}@${seconds}`.slice(-64)));
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
  const whole = sequence(body, ecdsaWithSha256, bits(sign('sha256', body, privateKey)));
  return {
    cert: pem('CERTIFICATE', whole),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

/** A CA of itself, so that a client can be told to trust it; digitalSignature, keyEncipherment, keyCertSign; serverAuth. */
function extensions(names: readonly string[]): Buffer[] {
  const yes = tlv(0x01, Buffer.from([0xff]));
  const serverAuth = oid(0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01);
  return [
    extension(0x0f, yes, octets(tlv(0x03, Buffer.from([0x02, 0xa4])))),
    extension(0x25, octets(sequence(serverAuth))),
    extension(0x13, yes, octets(sequence(yes))),
    subjectAltNames(names),
  ];
}

/** One of RFC 5280's own. */
function extension(id: number, ...rest: readonly Buffer[]): Buffer {
  return sequence(oid(0x55, 0x1d, id), ...rest);
}
