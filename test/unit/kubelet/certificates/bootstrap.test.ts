/** A node gets its first certificate and its kubeconfig, whatever ends it in between. */
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { aborted } from '../../../../src/informer/wakeup.ts';
import { runProgram } from '../../../../src/host/run-program.ts';
import { connectDirectly } from '../../../../src/informer/api-connection.ts';
import { bootstrapped } from '../../../../src/kubelet/certificates/bootstrap.ts';
import { certificateRequest } from '../../../../src/kubelet/certificates/certificate-request.ts';
import { CertificateStore } from '../../../../src/kubelet/certificates/certificate-store.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { apiRig, until } from '../support/api-rig.ts';
import type { ApiRig } from '../support/api-rig.ts';
import { Signer, requestsPath, writeBootstrapKubeconfig } from '../support/signer.ts';

const dayMs = 86_400_000;

let rig: ApiRig;
let signer: Signer;
let folder = '';
let kubeconfig = '';
let bootstrapKubeconfig = '';
let rotateClient = true;

beforeEach(async () => {
  rig = await apiRig();
  rig.clock.setDate(Date.now());
  folder = ownFolder('switchyard-bootstrap');
  signer = new Signer(folder, rig.server);
  rotateClient = true;
  kubeconfig = join(folder, 'etc/kubelet.conf');
  bootstrapKubeconfig = join(folder, 'bootstrap.conf');
  writeBootstrapKubeconfig(bootstrapKubeconfig, rig.server.url);
});

afterEach(async () => {
  await rig.stop();
  rmSync(folder, { recursive: true });
});

async function begin(signal: AbortSignal): Promise<void> {
  const { clock, log } = rig;
  await bootstrapped(
    {
      bootstrapKubeconfig,
      kubeconfig,
      rotateClient,
      nodeName: 'n1',
      store: new CertificateStore(join(folder, 'pki'), 'kubelet-client'),
      connect: connectDirectly({ clock, random: () => 0.5, env: {}, runProgram }),
      clock,
      random: () => 0.5,
      log,
    },
    signal,
  );
}

const waits = async (): Promise<void> => until('a request waits', () => signer.waiting.length > 0);

/** Starts it; `isDone` says whether it has ended well. */
function start(stop = new AbortController()): { isDone: () => boolean; end: Promise<unknown> } {
  let isOver = false;
  const end = begin(stop.signal).then(
    () => void (isOver = true),
    (error: unknown) => error,
  );
  rig.start(async (signal) => {
    await aborted(signal);
    stop.abort();
    await end;
  });
  return { isDone: () => isOver, end };
}

async function pass(what: string, is: () => boolean): Promise<void> {
  for (let step = 0; step < 200; step++) {
    for (let turn = 0; turn < 8; turn++) {
      if (is()) return;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await rig.clock.advance(500);
  }
  throw new Error(`never: ${what}; ${rig.lines.join('\n')}`);
}

test('a node without a kubeconfig gets one, for root alone, by the token that it has', async () => {
  const running = begin(new AbortController().signal);
  await waits();
  expect(rig.server.requests[0]?.headers.authorization).toBe('Bearer abcdef.0123456789abcdef');
  expect(signer.waiting[0]).toMatchObject({
    metadata: { name: expect.stringMatching(/^node-csr-/) as string },
    spec: {
      signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
      usages: ['digital signature', 'client auth'],
    },
  });
  expect(existsSync(kubeconfig)).toBe(false);
  const cert = signer.approve();
  await pass('the kubeconfig is there', () => existsSync(kubeconfig));
  await running;
  expect(statSync(kubeconfig).mode & 0o777).toBe(0o600);
  const current = join(folder, 'pki/kubelet-client-current.pem');
  expect(readFileSync(kubeconfig, 'utf8')).toContain(`client-certificate: ${current}`);
  expect(readFileSync(current, 'utf8')).toContain(cert.trim());
  expect(existsSync(join(folder, 'pki/kubelet-client.key.tmp'))).toBe(false);
});

test('one whose kubeconfig is good asks for nothing; one whose certificate has ended asks again', async () => {
  const first = begin(new AbortController().signal);
  await waits();
  signer.approve();
  await pass('the kubeconfig is there', () => existsSync(kubeconfig));
  await first;
  await begin(new AbortController().signal);
  expect(rig.server.objects(requestsPath)).toHaveLength(1);
  rig.clock.setDate(11 * dayMs);
  start();
  await waits();
  expect(rig.lines.filter((line) => line.includes('cannot be used yet'))).toHaveLength(2);
});

const data = (text: string): string => Buffer.from(text).toString('base64');

/** A kubeconfig that carries its certificate, good for 10 days, and one for 300 days of the store of the same key. */
async function renewed(commonName: string): Promise<void> {
  const store = new CertificateStore(join(folder, 'pki'), 'kubelet-client');
  const key = await store.pendingKey();
  const pem = certificateRequest({ organization: 'system:nodes', commonName, names: [] }, key);
  const user = {
    'client-certificate-data': data(signer.issue(pem)),
    'client-key-data': data(key.export({ type: 'sec1', format: 'pem' }).toString()),
  };
  writeKubeconfig(user);
  await store.keep(signer.issue(pem, 300), key, rig.clock.now());
  await store.dropPendingKey();
}

function writeKubeconfig(user: object): void {
  const value = {
    'current-context': 'a',
    clusters: [{ name: 'c', cluster: { server: rig.server.url } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'a', context: { cluster: 'c', user: 'u' } }],
  };
  mkdirSync(join(folder, 'etc'), { recursive: true });
  writeFileSync(kubeconfig, JSON.stringify(value));
}

test('one whose kubeconfig has ended asks for nothing where what came after it is good', async () => {
  await renewed('system:node:n1');
  const before = readFileSync(kubeconfig, 'utf8');
  rig.clock.setDate(11 * dayMs);
  await begin(new AbortController().signal);
  expect(rig.server.requests).toEqual([]);
  expect(readFileSync(kubeconfig, 'utf8')).toBe(before);
});

test.each([
  ['has ended too', async () => rig.clock.setDate(301 * dayMs)],
  ['is that of another node', async () => renewed('system:node:n2')],
  ['is not used', async () => void (rotateClient = false)],
  ['would not be used, as the kubeconfig has none', async () => writeKubeconfig({})],
  ['is of no use without a kubeconfig', async () => rmSync(kubeconfig)],
])('but asks where that one %s', async (_what, change) => {
  await renewed('system:node:n1');
  rig.clock.setDate(11 * dayMs);
  await change();
  start();
  await waits();
  expect(signer.waiting).toHaveLength(1);
});

test('without a bootstrap kubeconfig nothing is done', async () => {
  bootstrapKubeconfig = '';
  await begin(new AbortController().signal);
  expect(rig.server.requests).toEqual([]);
});

test('an agent that ends before the kubeconfig is written is followed by one that has the same answer', async () => {
  const stop = new AbortController();
  const { end } = start(stop);
  await waits();
  stop.abort();
  expect(await end).toBeInstanceOf(Error);
  signer.approve();
  const second = start();
  await pass('it has it', second.isDone);
  expect(rig.server.objects(requestsPath)).toHaveLength(1);
});

test('a bootstrap kubeconfig that cannot be read ends it, with the name of the file', async () => {
  writeFileSync(bootstrapKubeconfig, ': {');
  await expect(begin(new AbortController().signal)).rejects.toThrow(bootstrapKubeconfig);
});

test('a server that refuses is asked again, and a token is in no line of the log', async () => {
  rig.server.inject({ on: 'create', type: 'status', status: 401, times: 2 });
  const running = start();
  await pass('a request waits', () => signer.waiting.length > 0);
  expect(rig.lines.filter((line) => line.startsWith('warn first certificate: '))).toHaveLength(2);
  signer.approve();
  await pass('it has it', running.isDone);
  expect(rig.lines.join('\n')).not.toContain('0123456789abcdef');
});
