/** Requests for certificates, as OpenSSL reads them. */
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { expect, test } from 'vitest';
import { certificateRequest } from '../../../../src/kubelet/certificates/certificate-request.ts';
import { pem, tlv } from '../../../../src/kubelet/certificates/der.ts';

const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

/** All that it says, on both streams. */
function openssl(input: string, ...args: readonly string[]): string {
  const { stdout, stderr } = spawnSync('openssl', args, { input, encoding: 'utf8' });
  return stdout + stderr;
}

const right = /verify OK/i;

const node = { organization: 'system:nodes', commonName: 'system:node:n1' };

test('OpenSSL finds the signature right, and the subject as it was given', () => {
  const key = newKey();
  const request = certificateRequest({ ...node, names: [] }, key);
  const subject = ['-subject', '-nameopt', 'RFC2253', '-pubkey'];
  const said = openssl(request, 'req', '-verify', '-noout', ...subject);
  expect(said).toMatch(right);
  expect(said).toContain('subject=CN=system:node:n1,O=system:nodes');
  const own = key.export({ type: 'sec1', format: 'pem' }).toString();
  expect(said).toContain(openssl(own, 'pkey', '-pubout').trim());
});

test('host names and addresses are alternative names, each of its own kind', () => {
  const names = ['n1', 'n1.example.org', '192.0.2.7', '2001:db8::7'];
  const request = certificateRequest({ ...node, names }, newKey());
  const said = openssl(request, 'req', '-verify', '-text', '-noout');
  expect(said).toMatch(right);
  expect(said).toContain(
    'DNS:n1, DNS:n1.example.org, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7',
  );
});

test('a name as long as names can be fits', () => {
  const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}.${'d'.repeat(60)}`;
  const request = certificateRequest({ ...node, names: [long] }, newKey());
  const said = openssl(request, 'req', '-verify', '-text', '-noout');
  expect(said).toMatch(right);
  expect(said).toContain(`DNS:${long}`);
});

test('a changed byte is noticed', () => {
  const request = certificateRequest({ ...node, names: ['n1'] }, newKey());
  const der = Buffer.from(request.replaceAll(/-----.*-----|\n/g, ''), 'base64');
  const at = der.indexOf('system:node:n1');
  der.writeUInt8('x'.charCodeAt(0), at);
  const forged = openssl(pem('CERTIFICATE REQUEST', der), 'req', '-verify', '-noout');
  expect(forged).toMatch(/verify fail/i);
});

test.each([
  [0, '0400'],
  [127, `047f${'00'.repeat(127)}`],
  [128, `048180${'00'.repeat(128)}`],
  [255, `0481ff${'00'.repeat(255)}`],
  [256, `04820100${'00'.repeat(256)}`],
])('a length of %i is written in its shortest form', (length, expected) => {
  expect(tlv(0x04, Buffer.alloc(length)).toString('hex')).toBe(expected);
});
