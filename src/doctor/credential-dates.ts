import { Buffer } from 'node:buffer';
import { X509Certificate } from 'node:crypto';

import type { Credentials } from '../informer/api-credentials.ts';
import type { DatedCredential } from './readings.ts';

/** Until when credentials are good: dates, and nothing else of them. */
export function credentialDates({ headers, tls }: Credentials): readonly DatedCredential[] {
  const found: DatedCredential[] = [];
  const [certificate] = certificatesOf(tls.cert);
  if (certificate !== undefined) found.push(dated('client certificate', certificate));
  // One authority that is still good is enough.
  const [authority] = certificatesOf(tls.ca).toSorted(
    (a, b) => b.validToDate.getTime() - a.validToDate.getTime(),
  );
  if (authority !== undefined) found.push(dated('certificate authority', authority));
  const token = tokenDates(authorizationOf(headers));
  if (token !== undefined) found.push(token);
  return found;
}

/** What the server is asked with, in words. */
export function credentialKind({ headers, tls }: Credentials): string {
  const kinds = [];
  if (tls.cert !== undefined) kinds.push('a client certificate');
  const authorization = authorizationOf(headers);
  if (authorization.startsWith('Bearer ')) kinds.push('a token');
  if (authorization.startsWith('Basic ')) kinds.push('a name and a password');
  return kinds.length === 0 ? 'nothing: it is anonymous' : kinds.join(' and ');
}

function authorizationOf(headers: Credentials['headers']): string {
  const given = headers['authorization'];
  return typeof given === 'string' ? given : '';
}

function certificatesOf(pem: string | undefined): readonly X509Certificate[] {
  const blocks = pem?.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g) ?? [];
  return blocks.flatMap((block) => {
    try {
      return new X509Certificate(block);
    } catch {
      return []; // TLS will say so
    }
  });
}

function dated(what: string, certificate: X509Certificate): DatedCredential {
  const notBeforeMs = certificate.validFromDate.getTime();
  return { what, notBeforeMs, notAfterMs: certificate.validToDate.getTime() };
}

/** Of a JSON web token; other tokens say nothing of their end. */
function tokenDates(authorization: string): DatedCredential | undefined {
  const [, payload = ''] = /^Bearer [\w-]+\.([\w-]+)\./.exec(authorization) ?? [];
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
    const { exp, nbf, iat } = claims as Record<string, unknown>;
    if (typeof exp !== 'number') return undefined;
    const begin = [nbf, iat].find((each) => typeof each === 'number') ?? 0;
    return { what: 'token', notBeforeMs: begin * 1000, notAfterMs: exp * 1000 };
  } catch {
    return undefined;
  }
}
