import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import {
  keptServingPair,
  selfSigned,
} from '../../../../../src/kubelet/server/access/serving-certificate.ts';

/** The pair that the server's TLS begins with where none is given. */

const nowMs = Date.now();
const yearMs = 365 * 24 * 3_600_000;

test('a certificate signs itself, for a year, for names and addresses', () => {
  const { cert } = selfSigned(['n1', '10.0.0.7', 'fd00::7'], nowMs);
  const parsed = new X509Certificate(cert);
  expect(parsed.verify(parsed.publicKey)).toBe(true);
  expect(parsed.subjectAltName).toBe('DNS:n1, IP Address:10.0.0.7, IP Address:FD00:0:0:0:0:0:0:7');
  expect(parsed.checkHost('n1')).toBe('n1');
  expect(parsed.checkIP('10.0.0.7')).toBe('10.0.0.7');
  expect(parsed.issuer).toBe(parsed.subject);
  expect(Date.parse(parsed.validFrom)).toBeLessThan(nowMs);
  expect(Math.abs(Date.parse(parsed.validTo) - nowMs - yearMs)).toBeLessThan(1_000);
  expect(parsed.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
});

test('a date beyond 2049 is written as such a date is', () => {
  const { cert } = selfSigned(['n1'], Date.parse('2055-01-01T00:00:00Z'));
  expect(new X509Certificate(cert).validTo).toContain('2056');
});

test('a client that trusts it speaks TLS with it', async () => {
  const { cert, key } = selfSigned(['localhost', '127.0.0.1'], nowMs);
  const server = createServer({ cert, key }, (socket) => void socket.end('hello'));
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const client = connect({ host: '127.0.0.1', port, ca: cert });
  const [data] = (await once(client, 'data')) as [Buffer];
  expect([data.toString(), client.authorized]).toEqual(['hello', true]);
  client.destroy();
  server.close();
});

test.for([
  ['an empty key', 'kubelet.key', ''],
  ['the key of another', 'kubelet.key', selfSigned(['n1'], nowMs).key],
  ['the certificate of another', 'kubelet.crt', selfSigned(['n1'], nowMs).cert],
  ['half a certificate', 'kubelet.crt', selfSigned(['n1'], nowMs).cert.slice(0, 100)],
] as const)('a pair with %s is made anew', async ([, name, text]) => {
  const folder = await mkdtemp(join(tmpdir(), 'switchyard-pki-'));
  try {
    await keptServingPair(folder, ['n1'], nowMs);
    await writeFile(join(folder, name), text);
    const { cert, key } = await keptServingPair(folder, ['n1'], nowMs);
    expect(new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))).toBe(true);
    expect(await keptServingPair(folder, ['n1'], nowMs)).toEqual({ cert, key });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('the pair in the folder is kept as long as it is good', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'switchyard-pki-'));
  try {
    const pki = join(folder, 'pki');
    const first = await keptServingPair(pki, ['n1'], nowMs);
    expect((await stat(join(pki, 'kubelet.key'))).mode & 0o777).toBe(0o600);
    expect(await keptServingPair(pki, ['n1'], nowMs + yearMs / 2)).toEqual(first);
    expect(await keptServingPair(pki, ['n1'], nowMs + 2 * yearMs)).not.toEqual(first);
  } finally {
    await rm(folder, { recursive: true });
  }
});
