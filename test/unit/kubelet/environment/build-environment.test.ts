/** The variables of a container: where they come from, which wins, and what is refused. */
import { describe, expect, it } from 'vitest';

import { ContainerEnvironment } from '../../../../src/kubelet/environment/build-environment.ts';
import type { Container } from '../../../../src/kubelet/pod/container.ts';
import { quantityOf } from '../../../../src/kubelet/pod/quantity.ts';
import { container, pod } from '../support/pods.ts';
import { knownObjects } from '../support/known-objects.ts';

const { signal } = new AbortController();
const addresses = { podIPs: ['10.244.1.7', 'fd00::7'], hostIPs: ['10.89.0.11'] };
const node: Readonly<Record<string, string>> = { cpu: '1500m', memory: '1000Mi' };

const services = [
  {
    meta: { namespace: 'shop', name: 'db', uid: '', createdAtMs: 0 },
    clusterIP: '10.96.3.4',
    ports: [{ name: '', protocol: 'TCP', port: 5432, nodePort: 0 }],
  },
];

const objects = knownObjects({
  configMaps: { 'shop/settings': { COLOR: 'red', SIZE: '7', 'no.name': 'x' } },
  secrets: { 'shop/keys': { KEY: 'geheim', COLOR: 'blue' } },
});

const environment = new ContainerEnvironment({
  objects,
  services: () => services,
  allocatable: (resource) => {
    const amount = node[resource];
    return amount === undefined ? undefined : quantityOf(amount);
  },
});

async function built(changes: Partial<Container>, spec = {}): Promise<readonly string[]> {
  const own = container(changes);
  const metadata = { labels: { tier: 'front' }, annotations: { note: 'a "b"' } };
  const of = pod({ containers: [own], enableServiceLinks: false, ...spec }, metadata);
  const values = await environment.build(of, own, addresses, signal);
  return values.map(({ name, value }) => `${name}=${value}`);
}

const field = (name: string, fieldPath: string): Container['env'][number] => ({
  name,
  valueFrom: { fieldRef: { fieldPath } },
});
const resource = (name: string, of: string, divisor?: string): Container['env'][number] => ({
  name,
  valueFrom: { resourceFieldRef: { resource: of, ...(divisor !== undefined && { divisor }) } },
});

describe('variables of a container', () => {
  it('come from whole objects first, then its own; later ones win', async () => {
    const found = await built({
      envFrom: [
        { configMapRef: { name: 'settings' } },
        { secretRef: { name: 'keys' } },
        { prefix: 'P_', configMapRef: { name: 'settings' } },
        { configMapRef: { name: 'none', optional: true } },
      ],
      env: [
        { name: 'SIZE', value: 'XL' },
        { name: 'P_SIZE', value: '$(P_SIZE)+' },
      ],
    });
    expect(found).toEqual([
      'COLOR=blue',
      'SIZE=XL',
      'no.name=x',
      'KEY=geheim',
      'P_COLOR=red',
      'P_SIZE=7+',
      'P_no.name=x',
    ]);
  });

  it('are expanded with what was declared before and with services, but not what comes from elsewhere', async () => {
    const found = await built(
      {
        env: [
          { name: 'A', value: '$(B)' },
          { name: 'B', value: '1' },
          { name: 'C', value: '$(B)-$(DB_SERVICE_HOST)-$$(B)' },
          { name: 'DB_SERVICE_PORT', value: 'mine' },
          { name: 'EMPTY' },
        ],
      },
      { enableServiceLinks: true },
    );
    expect(found.slice(0, 6)).toEqual([
      'A=$(B)',
      'B=1',
      'C=1-10.96.3.4-$(B)',
      'DB_SERVICE_PORT=mine',
      'EMPTY=',
      'DB_SERVICE_HOST=10.96.3.4',
    ]);
    expect(found).not.toContain('DB_SERVICE_PORT=5432');
  });

  it('refer to fields of the pod', async () => {
    const env = [
      field('NAME', 'metadata.name'),
      field('NAMESPACE', 'metadata.namespace'),
      field('UID', 'metadata.uid'),
      field('TIER', "metadata.labels['tier']"),
      field('NONE', "metadata.labels['constructor']"),
      field('NOTE', "metadata.annotations['note']"),
      field('NODE', 'spec.nodeName'),
      field('ACCOUNT', 'spec.serviceAccountName'),
      field('IP', 'status.podIP'),
      field('IPS', 'status.podIPs'),
      field('HOST', 'status.hostIP'),
      field('HOSTS', 'status.hostIPs'),
    ];
    expect(await built({ env }, { serviceAccountName: 'robot' })).toEqual([
      'NAME=web',
      'NAMESPACE=shop',
      'UID=uid-1',
      'TIER=front',
      'NONE=',
      'NOTE=a "b"',
      'NODE=n1',
      'ACCOUNT=robot',
      'IP=10.244.1.7',
      'IPS=10.244.1.7,fd00::7',
      'HOST=10.89.0.11',
      'HOSTS=10.89.0.11',
    ]);
  });

  it("have the node's address with the node's network", async () => {
    const own = container({ env: [field('IP', 'status.podIP')] });
    const of = pod({ hostNetwork: true, enableServiceLinks: false });
    const values = await environment.build(of, own, { ...addresses, podIPs: [] }, signal);
    expect(values).toEqual([{ name: 'IP', value: '10.89.0.11' }]);
  });

  it('refer to resources, rounded up; without a limit to what the node can give', async () => {
    const env = [
      resource('CPU', 'limits.cpu'),
      resource('MILLI', 'limits.cpu', '1m'),
      resource('ASKED', 'requests.cpu', '1m'),
      resource('MEMORY', 'limits.memory', '1Mi'),
      resource('BYTES', 'requests.memory', '0'),
      resource('DISK', 'requests.ephemeral-storage'),
    ];
    const resources = { requests: { cpu: '250m', memory: '1Ki' }, limits: { memory: '1500Ki' } };
    expect(await built({ env, resources })).toEqual([
      'CPU=2',
      'MILLI=1500',
      'ASKED=250',
      'MEMORY=2',
      'BYTES=1024',
      'DISK=0',
    ]);
    expect(await built({ env: [resource('MEMORY', 'limits.memory', '1Mi')] })).toEqual([
      'MEMORY=1000',
    ]);
  });

  it('are left out where what they refer to is optional and not there', async () => {
    const env = [
      { name: 'A', valueFrom: { configMapKeyRef: { name: 'none', key: 'x', optional: true } } },
      { name: 'B', valueFrom: { secretKeyRef: { name: 'keys', key: 'x', optional: true } } },
      { name: 'C', valueFrom: { secretKeyRef: { name: 'keys', key: 'KEY' } } },
    ];
    expect(await built({ env })).toEqual(['C=geheim']);
  });

  it.each([
    [{ configMapKeyRef: { name: 'none', key: 'x' } }, 'configmap "none" not found'],
    [{ secretKeyRef: { name: 'none', key: 'x' } }, 'secret "none" not found'],
    [
      { configMapKeyRef: { name: 'settings', key: 'x' } },
      "couldn't find key x in ConfigMap shop/settings",
    ],
    [
      { secretKeyRef: { name: 'keys', key: 'constructor' } },
      "couldn't find key constructor in Secret shop/keys",
    ],
    [{ fieldRef: { fieldPath: 'metadata.labels' } }, 'unsupported fieldPath: metadata.labels'],
    [
      { resourceFieldRef: { resource: 'limits.gpu' } },
      'unsupported container resource : limits.gpu',
    ],
  ])('%j: %s', async (valueFrom, message) => {
    await expect(built({ env: [{ name: 'A', valueFrom }] })).rejects.toThrow(message);
  });

  it('wait for services but in a static pod, and know no objects without an API server', async () => {
    const sources = { services: () => undefined, allocatable: () => undefined, objects };
    const early = new ContainerEnvironment(sources);
    const fromApi = pod({}, { annotations: { 'kubernetes.io/config.source': 'api' } });
    await expect(early.build(fromApi, container(), addresses, signal)).rejects.toThrow(
      'services have not yet been read at least once, cannot construct envvars',
    );
    const fixed = pod({}, { annotations: { 'kubernetes.io/config.source': 'file' } });
    expect(await early.build(fixed, container(), addresses, signal)).toEqual([]);
    const alone = new ContainerEnvironment({ ...sources, services: () => [], objects: undefined });
    const own = container({ envFrom: [{ configMapRef: { name: 'settings' } }] });
    await expect(alone.build(pod(), own, addresses, signal)).rejects.toThrow(
      "couldn't get configMap shop/settings, no kubeClient defined",
    );
  });
});
