// How a manifest becomes a pod of this node.
import { expect, test } from 'vitest';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { readStaticPod } from '../../../../src/kubelet/sources/read-static-pod.ts';

const place = { source: 'file', place: '/etc/a.yaml', nodeName: 'Node-A' } as const;

function read(text: string, where: Parameters<typeof readStaticPod>[1] = place): Pod {
  return readStaticPod(text, where);
}

const web = `
apiVersion: v1
kind: Pod
metadata: { name: web, labels: { app: web } }
spec: { containers: [{ name: app, image: busybox:1 }] }
`;

test('it has the node in its name, and an UID of what it says', () => {
  const { metadata, spec, status } = read(web);
  expect(metadata).toMatchObject({
    name: 'web-node-a',
    namespace: 'default',
    labels: { app: 'web' },
  });
  expect(metadata.uid).toMatch(/^[0-9a-f]{32}$/);
  expect(metadata.annotations).toEqual({ 'kubernetes.io/config.hash': metadata.uid });
  expect(spec.nodeName).toBe('Node-A');
  expect(spec.restartPolicy).toBe('Always');
  expect(spec.tolerations).toEqual([{ operator: 'Exists', effect: 'NoExecute' }]);
  expect(status).toEqual({ phase: 'Pending' });
});

test('the UID is of the content, the file and the node', () => {
  const { uid } = read(web).metadata;
  const json = JSON.stringify({
    spec: { containers: [{ image: 'busybox:1', name: 'app' }] },
    metadata: { labels: { app: 'web' }, name: 'web' },
    kind: 'Pod',
    apiVersion: 'v1',
  });
  expect(read(json).metadata.uid).toBe(uid);
  const others = [
    read(web.replace('busybox:1', 'busybox:2')),
    read(web, { ...place, place: '/etc/b.yaml' }),
    read(web, { ...place, nodeName: 'node-b' }),
    read(web, { ...place, source: 'http' }),
  ].map(({ metadata }) => metadata.uid);
  expect(new Set([uid, ...others]).size).toBe(5);
});

test('an UID of its own stays, whatever else changes', () => {
  const own = web.replace('name: web,', 'name: web, uid: mine,');
  expect(read(own).metadata.uid).toBe('mine');
  expect(read(own).metadata.annotations['kubernetes.io/config.hash']).toBe('mine');
});

test('a pod of a URL tolerates what it says', () => {
  expect(read(web, { ...place, source: 'http' }).spec.tolerations).toBeUndefined();
});

test('the toleration is not there twice', () => {
  const tolerations = '[{ operator: Exists, effect: NoExecute }, { key: a, operator: Exists }]';
  const own = web.replace('spec: {', `spec: { tolerations: ${tolerations},`);
  expect(read(own).spec.tolerations).toEqual([
    { key: 'a', operator: 'Exists' },
    { operator: 'Exists', effect: 'NoExecute' },
  ]);
});

test.for([
  ['', 'is empty, expected one Pod'],
  [`${web}---${web}`, 'has 2 documents, expected one Pod'],
  ['apiVersion: v1\nkind: PodList\nitems: []', 'expected a v1 Pod, got v1 PodList'],
  ['[1]', 'expected a v1 Pod, got something else'],
  [web.replace('image', 'imago'), 'spec.containers[0].image: is missing'],
] as const)('%j: %s', ([text, reason]) => {
  expect(() => read(text)).toThrow(reason);
});

test('broken YAML says where', () => {
  expect(() => read('a: [')).toThrow(/not valid YAML.*line 1/);
});
