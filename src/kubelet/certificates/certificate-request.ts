import { createPublicKey, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import {
  bits,
  commonName,
  distinguishedName,
  ecdsaWithSha256,
  oid,
  organization,
  pem,
  sequence,
  subjectAltNames,
  tlv,
} from './der.ts';

/** Whom a certificate is for. */
export interface CertificateSubject {
  readonly organization: string;
  readonly commonName: string;
  /** Host names and IP addresses that it is good for. */
  readonly names: readonly string[];
}

const version1 = tlv(0x02, Buffer.from([0]));
/** PKCS#9 extensionRequest. */
const extensionRequest = oid(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e);

/** A request for a certificate (PKCS#10, RFC 2986) in PEM, signed by a P-256 key. */
export function certificateRequest(subject: CertificateSubject, privateKey: KeyObject): string {
  const info = sequence(
    version1,
    distinguishedName(organization(subject.organization), commonName(subject.commonName)),
    createPublicKey(privateKey).export({ type: 'spki', format: 'der' }),
    tlv(0xa0, wishes(subject.names)),
  );
  const signature = bits(sign('sha256', info, privateKey));
  return pem('CERTIFICATE REQUEST', sequence(info, ecdsaWithSha256, signature));
}

/** The extensions asked for: a list of attributes, which is empty where there are no names. */
function wishes(names: readonly string[]): Buffer {
  if (names.length === 0) return Buffer.alloc(0);
  return sequence(extensionRequest, tlv(0x31, sequence(subjectAltNames(names))));
}
