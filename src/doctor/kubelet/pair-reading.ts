import { readPair } from '../../kubelet/certificates/certificate-store.ts';
import type { CertificateReading } from './readings.ts';

/** What a certificate and its key, in PEM, say of themselves; of the key only whether it fits. */
export function pairReading(path: string, cert: string, key: string): CertificateReading {
  const pair = readPair(cert, key);
  if (pair === undefined)
    return { kind: 'unusable', path, problem: 'holds no certificate in PEM with the key of it' };
  const { notBeforeMs, notAfterMs, parsed } = pair;
  const subject = parsed.subject.split('\n').join(', ');
  return { kind: 'good', path, notBeforeMs, notAfterMs, subject };
}
