import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';

import { errorText } from '../error.ts';

/** What TLS needs in PEM. */
export type PemKind = 'certificate authority' | 'client certificate' | 'client key';

/**
 * Why a text is not what it is to be; undefined where it is. Asked before TLS is: that takes an unusable
 * authority without a word, and names neither field nor file for the others.
 */
export function pemProblem(kind: PemKind, text: string): string | undefined {
  if (text.trim() === '') return 'is empty';
  try {
    if (kind === 'certificate authority') readAuthority(text);
    else createSecureContext(kind === 'client key' ? { key: text } : { cert: text });
    return undefined;
  } catch (error) {
    const expected = kind === 'client key' ? 'private key' : 'certificate';
    return `holds no ${expected} in PEM that can be used: ${errorText(error)}`;
  }
}

/** Why a key is not that of a certificate, both of them usable. */
export function pairProblem(cert: string, key: string): string | undefined {
  try {
    createSecureContext({ cert, key });
    return undefined;
  } catch (error) {
    return `is not of this certificate: ${errorText(error)}`;
  }
}

/** One certificate that can be read is enough, as for client-go. */
function readAuthority(bundle: string): void {
  const blocks = bundle.match(/-----BEGIN [^]*?-----END [^-]*-----/g) ?? [];
  let problem: unknown = new Error('no block between BEGIN and END lines');
  for (const block of blocks) {
    try {
      void new X509Certificate(block);
      return;
    } catch (error) {
      problem = error;
    }
  }
  throw problem;
}
