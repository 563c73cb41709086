// Which client certificate the API server is spoken to with: the newest of the kubeconfig and the node's own folder, whenever one of them changes.
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ObjectApi } from '../../../../src/kubelet/api/object-api.ts';
import { CertificateStore } from '../../../../src/kubelet/certificates/certificate-store.ts';
import { NodeCertificates } from '../../../../src/kubelet/parts/node-certificates.ts';
import { KubeletMetrics } from '../../../../src/telemetry/kubelet-metrics.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { apiRig, until } from '../support/api-rig.ts';
import type { ApiRig } from '../support/api-rig.ts';
import { kubeconfigUser, nodePair } from '../support/node-pair.ts';
import type { NodePair } from '../support/node-pair.ts';
import { Signer } from '../support/signer.ts';

const dayMs = 86_400_000;
const beginMs = Date.UTC(2030, 0, 10);

let rig: ApiRig;
let folder = '';
let kubeconfig = '';
let store: CertificateStore;
let signer: Signer;
/** The file that requests are made with, or the kubeconfig, each time it became another. */
let used: string[] = [];

beforeEach(async () => {
  rig = await apiRig();
  rig.clock.setDate(beginMs);
  folder = ownFolder('switchyard-node-certificates');
  kubeconfig = join(folder, 'kubeconfig');
  signer = new Signer(folder, rig.server);
  store = new CertificateStore(join(folder, 'pki'), 'kubelet-client');
  used = ['kubeconfig'];
});

afterEach(async () => {
  await rig.stop();
  rmSync(folder, { recursive: true });
});

/** Of the node; days from the beginning. */
function issued(fromDay: number, toDay: number): NodePair {
  return nodePair('n1', beginMs + fromDay * dayMs, beginMs + toDay * dayMs);
}

/** As an operator does. */
function writeKubeconfig(pair: NodePair): void {
  const user = kubeconfigUser(pair);
  const value = {
    'current-context': 'c',
    clusters: [{ name: 'c', cluster: { server: rig.server.url } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
  };
  writeFileSync(kubeconfig, JSON.stringify(value));
}

async function open(): Promise<NodeCertificates> {
  const { client, clock, log } = rig;
  return NodeCertificates.open(
    {
      nodeName: 'n1',
      config: {
        certDir: join(folder, 'pki'),
        kubeconfig,
        certificates: { bootstrapKubeconfig: '', rotateClient: true, serving: false },
      },
      connect: async () => Promise.reject(new Error('there is nothing to bootstrap')),
      api: {
        objects: (apiVersion, resource) => new ObjectApi(client, clock, { apiVersion, resource }),
        useClientFile: async (path) => {
          const what = path ?? 'kubeconfig';
          if (what !== used.at(-1)) used.push(what);
        },
      },
      metrics: new KubeletMetrics({ version: '0.0.0', nodeName: 'n1' }),
      random: () => 0.5,
      clock,
      log,
    },
    { addresses: [] },
  );
}

async function pass(what: string, is: () => boolean, stepMs: number): Promise<void> {
  for (let step = 0; step < 100 && !is(); step++) {
    await rig.clock.advance(stepMs);
    for (let turn = 0; turn < 8 && !is(); turn++)
      await new Promise((resolve) => setTimeout(resolve, 1));
  }
  expect(is(), what).toBe(true);
}

test('a kubeconfig with a newer certificate counts within a minute, and as long as it is good', async () => {
  const kept = issued(0, 10);
  await store.keep(kept.cert, kept.key, beginMs);
  writeKubeconfig(issued(-5, 5));
  const own = await open();
  expect(used).toEqual(['kubeconfig', store.currentPath]);
  rig.start(async (signal) => own.run(signal));
  await rig.clock.advance(dayMs);
  expect(used).toHaveLength(2);
  writeKubeconfig(issued(1, 3));
  await rig.clock.advance(60_000);
  await until('the kubeconfig counts', () => used.at(-1) === 'kubeconfig');
  expect(signer.waiting).toEqual([]);
  writeKubeconfig(issued(-5, 5));
  await rig.clock.advance(60_000);
  await until('the own file counts', () => used.at(-1) === store.currentPath);
  expect(signer.waiting).toEqual([]);
});

test('it counts while a request waits for somebody who approves it, too', async () => {
  const kept = issued(-9, 1);
  await store.keep(kept.cert, kept.key, beginMs);
  writeKubeconfig(issued(-20, -10));
  const own = await open();
  rig.start(async (signal) => own.run(signal));
  await until('a request waits', () => signer.waiting.length > 0);
  expect(used).toEqual(['kubeconfig', store.currentPath]);
  writeKubeconfig(issued(0, 10));
  await pass('the kubeconfig counts', () => used.at(-1) === 'kubeconfig', 1000);
  await pass('it is said', () => rig.lines.some((line) => line.includes('any more')), 1000);
});

const warned = (text: string): number =>
  rig.lines.filter((line) => line.startsWith('warn') && line.includes(text)).length;

test('a kubeconfig that cannot be read is said, and the own file counts meanwhile', async () => {
  const kept = issued(0, 10);
  await store.keep(kept.cert, kept.key, beginMs);
  writeKubeconfig(issued(1, 11));
  rig.clock.setDate(dayMs);
  const own = await open();
  rig.start(async (signal) => own.run(signal));
  await rig.clock.advance(60_000);
  expect(used).toEqual(['kubeconfig']);
  writeFileSync(kubeconfig, ': {');
  await pass('the own file counts', () => used.at(-1) === store.currentPath, 10_000);
  expect(warned(`goes on by ${store.currentPath}: `)).toBe(1);
  expect(rig.server.requests).toEqual([]);
});

test.each([
  ['there is none', undefined],
  ['it has ended', issued(-9, -1)],
])('where %s a kubeconfig that cannot be read is waited for', async (_what, kept) => {
  if (kept !== undefined) await store.keep(kept.cert, kept.key, beginMs);
  const given = issued(0, 10);
  writeKubeconfig(given);
  const own = await open();
  rig.start(async (signal) => own.run(signal));
  rmSync(kubeconfig);
  await pass('it is said, and again', () => warned('client certificate: ') > 2, 10_000);
  writeKubeconfig(given);
  await rig.clock.advance(dayMs);
  expect(rig.server.requests).toEqual([]);
  expect(used).toEqual(['kubeconfig']);
});
