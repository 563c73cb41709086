// A node that has nothing but a token gets its certificates from a real control plane and keeps them renewed: those live a minute here.
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import type { KubeletProcess } from './kubelet-process.ts';
import type { NodeMachine } from './node-machine.ts';

const cluster = new KubeletCluster(['n1'], {
  apiServerFlags: ['--enable-bootstrap-token-auth=true'],
  signsFor: '60s',
});
const requestsPath = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const pods = '/api/v1/namespaces/default/pods';
const clientSigner = 'kubernetes.io/kube-apiserver-client-kubelet';
const servingSigner = 'kubernetes.io/kubelet-serving';

interface SigningRequest {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly signerName: string; readonly username: string };
  readonly status?: { readonly conditions?: readonly object[]; readonly certificate?: string };
}

let kubelet: KubeletProcess;

const machine = (): NodeMachine => {
  const [only] = cluster.nodes;
  if (only === undefined) throw new Error('no node');
  return only;
};
const pki = (file: string): string => join(machine().folder, 'pki', file);
const clientFile = (): string => readlinkSync(pki('kubelet-client-current.pem'));

beforeAll(async () => {
  await cluster.start([pauseImage(), busyboxImage()]);
  await cluster.control.must('POST', '/api/v1/namespaces/kube-system/secrets', {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'bootstrap-token-abcdef' },
    type: 'bootstrap.kubernetes.io/token',
    stringData: {
      'token-id': 'abcdef',
      'token-secret': '0123456789abcdef',
      'usage-bootstrap-authentication': 'true',
    },
  });
  await cluster.bindGroup('system:bootstrappers', 'system:node-bootstrapper');
  kubelet = cluster.newcomer(machine(), 'abcdef.0123456789abcdef', {
    configuration: { rotateCertificates: true, serverTLSBootstrap: true },
  });
  kubelet.start();
});

afterAll(async () => {
  await kubelet.stop();
  await cluster.stop();
});

async function requests(signer: string): Promise<readonly SigningRequest[]> {
  const list = await cluster.get<{ readonly items: readonly SigningRequest[] }>(requestsPath);
  return (list?.items ?? []).filter(({ spec }) => spec.signerName === signer);
}

/** As `kubectl certificate approve`, of all that wait. */
async function approve(signer: string): Promise<void> {
  const waiting = (await requests(signer)).filter(({ status }) => status?.conditions === undefined);
  for (const request of waiting) {
    const condition = { type: 'Approved', status: 'True', reason: 'Test', message: 'by hand' };
    const path = `${requestsPath}/${request.metadata.name}/approval`;
    await cluster.control.must('PUT', path, { ...request, status: { conditions: [condition] } });
  }
}

/** Whether the API server reaches the kubelet: it trusts nothing but what the cluster has signed. */
async function isReached(): Promise<boolean> {
  const answer = await cluster.control.request('GET', '/api/v1/nodes/n1/proxy/healthz');
  return answer.status === 200;
}

async function isReady(): Promise<boolean> {
  type Node = { status: { conditions?: { type: string; status: string }[] } };
  const node = await cluster.get<Node>('/api/v1/nodes/n1');
  return (node?.status.conditions ?? []).some(
    (each) => each.type === 'Ready' && each.status === 'True',
  );
}

async function runPod(name: string): Promise<void> {
  await cluster.control.must('POST', pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      nodeName: 'n1',
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'main',
          image: 'local/busybox:1',
          imagePullPolicy: 'Never',
          command: ['sh', '-c', `echo ${name}; exec sleep 1000`],
        },
      ],
    },
  });
  type Pod = { status: { phase?: string } };
  await kubelet.until(`${name} runs`, async () => {
    return (await cluster.get<Pod>(`${pods}/${name}`))?.status.phase === 'Running';
  });
}

describe('a node with nothing but a token', () => {
  it('asks, says who has to approve, and asks for nothing else after a crash', async () => {
    await kubelet.until('it is said', () =>
      kubelet.log.includes('kubectl certificate approve node-csr-'),
    );
    const [first, ...more] = await requests(clientSigner);
    expect(first?.spec.username).toBe('system:bootstrap:abcdef');
    expect(more).toEqual([]);
    await kubelet.kill();
    kubelet.start();
    const times = (): number => kubelet.log.split('asked for a certificate').length - 1;
    await kubelet.until('it asks again', () => times() === 2);
    expect(await requests(clientSigner)).toHaveLength(1);
  });

  it('is a node when that is approved, with files for root alone', async () => {
    await approve(clientSigner);
    await kubelet.until('the node is ready', isReady);
    const current = readFileSync(pki('kubelet-client-current.pem'), 'utf8');
    expect(new X509Certificate(current).subject).toBe('O=system:nodes\nCN=system:node:n1');
    for (const file of [pki('kubelet-client-current.pem'), join(machine().folder, 'kubelet.conf')])
      expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(machine().folder, 'kubelet.conf'), 'utf8')).not.toMatch(
      /token|abcdef/,
    );
  });

  it('is reached by the API server once its serving certificate is approved', async () => {
    await kubelet.until('it asks', async () => (await requests(servingSigner)).length > 0);
    expect(await isReached()).toBe(false);
    await approve(servingSigner);
    await kubelet.until('it is reached', isReached);
    await cluster.control.until('pods may be made', async () => cluster.hasAccount());
    await runPod('first');
    const log = await cluster.control.request('GET', `${pods}/first/log`);
    expect(log).toMatchObject({ status: 200, text: 'first\n' });
  });
});

describe('certificates that end', () => {
  it('are followed by others: what is asked of the API server, and of the kubelet, goes on', async () => {
    const group = 'system:certificates.k8s.io:certificatesigningrequests';
    await cluster.bindGroup('system:nodes', `${group}:selfnodeclient`);
    const files = new Set<string>();
    const serials = new Set<string>();
    const old = new X509Certificate(readFileSync(pki('kubelet-client-current.pem'), 'utf8'));
    await kubelet.until('each was renewed, and the first one has ended', async () => {
      await approve(servingSigner);
      files.add(clientFile());
      serials.add(
        new X509Certificate(readFileSync(pki('kubelet-server-current.pem'))).serialNumber,
      );
      return files.size > 1 && serials.size > 1 && Date.parse(old.validTo) < Date.now();
    });
    const current = new X509Certificate(readFileSync(pki('kubelet-client-current.pem'), 'utf8'));
    expect(Date.parse(current.validTo)).toBeGreaterThan(Date.now());
    await runPod('second');
    await kubelet.until('it is reached', async () => {
      await approve(servingSigner);
      return isReached();
    });
    const byNode = (await requests(clientSigner)).filter(
      ({ spec }) => spec.username === 'system:node:n1',
    );
    expect(byNode.length).toBeGreaterThan(0);
    expect(await isReady()).toBe(true);
    expect(kubelet.log).not.toMatch(/cannot (?:list|watch)/);
  });

  it('are counted', async () => {
    await approve(servingSigner);
    await kubelet.until('it is reached', isReached);
    const { text } = await cluster.control.request('GET', '/api/v1/nodes/n1/proxy/metrics');
    const value = (name: string): number =>
      Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1] ?? NaN);
    expect(value('kubelet_certificate_manager_client_ttl_seconds')).toBeLessThanOrEqual(60);
    expect(value('kubelet_certificate_manager_server_rotation_seconds_count')).toBeGreaterThan(0);
  });
});
