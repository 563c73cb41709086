/** The kubeconfig of a node: whether it can be used, and how another one is made of that which led to its certificate. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parse } from 'yaml';
import {
  kubeconfigPair,
  kubeconfigProblem,
  nodeKubeconfig,
} from '../../../src/informer/node-kubeconfig.ts';
import { certificates } from './certificates.ts';

let folder = '';
const nowMs = Date.UTC(2027, 0, 1);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-node-kubeconfig-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function write(user: object, cluster: object = {}): string {
  const path = join(folder, 'config');
  const value = {
    'current-context': 'x',
    clusters: [{ name: 'c', cluster: { server: 'https://192.0.2.1:6443', ...cluster } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
  };
  writeFileSync(path, JSON.stringify(value));
  return path;
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const { cert, key } = certificates.first;
const inside = { 'client-certificate-data': base64(cert), 'client-key-data': base64(key) };
const beside = { 'client-certificate': 'own.pem', 'client-key': 'own.pem' };

test('a certificate is found in the file, and beside it', () => {
  writeFileSync(join(folder, 'own.pem'), cert + key);
  expect(kubeconfigPair(write(inside))).toEqual({ cert, key });
  expect(kubeconfigPair(write(beside))).toEqual({ cert: cert + key, key: cert + key });
  expect(kubeconfigPair(write({ token: 't' }))).toBeUndefined();
});

test.each([
  ['a good certificate', inside],
  ['a token', { token: 't' }],
  ['a plugin', { exec: { command: 'x' } }],
])('%s is no problem', (_what, user) => {
  expect(kubeconfigProblem(write(user), nowMs)).toBeUndefined();
});

test.each([
  ['nothing at all', {}, 'has no client certificate with its key'],
  [
    'a certificate without a key',
    { 'client-certificate-data': base64(cert) },
    'has no client certificate',
  ],
  ['a file that is not there', beside, 'ENOENT'],
  ['a torn certificate', { ...inside, 'client-certificate-data': base64('x') }, ''],
])('%s is a problem', (_what, user, said) => {
  expect(kubeconfigProblem(write(user), nowMs)).toContain(said);
});

test('a file that is not there, and a certificate that has ended, are problems', () => {
  expect(kubeconfigProblem(join(folder, 'nowhere'), nowMs)).toContain('ENOENT');
  expect(kubeconfigProblem(write(inside), Date.UTC(2127, 0, 1))).toContain('good until');
});

test('of a bootstrap kubeconfig the cluster is taken, whole, and nothing of its user', () => {
  const path = write(
    { token: 'secret' },
    { 'certificate-authority': 'ca.crt', 'tls-server-name': 'api', 'proxy-url': 'http://p:1' },
  );
  const made = nodeKubeconfig(path, '/var/lib/kubelet/pki/kubelet-client-current.pem');
  expect(made).not.toContain('secret');
  expect(parse(made)).toEqual({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'default-cluster',
        cluster: {
          server: 'https://192.0.2.1:6443',
          'certificate-authority': join(folder, 'ca.crt'),
          'tls-server-name': 'api',
          'proxy-url': 'http://p:1',
        },
      },
    ],
    contexts: [
      {
        name: 'default-context',
        context: { cluster: 'default-cluster', namespace: 'default', user: 'default-auth' },
      },
    ],
    'current-context': 'default-context',
    users: [
      {
        name: 'default-auth',
        user: {
          'client-certificate': '/var/lib/kubelet/pki/kubelet-client-current.pem',
          'client-key': '/var/lib/kubelet/pki/kubelet-client-current.pem',
        },
      },
    ],
  });
});
