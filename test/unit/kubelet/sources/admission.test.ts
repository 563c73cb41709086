// Which pods are let onto the node, and upstream's reasons where not.
import { expect, test } from 'vitest';
import { defaultPod } from '../../../../src/kubelet/pod/default-pod.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { amountsOf } from '../../../../src/kubelet/pod/resources.ts';
import { rejection } from '../../../../src/kubelet/sources/admission.ts';
import type { AdmissionNode } from '../../../../src/kubelet/sources/admission.ts';

const node: AdmissionNode = {
  name: 'n1',
  labels: { 'kubernetes.io/os': 'linux', zone: 'a', size: '5' },
  taints: [],
  allocatable: amountsOf({ cpu: '1', memory: '1Gi', pods: '2' }),
  pressures: new Set(),
  allowedUnsafeSysctls: ['kernel.msg*'],
  isShuttingDown: false,
  hasAppArmor: false,
  hasGroupsPolicy: false,
};

function pod(spec: object = {}, annotations: object = {}): Pod {
  return defaultPod({
    metadata: { name: 'web', annotations },
    spec: { nodeName: 'n1', containers: [{ name: 'a', image: 'b' }], ...spec },
  });
}

function asking(requests: object, ports: readonly object[] = []): object {
  return { containers: [{ name: 'a', image: 'b', resources: { requests }, ports }] };
}

function withPorts(...ports: readonly object[]): Pod {
  return pod(asking({}, ports));
}

function reason(
  one: Pod,
  change: Partial<AdmissionNode> = {},
  ...others: readonly Pod[]
): string | undefined {
  return rejection({ pod: one, others, node: { ...node, ...change } })?.reason;
}

test('a pod that fits is let in', () => {
  expect(
    rejection({ pod: pod(asking({ cpu: '1', memory: '1Gi' })), others: [pod()], node }),
  ).toBeUndefined();
});

test('one that asks for more than there is, with the figures', () => {
  const others = [pod(asking({ cpu: '700m' }))];
  expect(rejection({ pod: pod(asking({ cpu: '500m' })), others, node })).toEqual({
    reason: 'OutOfcpu',
    message:
      "Pod was rejected: Node didn't have enough resource: cpu, requested: 500, used: 700, capacity: 1000",
  });
  expect(reason(pod(asking({ memory: '2Gi' })))).toBe('OutOfmemory');
  expect(reason(pod(), {}, pod(), pod())).toBe('OutOfpods');
});

test('a critical pod runs in any case', () => {
  const greedy = asking({ cpu: '5' });
  const source = { 'kubernetes.io/config.source': 'file' };
  const pressures = new Set(['DiskPressure']);
  expect(reason(pod(greedy, source), { pressures })).toBeUndefined();
  expect(reason(pod({ ...greedy, priority: 2_000_001_000 }), { pressures })).toBeUndefined();
});

test('a node under pressure takes what it can', () => {
  const memory = { pressures: new Set(['MemoryPressure']) };
  expect(rejection({ pod: pod(), others: [], node: { ...node, ...memory } })).toEqual({
    reason: 'Evicted',
    message: 'Pod was rejected: The node had condition: [MemoryPressure]. ',
  });
  const tolerations = [{ key: 'node.kubernetes.io/memory-pressure', operator: 'Exists' }];
  expect(reason(pod({ tolerations }), memory)).toBeUndefined();
  expect(reason(pod(asking({ cpu: '1m' })), memory)).toBeUndefined();
  expect(reason(pod(asking({ cpu: '1m' })), { pressures: new Set(['PIDPressure']) })).toBe(
    'Evicted',
  );
});

test.for([
  ['net.ipv4.tcp_syncookies', {}, undefined],
  ['net/ipv4/tcp_syncookies', {}, undefined],
  [
    'net.ipv4.tcp_syncookies',
    { hostNetwork: true },
    '"net.ipv4.tcp_syncookies" not allowed with host net enabled',
  ],
  [
    'kernel.shm_rmid_forced',
    { hostIPC: true },
    '"kernel.shm_rmid_forced" not allowed with host ipc enabled',
  ],
  ['kernel.msgmax', {}, undefined],
  ['kernel.sem', {}, '"kernel.sem" not allowlisted'],
] as const)('sysctl %s, %j', ([name, spec, message]) => {
  const asked = pod({ ...spec, securityContext: { sysctls: [{ name, value: '1' }] } });
  expect(rejection({ pod: asked, others: [], node })).toEqual(
    message && {
      reason: 'SysctlForbidden',
      message: `Pod was rejected: forbidden sysctl: ${message}`,
    },
  );
});

function affinity(term: object): object {
  const required = { nodeSelectorTerms: [{}, term] };
  return {
    affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: required } },
  };
}

function label(key: string, operator: string, ...values: readonly string[]): object {
  return affinity({ matchExpressions: [{ key, operator, values }] });
}

test.for<readonly [string | undefined, object]>([
  [undefined, { nodeSelector: { zone: 'a' } }],
  ['NodeAffinity', { nodeSelector: { zone: 'b' } }],
  [undefined, label('zone', 'In', 'a', 'b')],
  ['NodeAffinity', label('zone', 'NotIn', 'a')],
  ['NodeAffinity', label('none', 'Exists')],
  [undefined, label('none', 'DoesNotExist')],
  [undefined, label('size', 'Gt', '4')],
  ['NodeAffinity', label('size', 'Lt', '4')],
  [
    undefined,
    affinity({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n1'] }] }),
  ],
  [
    'NodeAffinity',
    affinity({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n2'] }] }),
  ],
  ['NodeName', { nodeName: 'n2' }],
  ['PodOSNotSupported', { os: { name: 'windows' } }],
  ['PodOSSelectorNodeLabelDoesNotMatch', { nodeSelector: { 'kubernetes.io/os': 'windows' } }],
  [
    'SupplementalGroupsPolicyNotSupported',
    { securityContext: { supplementalGroupsPolicy: 'Strict' } },
  ],
  ['AppArmor', { securityContext: { appArmorProfile: { type: 'RuntimeDefault' } } }],
  [undefined, { securityContext: { appArmorProfile: { type: 'Unconfined' } } }],
])('%s for %j', ([expected, spec]) => {
  expect(reason(pod(spec))).toBe(expected);
});

test('a port of the node is one pod’s', () => {
  const other = withPorts({ containerPort: 1, hostPort: 80, hostIP: '10.0.0.1' });
  expect(reason(withPorts({ containerPort: 2, hostPort: 80 }), {}, other)).toBe('NodePorts');
  expect(
    reason(withPorts({ containerPort: 2, hostPort: 80, hostIP: '10.0.0.2' }), {}, other),
  ).toBeUndefined();
  expect(
    reason(withPorts({ containerPort: 2, hostPort: 80, protocol: 'UDP' }), {}, other),
  ).toBeUndefined();
  expect(reason(withPorts({ containerPort: 2, hostPort: 81 }), {}, other)).toBeUndefined();
});

test('of taints only NoExecute counts, and not for static pods', () => {
  const taints = [
    { key: 'a', effect: 'NoSchedule' },
    { key: 'b', value: 'x', effect: 'NoExecute' },
  ];
  const tolerating = { tolerations: [{ key: 'b', value: 'x', effect: 'NoExecute' }] };
  expect(reason(pod(), { taints })).toBe('TaintToleration');
  expect(reason(pod(tolerating), { taints })).toBeUndefined();
  expect(reason(pod({ tolerations: [{ operator: 'Exists' }] }), { taints })).toBeUndefined();
  expect(reason(pod({}, { 'kubernetes.io/config.source': 'file' }), { taints })).toBeUndefined();
});

test('a node that is shutting down takes no pod, critical ones neither', () => {
  const going = { isShuttingDown: true };
  const message = 'Pod was rejected: Pod was rejected as the node is shutting down.';
  for (const priority of [0, 2_000_001_000]) {
    const found = rejection({ pod: pod({ priority }), others: [], node: { ...node, ...going } });
    expect(found).toEqual({ reason: 'NodeShutdown', message });
  }
});
