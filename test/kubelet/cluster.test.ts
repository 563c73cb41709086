// The cluster that the kubelet is tested on is as strict as it says: what a node's certificate is allowed, and nothing else.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { request } from 'node:https';
import { readFileSync } from 'node:fs';
import { KubeletCluster } from './kubelet-cluster.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { fabricAddress } from './node-machine.ts';

const cluster = new KubeletCluster(['n1']);

beforeAll(async () => {
  await cluster.start([pauseImage(), busyboxImage()]);
});

afterAll(async () => {
  await cluster.stop();
});

/** As the node n1. */
async function asNode(method: string, path: string, value?: object): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        host: fabricAddress,
        port: 6443,
        method,
        path,
        ca: cluster.control.certificate,
        cert: readFileSync('/run/sy/pki/node-n1.crt'),
        key: readFileSync('/run/sy/pki/node-n1.key'),
        headers: { 'content-type': 'application/json' },
      },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    call.once('error', reject);
    call.end(value === undefined ? undefined : JSON.stringify(value));
  });
}

const node = (name: string): object => ({ apiVersion: 'v1', kind: 'Node', metadata: { name } });

describe('a node', () => {
  it('may make its own Node object and no other’s', async () => {
    for (const each of cluster.nodes) cluster.kubelet(each);
    expect(await asNode('POST', '/api/v1/nodes', node('n2'))).toBe(403);
    expect(await asNode('POST', '/api/v1/nodes', node('n1'))).toBe(201);
  });

  it('may not list secrets', async () => {
    expect(await asNode('GET', '/api/v1/secrets')).toBe(403);
    expect(await asNode('GET', '/api/v1/services')).toBe(200);
  });
});

describe('the controllers', () => {
  it('give the namespace its account and the root certificate', async () => {
    await cluster.control.until('there is a default account', async () => cluster.hasAccount());
    await cluster.control.until('there is kube-root-ca.crt', async () =>
      cluster.get('/api/v1/namespaces/default/configmaps/kube-root-ca.crt').then(Boolean),
    );
  });
});
