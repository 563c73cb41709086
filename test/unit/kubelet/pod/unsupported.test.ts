// Fields that this kubelet cannot honour are named before anything is run.
import { expect, test } from 'vitest';
import { defaultPod } from '../../../../src/kubelet/pod/default-pod.ts';
import { fewestFeatures, unsupportedFields } from '../../../../src/kubelet/pod/unsupported.ts';

const app = { name: 'app', image: 'a' };

function fields(spec: object, features = fewestFeatures): readonly string[] {
  const pod = defaultPod({ metadata: { name: 'web' }, spec: { containers: [app], ...spec } });
  return unsupportedFields(pod, features).map(({ field }) => field);
}

test('what a usual pod has is supported', () => {
  expect(
    fields({
      volumes: [
        { name: 'a', emptyDir: { medium: 'Memory' } },
        { name: 'b', configMap: { name: 'x' } },
        {
          name: 'c',
          projected: {
            sources: [{ serviceAccountToken: { path: 't' } }, { secret: { name: 's' } }],
          },
        },
      ],
      containers: [
        {
          ...app,
          resources: { limits: { cpu: '1', memory: '1Gi', 'ephemeral-storage': '1Gi' } },
          volumeMounts: [
            { name: 'a', mountPath: '/a', readOnly: true, recursiveReadOnly: 'IfPossible' },
          ],
          ports: [{ containerPort: 80, hostPort: 80 }],
        },
      ],
      initContainers: [{ ...app, name: 'side', restartPolicy: 'Always' }],
      hostUsers: true,
    }),
  ).toEqual([]);
});

const at = 'spec.containers[0]';

test.for<readonly [string, object]>([
  ['spec.hostUsers', { hostUsers: false }],
  ['spec.resourceClaims', { resourceClaims: [{ name: 'gpu' }] }],
  ['spec.volumes[0].csi', { volumes: [{ name: 'v', csi: { driver: 'd' } }] }],
  ['spec.volumes[0].ephemeral', { volumes: [{ name: 'v', ephemeral: {} }] }],
  ['spec.volumes[0].image', { volumes: [{ name: 'v', image: { reference: 'd' } }] }],
  [
    'spec.volumes[0].emptyDir.medium',
    { volumes: [{ name: 'v', emptyDir: { medium: 'HugePages-2Mi' } }] },
  ],
  [
    'spec.volumes[0].projected.sources[0].clusterTrustBundle',
    { volumes: [{ name: 'v', projected: { sources: [{ clusterTrustBundle: { path: 'x' } }] } }] },
  ],
  [
    `${at}.resources.claims`,
    { containers: [{ ...app, resources: { claims: [{ name: 'gpu' }] } }] },
  ],
  [
    `${at}.volumeDevices`,
    { containers: [{ ...app, volumeDevices: [{ name: 'x', devicePath: '/x' }] }] },
  ],
  [`${at}.lifecycle.stopSignal`, { containers: [{ ...app, lifecycle: { stopSignal: 'SIGINT' } }] }],
  [`${at}.restartPolicy`, { containers: [{ ...app, restartPolicy: 'Never' }] }],
  [
    `${at}.volumeMounts[0].recursiveReadOnly`,
    {
      containers: [
        { ...app, volumeMounts: [{ name: 'a', mountPath: '/a', recursiveReadOnly: 'Enabled' }] },
      ],
    },
  ],
])('%s', ([field, spec]) => {
  expect(fields(spec)).toEqual([field]);
});

test('devices by both their limit and the request that comes of it', () => {
  const resources = { limits: { 'nvidia.com/gpu': 1, 'hugepages-2Mi': '4Mi' } };
  expect(fields({ initContainers: [{ ...app, name: 'i', resources }] })).toEqual([
    'spec.initContainers[0].resources.limits[nvidia.com/gpu]',
    'spec.initContainers[0].resources.limits[hugepages-2Mi]',
    'spec.initContainers[0].resources.requests[nvidia.com/gpu]',
    'spec.initContainers[0].resources.requests[hugepages-2Mi]',
  ]);
});

test.for([
  ['SIGRTMIN+3', []],
  ['SIGNO', [`${at}.lifecycle.stopSignal`]],
] as const)(
  'a runtime that takes signals to stop by gets those that there are: %s',
  ([stopSignal, found]) => {
    const able = { ...fewestFeatures, stopSignals: true };
    expect(fields({ containers: [{ ...app, lifecycle: { stopSignal } }] }, able)).toEqual(found);
  },
);

test('a runtime that has recursive read-only mounts gets them', () => {
  const volumeMounts = [{ name: 'a', mountPath: '/a', recursiveReadOnly: 'Enabled' }];
  const able = { ...fewestFeatures, recursiveReadOnlyMounts: true };
  expect(fields({ containers: [{ ...app, volumeMounts }] }, able)).toEqual([]);
});
