/** A certificate is asked for, renewed in time, and what is in the way is said: with time that a test moves. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CertificateKeeper } from '../../../../src/kubelet/certificates/certificate-keeper.ts';
import type { CertificateKeeperOptions } from '../../../../src/kubelet/certificates/certificate-keeper.ts';
import { CertificateStore } from '../../../../src/kubelet/certificates/certificate-store.ts';
import { signingKind } from '../../../../src/kubelet/certificates/bootstrap.ts';
import type { SigningWish } from '../../../../src/kubelet/certificates/signing.ts';
import { ObjectApi } from '../../../../src/kubelet/api/object-api.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { apiRig, until } from '../support/api-rig.ts';
import type { ApiRig } from '../support/api-rig.ts';
import { Signer, requestsPath } from '../support/signer.ts';

const dayMs = 86_400_000;

let rig: ApiRig;
let signer: Signer;
let folder = '';
let store: CertificateStore;
let wish: SigningWish | undefined;
let told: string[] = [];

const serving = (...names: string[]): SigningWish => ({
  signer: 'kubernetes.io/kubelet-serving',
  subject: { organization: 'system:nodes', commonName: 'system:node:n1', names },
});

beforeEach(async () => {
  rig = await apiRig();
  rig.clock.setDate(Date.now());
  folder = ownFolder('switchyard-keeper');
  signer = new Signer(folder, rig.server);
  store = new CertificateStore(join(folder, 'pki'), 'kubelet-server');
  wish = serving('n1', '192.0.2.7');
  told = [];
});

afterEach(async () => {
  await rig.stop();
  rmSync(folder, { recursive: true });
});

function keep(options: Partial<CertificateKeeperOptions> = {}): void {
  const keeper = new CertificateKeeper({
    what: 'serving certificate',
    store,
    wish: () => wish,
    withApi: async (expired, use) => {
      told.push(expired ? 'asks, expired' : 'asks');
      return use(new ObjectApi(rig.client, rig.clock, signingKind));
    },
    onRenewed: async () => void told.push('renewed'),
    meter: {
      holds: () => {},
      renewed: (seconds) =>
        void told.push(`former ${seconds === undefined ? 'none' : Math.round(seconds / 86_400)}`),
      failed: () => void told.push('failed'),
    },
    random: () => 0.5,
    clock: rig.clock,
    log: rig.log,
    ...options,
  });
  rig.start(async (signal) => keeper.run(signal));
}

const waits = async (): Promise<void> => until('a request waits', () => signer.waiting.length > 0);
const warnings = (): string[] => rig.lines.filter((line) => line.startsWith('warn'));

/** Moves time in steps that requests can keep up with. */
async function pass(
  what: string,
  is: () => boolean,
  mostMs = 600_000,
  stepMs = 1000,
): Promise<void> {
  for (let ms = 0; ms <= mostMs; ms += stepMs) {
    for (let turn = 0; turn < 8; turn++) {
      if (is()) return;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await rig.clock.advance(stepMs);
  }
  throw new Error(`never: ${what}; ${rig.lines.join('\n')}; ${told.join(', ')}`);
}

async function issue(): Promise<string> {
  await waits();
  const before = told.length;
  const cert = signer.approve();
  await pass('it is taken', () => told.slice(before).includes('renewed'));
  return cert;
}

test('the request names the signer, the uses, and the node with its addresses', async () => {
  keep();
  await waits();
  expect(signer.waiting[0]).toMatchObject({
    metadata: { name: expect.stringMatching(/^csr-[0-9a-f]{40}$/) as string },
    spec: {
      signerName: 'kubernetes.io/kubelet-serving',
      usages: ['digital signature', 'server auth'],
    },
  });
  const cert = await issue();
  const current = await store.current();
  expect(current?.cert).toBe(cert);
  expect(current?.parsed.subjectAltName).toBe('DNS:n1, IP Address:192.0.2.7');
  expect(told).toEqual(['asks', 'former none', 'renewed']);
});

test('a good one is let be, and renewed at eighty percent of its life where chance says the middle', async () => {
  keep();
  await issue();
  await rig.clock.advance(7.9 * dayMs);
  expect(signer.waiting).toHaveLength(0);
  await rig.clock.advance(0.15 * dayMs);
  const second = await issue();
  expect((await store.current())?.cert).toBe(second);
  expect(told).toEqual(['asks', 'former none', 'renewed', 'asks', 'former 8', 'renewed']);
});

test.each([
  [0, 6.9, 7.1],
  [0.999, 8.8, 9.1],
])('chance %f moves that', async (chance, notYet, due) => {
  keep({ random: () => chance });
  await issue();
  await rig.clock.advance(notYet * dayMs);
  expect(signer.waiting).toHaveLength(0);
  await rig.clock.advance((due - notYet) * dayMs);
  await waits();
});

test('a node with another address needs another certificate', async () => {
  keep();
  await issue();
  wish = serving('n1', '192.0.2.8');
  await pass('it asks', () => signer.waiting.length > 0);
  await issue();
  expect((await store.current())?.parsed.subjectAltName).toContain('192.0.2.8');
});

test('a node with a host name that its certificate lacks needs another certificate', async () => {
  keep();
  await issue();
  wish = serving('n1', 'n1.example', '192.0.2.7');
  await pass('it asks', () => signer.waiting.length > 0);
  await issue();
  expect((await store.current())?.parsed.subjectAltName).toContain('DNS:n1.example');
});

test('a request that waits is given up when the address is another meanwhile', async () => {
  keep();
  await waits();
  const first = signer.waiting[0]?.metadata.name;
  wish = serving('n1', '192.0.2.8');
  await pass('it asks anew', () => signer.waiting.length > 1);
  signer.approve(signer.waiting.find(({ metadata }) => metadata.name !== first));
  await pass('it is taken', () => told.includes('renewed'));
  expect((await store.current())?.parsed.subjectAltName).toContain('192.0.2.8');
});

test('one that nobody approves is waited for, under one name, and said with the cure, seldom', async () => {
  keep();
  await waits();
  const { name } = signer.waiting[0]?.metadata ?? { name: '' };
  await pass('it is said', () => warnings().length > 0, 60_000);
  expect(warnings()).toEqual([
    `warn CertificateSigningRequest ${name} (kubernetes.io/kubelet-serving): waits for approval: kubectl certificate approve ${name}`,
  ]);
  await pass('and again', () => warnings().length > 1, 400_000, 5000);
  expect(signer.waiting).toHaveLength(1);
  expect(told).toEqual(['asks']);
});

test('one that is removed is made anew', async () => {
  keep();
  await waits();
  const { name } = signer.waiting[0]?.metadata ?? { name: '' };
  rig.server.remove(requestsPath, name);
  await pass('it is there', () => signer.waiting.length > 0);
  expect(signer.waiting[0]?.metadata.name).toBe(name);
  await issue();
});

test('an agent that follows finds the request of the one before', async () => {
  const key = await store.pendingKey();
  keep();
  await waits();
  const first = signer.waiting[0];
  keep();
  await pass('the second one asks, too', () => told.length === 2);
  expect(signer.waiting).toEqual([first]);
  signer.approve();
  await pass('it is taken', () => told.includes('renewed'));
  expect((await store.current())?.parsed.checkPrivateKey(key)).toBe(true);
});

test.each([
  ['Denied', 'was denied: NoTrust: go away'],
  ['Failed', 'could not be signed: NoTrust: go away'],
])(
  'one that is %s is said by name, and another one is made with another key after a while',
  async (type, text) => {
    keep();
    await waits();
    const { name } = signer.waiting[0]?.metadata ?? { name: '' };
    signer.decide({ type, reason: 'NoTrust', message: 'go away' });
    await pass('it is said', () => warnings().length > 0);
    expect(warnings()[0]).toContain(
      `${name} (kubernetes.io/kubelet-serving) ${text}; another one is made`,
    );
    await pass('another waits', () => signer.waiting.length > 0, 10_000, 500);
    expect(signer.waiting[0]?.metadata.name).not.toBe(name);
    await issue();
  },
);

test('a key that cannot be removed is said, and what was denied is asked for anew when it can be', async () => {
  keep();
  await waits();
  const path = join(folder, 'pki/kubelet-server.key.tmp');
  rmSync(path);
  mkdirSync(path);
  signer.decide({ type: 'Denied' });
  await pass('it is said', () => warnings().some((line) => line.includes(path)));
  rmSync(path, { recursive: true });
  await pass('another waits', () => signer.waiting.length > 0);
  const cert = await issue();
  expect((await store.current())?.cert).toBe(cert);
});

test('waits between denied ones grow', async () => {
  keep();
  const moments: number[] = [];
  for (let each = 0; each < 5; each++) {
    await pass('one waits', () => signer.waiting.length > 0, 200_000, 500);
    moments.push(rig.clock.monotonic());
    signer.decide({ type: 'Denied' });
    await pass(
      'it is noticed',
      () => told.filter((word) => word === 'failed').length > each,
      20_000,
      100,
    );
  }
  const gaps = moments.slice(1).map((at, index) => at - (moments[index] ?? 0));
  expect(gaps).toEqual(gaps.toSorted((a, b) => a - b));
  expect(gaps.at(-1)).toBeGreaterThan(4 * (gaps[0] ?? Infinity));
});

test('one that is approved and not signed is said so', async () => {
  keep();
  await waits();
  signer.decide({ type: 'Approved' });
  await pass('it is said', () => warnings().length > 0);
  expect(warnings()[0]).toContain('--cluster-signing-cert-file');
});

test('a certificate of another key is not taken', async () => {
  keep();
  await waits();
  const other = await new CertificateStore(join(folder, 'other'), 'x').pendingKey();
  const { certificateRequest } =
    await import('../../../../src/kubelet/certificates/certificate-request.ts');
  const cert = signer.issue(certificateRequest(serving('n1').subject, other));
  signer.decide({ type: 'Approved' }, cert);
  await pass('it is said', () => warnings().length > 0);
  expect(warnings()[0]).toContain('was answered with one of another key');
  expect(await store.current()).toBeUndefined();
});

test('a server that does not answer, or refuses, is asked again', async () => {
  rig.server.inject({ on: 'create', type: 'status', status: 403 });
  rig.server.inject({ on: 'create', type: 'reset' });
  keep();
  await pass('a request waits', () => signer.waiting.length > 0);
  expect(told).toEqual(['asks', 'failed', 'asks', 'failed', 'asks']);
  expect(warnings()[0]).toContain('system:node-bootstrapper');
  await issue();
});

test('one that has ended is said so, and asked for in the way that is for that', async () => {
  keep();
  await issue();
  rig.server.inject({ on: 'create', type: 'status', status: 401, times: 1000 });
  await pass('it has ended', () => told.includes('asks, expired'), 12 * dayMs, dayMs / 8);
  await pass('it is said', () => warnings().join().includes('which has expired'));
  expect(warnings().at(-1)).toContain('serving certificate, which has expired: ');
});

test('a certificate for a short time is not followed by the next at once', async () => {
  keep({ current: async () => undefined });
  await issue();
  const { requests } = rig.server;
  const created = (): number => requests.filter(({ method }) => method === 'POST').length;
  expect(created()).toBe(1);
  await rig.clock.advance(9_000);
  expect(created()).toBe(1);
  await pass('the next', () => created() === 2);
});

test('one that cannot be read is said and waited for: it is not asked for anew', async () => {
  keep();
  const cert = await issue();
  const text = readFileSync(store.currentPath, 'utf8');
  rmSync(store.currentPath);
  mkdirSync(store.currentPath);
  await pass('it is said, and again', () => warnings().length > 2);
  expect(warnings()[2]).toContain('is not a file');
  rmSync(store.currentPath, { recursive: true });
  writeFileSync(store.currentPath, text);
  await rig.clock.advance(dayMs);
  expect(told).toEqual(['asks', 'former none', 'renewed']);
  expect((await store.current())?.cert).toBe(cert);
});

test('a request that waits goes on waiting while what counts cannot be read', async () => {
  let fails = false;
  keep({
    current: async () => (fails ? Promise.reject(new Error('EIO: i/o error')) : undefined),
  });
  await waits();
  fails = true;
  await pass('it is said', () => warnings().some((line) => line.includes('EIO')));
  await issue();
  expect(told).toEqual(['asks', 'former none', 'renewed']);
});

test('no key is in the log', async () => {
  keep();
  await issue();
  expect(readFileSync(store.currentPath, 'utf8')).toContain('PRIVATE KEY');
  expect(rig.lines.join('\n')).not.toMatch(/PRIVATE KEY|BEGIN/);
});

test('nothing is asked for until it is known for whom', async () => {
  wish = undefined;
  keep();
  await rig.clock.advance(30_000);
  expect(told).toEqual([]);
  wish = serving('n1');
  await pass('it asks', () => told.includes('asks'));
});
