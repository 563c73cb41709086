/** What is read of the files by which a node and the API server know each other; nothing of a key is in it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { kubeletFlags } from '../../../../src/config/kubelet-flags.ts';
import { parseFlags } from '../../../../src/config/parse-flags.ts';
import { kubeletConfig } from '../../../../src/config/read-kubelet-config.ts';
import { readKubeletFiles } from '../../../../src/config/kubelet-file.ts';
import { readCertificates } from '../../../../src/doctor/kubelet/certificate-readings.ts';
import type { CertificatesReading } from '../../../../src/doctor/kubelet/readings.ts';
import { CertificateStore } from '../../../../src/kubelet/certificates/certificate-store.ts';
import { certificates } from '../../informer/certificates.ts';
import { kubeconfigUser, nodePair } from '../../kubelet/support/node-pair.ts';
import type { NodePair } from '../../kubelet/support/node-pair.ts';

let folder = '';
const nowMs = Date.UTC(2027, 0, 1);
const { first, second } = certificates;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-doctor-certificates-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

const file = (name: string): string => join(folder, name);

function write(name: string, text: string): string {
  writeFileSync(file(name), text);
  return file(name);
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');

function kubeconfig(name: string, user: object): string {
  return write(
    name,
    JSON.stringify({
      'current-context': 'x',
      clusters: [{ name: 'c', cluster: { server: 'https://192.0.2.1' } }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    }),
  );
}

async function read(...argv: readonly string[]): Promise<CertificatesReading> {
  const { flags } = readKubeletFiles([], kubeletFlags, parseFlags(kubeletFlags, argv).flags);
  const subject = { config: kubeletConfig(flags), nodeName: 'first' };
  const reading = await readCertificates(subject, nowMs);
  expect(JSON.stringify(reading)).not.toMatch(/PRIVATE|secret-token/);
  return reading;
}

test('a kubeconfig with a certificate, and files of the server', async () => {
  const pair = {
    'client-certificate-data': base64(first.cert),
    'client-key-data': base64(first.key),
  };
  const found = await read(
    `--kubeconfig=${kubeconfig('k', pair)}`,
    `--client-ca-file=${write('ca.crt', second.cert)}`,
    `--tls-cert-file=${write('tls.crt', second.cert)}`,
    `--tls-private-key-file=${write('tls.key', second.key)}`,
    `--bootstrap-kubeconfig=${kubeconfig('b', { token: 'secret-token' })}`,
  );
  expect(found).toEqual({
    nowMs,
    client: expect.objectContaining({ kind: 'good', subject: 'CN=first' }) as unknown,
    bootstrap: { path: file('b'), problem: undefined },
    serving: expect.objectContaining({ kind: 'good', subject: 'CN=second' }) as unknown,
    clientCa: { path: file('ca.crt'), problem: undefined },
  });
});

test('what is not there, and what does not fit', async () => {
  const found = await read(
    `--kubeconfig=${file('none')}`,
    `--client-ca-file=${file('none.crt')}`,
    `--tls-cert-file=${write('tls.crt', second.cert)}`,
    `--tls-private-key-file=${write('tls.key', first.key)}`,
  );
  expect(found.client).toEqual({ kind: 'absent', path: file('none') });
  expect(found.bootstrap).toBeUndefined();
  expect(found.serving).toMatchObject({
    kind: 'unusable',
    problem: expect.stringContaining('with the key of it') as unknown,
  });
  expect(found.clientCa?.problem).toBe('is not there');
});

test('a kubeconfig that is torn, and one with a token', async () => {
  expect((await read(`--kubeconfig=${write('k', '{: secret-token')}`)).client?.kind).toBe(
    'unusable',
  );
  const token = kubeconfig('t', { token: 'secret-token' });
  expect((await read(`--kubeconfig=${token}`)).client).toBeUndefined();
});

test('a serving certificate that is asked for is looked for where it will be', async () => {
  const found = await read(
    `--kubeconfig=${file('none')}`,
    `--rotate-server-certificates`,
    `--cert-dir=${folder}`,
  );
  expect(found.serving).toEqual({ kind: 'absent', path: file('kubelet-server-current.pem') });
});

async function readBoth(given: NodePair, ...argv: readonly string[]) {
  const path = kubeconfig('k', kubeconfigUser(given));
  return read(`--kubeconfig=${path}`, `--cert-dir=${folder}`, ...argv);
}

describe('a certificate that came after that of the kubeconfig', () => {
  const dayMs = 86_400_000;
  const issued = (fromDay: number, toDay: number): NodePair =>
    nodePair('first', nowMs + fromDay * dayMs, nowMs + toDay * dayMs);

  async function keep({ cert, key }: NodePair): Promise<string> {
    const store = new CertificateStore(folder, 'kubelet-client');
    await store.keep(cert, key, nowMs);
    return store.currentPath;
  }

  test('counts where it is good', async () => {
    const current = await keep(issued(-1, 9));
    const { client } = await readBoth(issued(-20, -10), '--rotate-certificates');
    const end = { notBeforeMs: nowMs - dayMs, notAfterMs: nowMs + 9 * dayMs };
    expect(client).toMatchObject({ kind: 'good', path: current, ...end });
  });

  test.for([
    ['none is renewed', issued(-1, 9), []],
    ['that of the kubeconfig is newer', issued(-3, 9), ['--rotate-certificates']],
    ['it has ended', issued(-1, -0.5), ['--rotate-certificates']],
    ['it is another node’s', nodePair('n2', nowMs, nowMs + dayMs), ['--rotate-certificates']],
  ] as const)('does not count where %s', async ([, kept, argv]) => {
    await keep(kept);
    const { client } = await readBoth(issued(-2, 5), ...argv);
    expect(client).toMatchObject({ kind: 'good', path: file('k') });
  });

  test('is told of where it cannot be read, for the kubelet does not start then', async () => {
    mkdirSync(file('kubelet-client-current.pem'));
    const { client } = await readBoth(issued(-2, 5), '--rotate-certificates');
    expect(client).toEqual({
      kind: 'unusable',
      path: file('kubelet-client-current.pem'),
      problem: `${file('kubelet-client-current.pem')} is not a file`,
    });
  });
});
