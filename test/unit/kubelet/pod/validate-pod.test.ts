// What is wrong with a manifest of a static pod, with the path of each field.
import { expect, test } from 'vitest';
import { problemsText, validatePod } from '../../../../src/kubelet/pod/validate-pod.ts';

const app = { name: 'app', image: 'busybox:1' };

function fields(spec: object, metadata: object = {}): readonly string[] {
  const raw = { metadata: { name: 'web', ...metadata }, spec: { containers: [app], ...spec } };
  return validatePod(raw).map(({ field }) => field);
}

test('a whole pod has no problems', () => {
  const volumes = [
    { name: 'data', emptyDir: { sizeLimit: '64Mi' } },
    {
      name: 'about',
      projected: { sources: [{ downwardAPI: { items: [] } }] },
    },
  ];
  const whole = {
    ...app,
    ports: [{ containerPort: 80, hostPort: 8080 }],
    env: [{ name: 'A.b-c', value: '1' }],
    resources: { limits: { cpu: 1, memory: '64Mi' } },
    volumeMounts: [{ name: 'data', mountPath: '/data', subPath: 'a/b' }],
    livenessProbe: { exec: { command: ['true'] } },
    lifecycle: { preStop: { sleep: { seconds: 1 } }, stopSignal: 'SIGRTMIN+3' },
  };
  const sidecar = {
    ...app,
    name: 'side',
    restartPolicy: 'Always',
    readinessProbe: { tcpSocket: { port: 'a' } },
  };
  const os = { name: 'linux' };
  expect(fields({ os, volumes, containers: [whole], initContainers: [sidecar] })).toEqual([]);
});

test.for([
  ['no pod', 'x', 'expected a Pod'],
  ['an empty one', {}, 'metadata.name: is missing; spec: is missing'],
  [
    'types, all of them',
    {
      metadata: { name: 5, labels: { a: 1 } },
      spec: { containers: [{ name: true }, 'x'], hostPID: 'no' },
    },
    'metadata.name: expected a text (quote it), got 5; metadata.labels[a]: expected a text (quote it), got 1; ' +
      'spec.containers[0].name: expected a text (quote it), got true; spec.containers[1]: expected a map, got "x"; ' +
      'spec.hostPID: expected true or false, got "no"',
  ],
] as const)('%s', ([, raw, text]) => {
  expect(problemsText(validatePod(raw))).toBe(text);
});

const at = 'spec.containers[0]';

test.for<readonly [string, object]>([
  ['spec.containers', { containers: [] }],
  [`${at}.image`, { containers: [{ name: 'a' }] }],
  [`${at}.name`, { containers: [{ image: 'a', name: 'A_b' }] }],
  ['spec.containers[1].name', { containers: [app, app] }],
  [`${at}.name`, { initContainers: [app] }],
  ['spec.restartPolicy', { restartPolicy: 'Sometimes' }],
  ['spec.terminationGracePeriodSeconds', { terminationGracePeriodSeconds: -1 }],
  ['spec.activeDeadlineSeconds', { activeDeadlineSeconds: 0 }],
  ['spec.dnsConfig.nameservers', { dnsPolicy: 'None' }],
  ['spec.hostname', { hostname: 'a.b' }],
  ['spec.hostAliases[0].ip', { hostAliases: [{ ip: 'x' }] }],
  ['spec.volumes[0]', { volumes: [{ name: 'v', emptyDir: {}, hostPath: { path: '/a' } }] }],
  ['spec.volumes[0].hostPath.path', { volumes: [{ name: 'v', hostPath: { path: '/a/../b' } }] }],
  [
    `${at}.resources.limits[cpu]`,
    { containers: [{ ...app, resources: { limits: { cpu: 'x' } } }] },
  ],
  [`${at}.ports[0].containerPort`, { containers: [{ ...app, ports: [{ containerPort: 0 }] }] }],
  [
    `${at}.ports[1].hostPort`,
    {
      containers: [
        { ...app, ports: [1, 2].map((containerPort) => ({ containerPort, hostPort: 9 })) },
      ],
    },
  ],
  [
    `${at}.ports[0].hostPort`,
    { hostNetwork: true, containers: [{ ...app, ports: [{ containerPort: 1, hostPort: 2 }] }] },
  ],
  [
    `${at}.volumeMounts[0].name`,
    { containers: [{ ...app, volumeMounts: [{ name: 'v', mountPath: '/a' }] }] },
  ],
  [`${at}.env[0].name`, { containers: [{ ...app, env: [{ name: 'a=b' }] }] }],
  [`${at}.livenessProbe`, { containers: [{ ...app, livenessProbe: {} }] }],
  [
    `${at}.startupProbe.successThreshold`,
    { containers: [{ ...app, startupProbe: { tcpSocket: { port: 1 }, successThreshold: 2 } }] },
  ],
  [
    'spec.initContainers[0].readinessProbe',
    { initContainers: [{ ...app, name: 'i', readinessProbe: { tcpSocket: { port: 1 } } }] },
  ],
  [`${at}.restartPolicy`, { containers: [{ ...app, restartPolicy: 'Never' }] }],
  [
    `${at}.lifecycle.stopSignal`,
    { os: { name: 'linux' }, containers: [{ ...app, lifecycle: { stopSignal: 'INT' } }] },
  ],
  [`${at}.lifecycle.stopSignal`, { containers: [{ ...app, lifecycle: { stopSignal: 'SIGINT' } }] }],
])('%s', ([field, spec]) => {
  expect(fields(spec)).toEqual([field]);
});

test.for([
  [{ name: 'Web' }, 'metadata.name'],
  [{ namespace: 'a.b' }, 'metadata.namespace'],
  [{ uid: '../../etc' }, 'metadata.uid'],
] as const)('%j', ([metadata, field]) => {
  expect(fields({}, metadata)).toEqual([field]);
});

test.for<readonly [object, readonly string[]]>([
  [{ serviceAccountName: 'a' }, ['spec.serviceAccountName']],
  [{ runtimeClassName: 'a' }, ['spec.runtimeClassName']],
  [{ imagePullSecrets: [{ name: 'a' }] }, ['spec.imagePullSecrets[0]']],
  [{ resourceClaims: [{ name: 'a' }] }, ['spec.resourceClaims[0]']],
  [{ volumes: [{ name: 'v', secret: { secretName: 'a' } }] }, ['spec.volumes[0].secret']],
  [{ volumes: [{ name: 'v', configMap: { name: 'a' } }] }, ['spec.volumes[0].configMap']],
  [
    { volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'a' } }] },
    ['spec.volumes[0].persistentVolumeClaim'],
  ],
  [
    { volumes: [{ name: 'v', azureFile: { secretName: 'a', shareName: 'b' } }] },
    ['spec.volumes[0].azureFile.secretName'],
  ],
  [
    {
      volumes: [
        { name: 'v', projected: { sources: [{ downwardAPI: {} }, { clusterTrustBundle: {} }] } },
      ],
    },
    ['spec.volumes[0].projected.sources[1].clusterTrustBundle'],
  ],
  [
    { containers: [{ ...app, envFrom: [{ configMapRef: { name: 'a' } }] }] },
    [`${at}.envFrom[0].configMapRef`],
  ],
  [
    {
      containers: [
        { ...app, env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 'a', key: 'b' } } }] },
      ],
    },
    [`${at}.env[0].valueFrom.secretKeyRef`],
  ],
])('a static pod refers to no object of the API: %j', ([spec, expected]) => {
  expect(fields(spec)).toEqual(expected);
});
