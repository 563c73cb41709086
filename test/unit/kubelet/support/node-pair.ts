import { generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import {
  bits,
  commonName,
  distinguishedName,
  ecdsaWithSha256,
  pem,
  sequence,
  time,
  tlv,
} from '../../../../src/kubelet/certificates/der.ts';

/** A client certificate in PEM, and its key. */
export interface NodePair {
  readonly cert: string;
  readonly key: KeyObject;
}

/** Of a node, signed by itself. */
export function nodePair(nodeName: string, notBeforeMs: number, notAfterMs: number): NodePair {
  const { publicKey, privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = distinguishedName(commonName(`system:node:${nodeName}`));
  const body = sequence(
    tlv(0x02, Buffer.from([1])),
    ecdsaWithSha256,
    name,
    sequence(time(notBeforeMs), time(notAfterMs)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  );
  const whole = sequence(body, ecdsaWithSha256, bits(sign('sha256', body, key)));
  return { cert: pem('CERTIFICATE', whole), key };
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** As the user of a kubeconfig carries it. */
export function kubeconfigUser({ cert, key }: NodePair): object {
  return {
    'client-certificate-data': base64(cert),
    'client-key-data': base64(key.export({ type: 'sec1', format: 'pem' }).toString()),
  };
}
