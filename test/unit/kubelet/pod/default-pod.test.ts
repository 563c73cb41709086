// The defaults of a pod.
import { describe, expect, test } from 'vitest';
import { defaultPod } from '../../../../src/kubelet/pod/default-pod.ts';
import type { Container } from '../../../../src/kubelet/pod/container.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';

function podOf(spec: object): Pod {
  return defaultPod({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web' }, spec });
}

function container(raw: object, spec: object = {}): Container {
  const [first] = podOf({ ...spec, containers: [{ name: 'app', image: 'a', ...raw }] }).spec
    .containers;
  if (first === undefined) throw new Error('no container');
  return first;
}

test('of the pod', () => {
  const { metadata, spec } = podOf({ containers: [], dnsPolicy: null });
  expect(metadata).toEqual({
    name: 'web',
    namespace: 'default',
    uid: '',
    labels: {},
    annotations: {},
  });
  expect(spec).toEqual({
    nodeName: '',
    restartPolicy: 'Always',
    dnsPolicy: 'ClusterFirst',
    terminationGracePeriodSeconds: 30,
    schedulerName: 'default-scheduler',
    enableServiceLinks: true,
    shareProcessNamespace: false,
    hostNetwork: false,
    hostPID: false,
    hostIPC: false,
    securityContext: {},
    containers: [],
    initContainers: [],
    ephemeralContainers: [],
    volumes: [],
  });
});

test('of a container', () => {
  expect(container({})).toEqual({
    name: 'app',
    image: 'a',
    imagePullPolicy: 'Always',
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    ports: [],
    env: [],
    envFrom: [],
    resources: {},
    volumeMounts: [],
  });
});

test.for([
  ['busybox', 'Always'],
  ['busybox:latest', 'Always'],
  ['reg.test:5000/busybox', 'Always'],
  ['busybox:1', 'IfNotPresent'],
  ['reg.test:5000/busybox:1', 'IfNotPresent'],
  ['busybox@sha256:00', 'IfNotPresent'],
] as const)('%s is pulled %s', ([image, policy]) => {
  expect(container({ image }).imagePullPolicy).toBe(policy);
});

test('a port of the node network is one of the node', () => {
  const ports = [{ containerPort: 80 }];
  expect(container({ ports }).ports).toEqual([{ containerPort: 80, protocol: 'TCP' }]);
  expect(container({ ports }, { hostNetwork: true }).ports).toEqual([
    { containerPort: 80, hostPort: 80, protocol: 'TCP' },
  ]);
});

test('probes and hooks', () => {
  const { livenessProbe, lifecycle } = container({
    livenessProbe: { httpGet: { port: 80 }, periodSeconds: 3 },
    lifecycle: { preStop: { httpGet: { port: 'web', path: '/bye' } } },
  });
  expect(livenessProbe).toEqual({
    httpGet: { path: '/', port: 80, scheme: 'HTTP' },
    initialDelaySeconds: 0,
    timeoutSeconds: 1,
    periodSeconds: 3,
    successThreshold: 1,
    failureThreshold: 3,
  });
  expect(lifecycle).toEqual({
    preStop: { httpGet: { path: '/bye', port: 'web', scheme: 'HTTP' } },
  });
});

test('references to fields and resources', () => {
  const env = [
    { name: 'A', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
    { name: 'B', valueFrom: { resourceFieldRef: { resource: 'limits.cpu' } } },
  ];
  expect(container({ env }).env).toEqual([
    { name: 'A', valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.name' } } },
    { name: 'B', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '0' } } },
  ]);
});

describe('volumes', () => {
  test.for([
    [{}, { emptyDir: {} }],
    [{ emptyDir: { sizeLimit: 1024 } }, { emptyDir: { sizeLimit: '1024' } }],
    [{ hostPath: { path: '/a' } }, { hostPath: { path: '/a', type: '' } }],
    [{ configMap: { name: 'a' } }, { configMap: { name: 'a', defaultMode: 0o644 } }],
    [{ secret: { secretName: 'a' } }, { secret: { secretName: 'a', defaultMode: 0o644 } }],
    [
      { projected: { sources: [{ serviceAccountToken: { path: 't' } }] } },
      {
        projected: {
          defaultMode: 0o644,
          sources: [{ serviceAccountToken: { path: 't', expirationSeconds: 3600 } }],
        },
      },
    ],
    [{ csi: { driver: 'x' } }, { csi: { driver: 'x' } }],
  ] as const)('%j', ([source, whole]) => {
    const volumes = [{ name: 'v', ...source }];
    expect(podOf({ containers: [], volumes }).spec.volumes).toEqual([{ name: 'v', ...whole }]);
  });
});

test('what is there stays, and twice is as good as once', () => {
  const once = podOf({
    containers: [{ name: 'a', image: 'b', tty: true, unknown: 1 }],
    hostNetwork: true,
    restartPolicy: 'Never',
    schedulerName: 'mine',
  });
  expect(once.spec).toMatchObject({ restartPolicy: 'Never', schedulerName: 'mine' });
  expect(once.spec.containers[0]).toMatchObject({ tty: true, unknown: 1 });
  expect(defaultPod({ ...once })).toEqual(once);
});
