/** Certificates on disk: the one that counts is found whole at any time, under upstream's names. */
import { generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { certificateRequest } from '../../../../src/kubelet/certificates/certificate-request.ts';
import { CertificateStore } from '../../../../src/kubelet/certificates/certificate-store.ts';
import { FakeApiServer } from '../../../support/fake-api-server.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { Signer } from '../support/signer.ts';

let folder = '';
let signer: Signer;
let store: CertificateStore;

beforeEach(() => {
  folder = ownFolder('switchyard-pki');
  signer = new Signer(folder, new FakeApiServer());
  store = new CertificateStore(join(folder, 'pki'), 'kubelet-client');
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function issued(key: KeyObject): string {
  const subject = { organization: 'system:nodes', commonName: 'system:node:n1', names: [] };
  return signer.issue(certificateRequest(subject, key));
}

const second = (count: number): number => Date.UTC(2026, 0, 31, 14, 5, count);
const dated = (count: number): string => `kubelet-client-2026-01-31-14-05-0${count}.pem`;
const files = (): string[] => readdirSync(join(folder, 'pki')).toSorted();

test('nothing is there at first', async () => {
  expect(await store.current()).toBeUndefined();
});

test('a certificate and its key are one file for its owner alone, that a link leads to', async () => {
  const key = await store.pendingKey();
  const cert = issued(key);
  await store.keep(cert, key, second(9));
  await store.dropPendingKey();
  expect(files()).toEqual([dated(9), 'kubelet-client-current.pem']);
  expect(readlinkSync(store.currentPath)).toBe(dated(9));
  expect(statSync(store.currentPath).mode & 0o777).toBe(0o600);
  const current = await store.current();
  expect(current?.cert).toBe(cert);
  expect(current?.parsed.checkPrivateKey(key)).toBe(true);
  expect(readFileSync(store.currentPath, 'utf8')).toMatch(/CERTIFICATE[^]*BEGIN EC PRIVATE KEY/);
});

test('of former ones the last is left, and nothing that others keep there', async () => {
  const key = await store.pendingKey();
  const cert = issued(key);
  writeFileSync(join(folder, 'pki', 'kubelet-client-backup.pem'), '');
  writeFileSync(join(folder, 'pki', 'kubelet-server-2020-01-01-00-00-00.pem'), '');
  for (const each of [1, 2, 3, 4]) await store.keep(cert, key, second(each));
  await store.dropPendingKey();
  expect(files()).toEqual([
    dated(3),
    dated(4),
    'kubelet-client-backup.pem',
    'kubelet-client-current.pem',
    'kubelet-server-2020-01-01-00-00-00.pem',
  ]);
});

test('the key of a request that waits is the same after a restart, and another when it is dropped', async () => {
  const first = await store.pendingKey();
  const file = join(folder, 'pki', 'kubelet-client.key.tmp');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const again = new CertificateStore(join(folder, 'pki'), 'kubelet-client');
  expect((await again.pendingKey()).equals(first)).toBe(true);
  await store.dropPendingKey();
  expect((await store.pendingKey()).equals(first)).toBe(false);
});

test('a key file that was spoilt is replaced', async () => {
  await store.pendingKey();
  const file = join(folder, 'pki', 'kubelet-client.key.tmp');
  writeFileSync(file, 'torn');
  const key = await store.pendingKey();
  expect((await store.pendingKey()).equals(key)).toBe(true);
});

test.each([
  ['is torn', (text: string) => text.slice(0, 300)],
  ['has the key of another', (text: string) => `${text.split('-----BEGIN EC')[0]}${otherKey()}`],
  ['is empty', () => ''],
])('a file that %s is none', async (_what, spoil) => {
  const key = await store.pendingKey();
  await store.keep(issued(key), key, second(1));
  expect(await store.current()).toBeDefined();
  writeFileSync(store.currentPath, spoil(readFileSync(store.currentPath, 'utf8')));
  expect(await store.current()).toBeUndefined();
});

function otherKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'sec1', format: 'pem' }).toString();
}
