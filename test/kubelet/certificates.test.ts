// A node that has nothing but a token gets its certificates from a real control plane and keeps them renewed: those live a minute here.
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AuditLog, auditName, certificateOf } from './audit-log.ts';
import type { AuditEvent } from './audit-log.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import type { KubeletProcess } from './kubelet-process.ts';
import type { NodeMachine } from './node-machine.ts';

const audit = new AuditLog();
const cluster = new KubeletCluster(['n1', 'n2'], {
  apiServerFlags: ['--enable-bootstrap-token-auth=true', ...audit.flags],
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

const machine = (name = 'n1'): NodeMachine =>
  cluster.nodes.find((each) => each.name === name) ?? expect.fail(`no node ${name}`);
const pki = (file: string): string => join(machine().folder, 'pki', file);
const clientFile = (): string => readlinkSync(pki('kubelet-client-current.pem'));

beforeAll(async () => {
  audit.prepare({ users: ['system:node:n2'] });
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

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly lastTransitionTime: string;
}

/** Of the Node's conditions the one that pods are placed by. */
async function readiness(name: string): Promise<Condition | undefined> {
  type Node = { status: { conditions?: Condition[] } };
  const node = await cluster.get<Node>(`/api/v1/nodes/${name}`);
  return (node?.status.conditions ?? []).find(({ type }) => type === 'Ready');
}

async function isReady(name = 'n1'): Promise<boolean> {
  return (await readiness(name))?.status === 'True';
}

async function runPod(name: string, nodeName = 'n1', by = kubelet): Promise<void> {
  await cluster.control.must('POST', pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      nodeName,
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
  await by.until(`${name} runs`, async () => {
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
    await kubelet.until('the node is ready', async () => isReady());
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

/** What n2 has asked so far. */
const asked = (): readonly AuditEvent[] =>
  audit.events().filter(({ stage }) => stage === 'RequestReceived');

/** By which certificates. */
const shown = (events: readonly AuditEvent[]): readonly unknown[] => [
  ...new Set(events.map(certificateOf)),
];

describe('a client certificate that somebody else puts there', () => {
  let first: X509Certificate;
  let other: KubeletProcess;

  beforeAll(() => {
    first = cluster.renewClient(machine('n2'));
    other = cluster.ofKubeadm(machine('n2'), { configuration: { rotateCertificates: true } });
    other.start();
  });

  afterAll(async () => {
    await other.stop();
  });

  it('counts from the next request on: nothing is started anew, and nothing missed', async () => {
    await other.until('the node is ready', async () => isReady('n2'));
    await runPod('third', 'n2', other);
    expect(shown(asked())).toEqual([auditName(first)]);
    const lists = (): readonly AuditEvent[] =>
      asked().filter(({ verb, objectRef }) => verb === 'list' && objectRef?.resource === 'pods');
    const listed = lists().length;
    expect(listed).toBeGreaterThan(0);
    const ready = await readiness('n2');

    const second = cluster.renewClient(machine('n2'));
    expect(second.subject).toBe(first.subject);
    expect(second.serialNumber).not.toBe(first.serialNumber);
    await other.until('a request comes with it', () => shown(asked()).includes(auditName(second)));
    await runPod('fourth', 'n2', other);
    await cluster.control.must('DELETE', `${pods}/third`);
    await other.until(
      'a pod is gone',
      async () => (await cluster.get(`${pods}/third`)) === undefined,
    );
    const since = asked().length;
    await other.until('the lease is renewed twice', () => {
      const leases = asked().slice(since);
      return leases.filter(({ objectRef }) => objectRef?.resource === 'leases').length >= 2;
    });
    expect(shown(asked().slice(since))).toEqual([auditName(second)]);
    // Whose watch is lost lists anew.
    expect(lists()).toHaveLength(listed);
    expect(await readiness('n2')).toMatchObject({
      status: 'True',
      lastTransitionTime: ready?.lastTransitionTime,
    });
    expect(other.log).not.toMatch(/cannot (?:list|watch)/);
  });
});
