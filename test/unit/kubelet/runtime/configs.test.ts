import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';

import {
  ContainerConfigSchema,
  PodSandboxConfigSchema,
  Signal,
} from '../../../../src/kubelet/cri/gen/api_pb.ts';
import type { ContainerConfig, PodSandboxConfig } from '../../../../src/kubelet/cri/gen/api_pb.ts';
import type { Container } from '../../../../src/kubelet/pod/container.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { containerConfig } from '../../../../src/kubelet/runtime/container-config.ts';
import type { ContainerInput } from '../../../../src/kubelet/runtime/container-config.ts';
import { containerHash } from '../../../../src/kubelet/runtime/labels.ts';
import { sandboxConfig } from '../../../../src/kubelet/runtime/sandbox-config.ts';
import type { RuntimeSettings } from '../../../../src/kubelet/runtime/settings.ts';
import { container, pod, sidecar } from './made-pods.ts';
import { settings } from './settings.ts';

/** What of a pod and its containers goes to the runtime. */

const dns = {
  servers: ['10.96.0.10'],
  searches: ['default.svc.cluster.local'],
  options: ['ndots:5'],
};

function sandboxOf(of: Pod): PodSandboxConfig {
  const input = { pod: of, attempt: 2, hostname: 'web', dns, cgroupParent: '/n1/kubepods/podu1' };
  return create(PodSandboxConfigSchema, sandboxConfig(input, settings));
}

interface More extends Partial<ContainerInput> {
  readonly settings?: Partial<RuntimeSettings>;
}

function containerOf(of: Pod, one: Container, more: More = {}): ContainerConfig {
  const input: ContainerInput = {
    pod: of,
    container: one,
    attempt: 3,
    image: { ref: 'sha256:1', user: {} },
    env: [],
    mounts: [],
    hostsFile: undefined,
    terminationMessageFile: undefined,
    pidTarget: undefined,
    recursiveReadOnly: false,
    ...more,
  };
  return create(ContainerConfigSchema, containerConfig(input, { ...settings, ...more.settings }));
}

const pid = (of: Pod): unknown => sandboxOf(of).linux?.securityContext?.namespaceOptions?.pid;

function profile(one: Container, seccompDefault: boolean): unknown {
  const config = containerOf(pod(), one, { settings: { seccompDefault } });
  return config.linux?.securityContext?.seccomp?.profileType;
}

const context = (user: object): unknown =>
  containerOf(pod(), container('app'), { image: { ref: 'r', user } }).linux?.securityContext;

test("a sandbox carries the pod's labels, whose it is, and its annotations", () => {
  const config = sandboxOf(
    pod(
      {},
      { labels: { app: 'web', 'io.kubernetes.pod.uid': 'forged' }, annotations: { note: 'x' } },
    ),
  );
  expect(config.metadata).toMatchObject({
    name: 'web',
    namespace: 'default',
    uid: 'u1',
    attempt: 2,
  });
  expect(config.labels).toEqual({
    app: 'web',
    'io.kubernetes.pod.name': 'web',
    'io.kubernetes.pod.namespace': 'default',
    'io.kubernetes.pod.uid': 'u1',
    'switchyard.dev/managed-by': 'n1',
  });
  expect(config.annotations).toEqual({ note: 'x' });
  expect(config).toMatchObject({ hostname: 'web', logDirectory: '/var/log/pods/default_web_u1' });
  expect(config.linux?.cgroupParent).toBe('/n1/kubepods/podu1');
});

test('host namespaces: NODE, and no hostname', () => {
  const config = sandboxOf(pod({ hostNetwork: true, hostPID: true, hostIPC: true }));
  expect(config.hostname).toBe('');
  expect(config.linux?.securityContext?.namespaceOptions).toMatchObject({
    network: 2,
    pid: 2,
    ipc: 2,
  });
});

test("process namespaces: one a container, or the pod's", () => {
  expect(pid(pod())).toBe(1);
  expect(pid(pod({ shareProcessNamespace: true }))).toBe(0);
});

test("a sandbox is privileged where any container is; its seccomp profile is the runtime's", () => {
  const privileged = { securityContext: { privileged: true } };
  const config = sandboxOf(pod({ initContainers: [sidecar('s', privileged)] }));
  expect(config.linux?.securityContext).toMatchObject({
    privileged: true,
    seccomp: { profileType: 0 },
  });
  expect(sandboxOf(pod()).linux?.securityContext?.privileged).toBe(false);
});

test('ports of regular containers, each once; users, groups and sysctls of the pod', () => {
  const port = { containerPort: 80, hostPort: 8080, protocol: 'TCP' } as const;
  const config = sandboxOf(
    pod({
      containers: [
        container('a', { ports: [port, port, { ...port, protocol: 'UDP', hostIP: '10.0.0.1' }] }),
      ],
      initContainers: [sidecar('s', { ports: [{ ...port, hostPort: 1 }] })],
      securityContext: {
        runAsUser: 1000,
        fsGroup: 2000,
        supplementalGroups: [3000],
        sysctls: [{ name: 'net/core/somaxconn', value: '9' }],
      },
    }),
  );
  expect(
    config.portMappings.map(({ protocol, hostPort, hostIp }) => [protocol, hostPort, hostIp]),
  ).toEqual([
    [0, 8080, ''],
    [1, 8080, '10.0.0.1'],
  ]);
  expect(config.linux?.sysctls).toEqual({ 'net.core.somaxconn': '9' });
  expect(config.linux?.securityContext).toMatchObject({
    runAsUser: { value: 1000n },
    supplementalGroups: [2000n, 3000n],
  });
});

test('a container says whose it is, and all that is needed to know it again', () => {
  const one = container('app', {
    ports: [{ containerPort: 80, protocol: 'TCP' }],
    lifecycle: { preStop: { exec: { command: ['true'] } } },
  });
  const config = containerOf(pod({}, { labels: { app: 'web' } }), one);
  expect(config.labels).toEqual({
    'io.kubernetes.pod.name': 'web',
    'io.kubernetes.pod.namespace': 'default',
    'io.kubernetes.pod.uid': 'u1',
    'io.kubernetes.container.name': 'app',
    'switchyard.dev/managed-by': 'n1',
  });
  expect(config.annotations).toEqual({
    'io.kubernetes.container.hash': containerHash(one),
    'io.kubernetes.container.restartCount': '3',
    'io.kubernetes.container.terminationMessagePath': '/dev/termination-log',
    'io.kubernetes.container.terminationMessagePolicy': 'File',
    'io.kubernetes.container.preStopHandler': '{"exec":{"command":["true"]}}',
    'io.kubernetes.container.ports': '[{"containerPort":80,"protocol":"TCP"}]',
    'io.kubernetes.pod.terminationGracePeriod': '30',
  });
  expect(config).toMatchObject({
    metadata: { name: 'app', attempt: 3 },
    logPath: 'app/3.log',
    image: { image: 'sha256:1', userSpecifiedImage: 'busybox:1' },
  });
});

test('a container keeps what it was given', () => {
  const resources = { limits: { cpu: '1' }, requests: { cpu: '1' } };
  const { annotations } = containerOf(pod(), container('app', { resources }));
  expect(JSON.parse(annotations['switchyard.dev/resources'] ?? '')).toEqual(resources);
});

test('commands and arguments see the final environment; what is unknown stays', () => {
  const one = container('app', { command: ['sh', '$(A)'], args: ['$(B)', '$$(A)'] });
  const config = containerOf(pod(), one, { env: [{ name: 'A', value: '1' }] });
  expect([...config.command, ...config.args]).toEqual(['sh', '1', '$(B)', '$(A)']);
  expect(config.envs).toMatchObject([{ key: 'A', value: '1' }]);
});

test('mounts: volumes, then the hosts file, then the termination message', () => {
  const bound = { hostPath: '/v', readOnly: false, managed: true };
  const config = containerOf(pod(), container('app'), {
    mounts: [
      { ...bound, mount: { name: 'v', mountPath: 'data' } },
      { ...bound, mount: { name: 'c', mountPath: '/c' }, readOnly: true, managed: false },
      {
        ...bound,
        mount: {
          name: 'p',
          mountPath: '/p',
          mountPropagation: 'Bidirectional',
          readOnly: true,
          recursiveReadOnly: 'IfPossible',
        },
      },
    ],
    hostsFile: '/pods/u1/etc-hosts',
    terminationMessageFile: '/pods/u1/containers/app/1',
  });
  expect(
    config.mounts.map((one) => [
      one.containerPath,
      one.hostPath,
      one.readonly,
      one.propagation,
      one.recursiveReadOnly,
      one.selinuxRelabel,
    ]),
  ).toEqual([
    ['/data', '/v', false, 0, false, true],
    ['/c', '/v', true, 0, false, false],
    ['/p', '/v', true, 2, false, true],
    ['/etc/hosts', '/pods/u1/etc-hosts', false, 0, false, true],
    ['/dev/termination-log', '/pods/u1/containers/app/1', false, 0, false, true],
  ]);
});

test('a recursive read-only mount that is a must is refused where the runtime would drop it', () => {
  const mount = {
    name: 'v',
    mountPath: '/v',
    readOnly: true,
    recursiveReadOnly: 'Enabled',
  } as const;
  const mounts = [{ mount, hostPath: '/v', readOnly: false, managed: true }];
  expect(() => containerOf(pod(), container('app'), { mounts })).toThrow(/recursive read-only/);
  const config = containerOf(pod(), container('app'), { mounts, recursiveReadOnly: true });
  expect(config.mounts[0]?.recursiveReadOnly).toBe(true);
});

const half = { requests: { cpu: '250m', memory: '2Gi' }, limits: { cpu: '500m', memory: '2Gi' } };
const guaranteed = { limits: { cpu: '1', memory: '1Gi' } };
const resourceCases = [
  [
    'limits without requests',
    { limits: { cpu: '500m', memory: '128Mi' } },
    { cpuShares: 512n, cpuQuota: 50_000n, memoryLimitInBytes: 134_217_728n },
  ],
  ['nothing', {}, { cpuShares: 2n, cpuQuota: 0n, memoryLimitInBytes: 0n, oomScoreAdj: 1000n }],
  ['burstable', half, { cpuShares: 256n, oomScoreAdj: 500n }],
  ['guaranteed', guaranteed, { cpuShares: 1024n, oomScoreAdj: -997n }],
  ['a sliver of a core', { limits: { cpu: '1m' } }, { cpuShares: 2n, cpuQuota: 1000n }],
  ['half of a thousandth', { requests: { memory: '4Gi' } }, { oomScoreAdj: 3n }],
  ['next to nothing', { requests: { memory: '1' } }, { oomScoreAdj: 999n }],
] as const;

test.each(resourceCases)('resources: %s', (_name, resources, expected) => {
  const one = container('app', { resources });
  expect(containerOf(pod({ containers: [one] }), one).linux?.resources).toMatchObject(expected);
});

test('a sidecar is not killed for want of memory before those it serves', () => {
  const app = container('app', { resources: half });
  const of = pod({ containers: [app], initContainers: [sidecar('s')] });
  expect(containerOf(of, sidecar('s')).linux?.resources?.oomScoreAdj).toBe(500n);
});

test('cgroup v2: all processes of a container are killed together, and it does not swap', () => {
  const cgroup = { ...settings.cgroup, version: 2, limitsSwap: true } as const;
  const config = containerOf(pod(), container('app'), { settings: { cgroup } });
  expect(config.linux?.resources?.unified).toEqual({
    'memory.oom.group': '1',
    'memory.swap.max': '0',
  });
  expect(containerOf(pod(), container('app')).linux?.resources?.unified).toEqual({});
});

test("security: the container's own before the pod's", () => {
  const own = {
    runAsUser: 7,
    capabilities: { add: ['NET_ADMIN'], drop: ['ALL'] },
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    seccompProfile: { type: 'Localhost', localhostProfile: 'p.json' },
  } as const;
  const of = pod({
    securityContext: { runAsUser: 1, runAsGroup: 2, seccompProfile: { type: 'RuntimeDefault' } },
  });
  const given = containerOf(of, container('app', { securityContext: own })).linux?.securityContext;
  expect(given).toMatchObject({
    runAsUser: { value: 7n },
    runAsGroup: { value: 2n },
    noNewPrivs: true,
    readonlyRootfs: true,
    privileged: false,
    capabilities: { addCapabilities: ['NET_ADMIN'], dropCapabilities: ['ALL'] },
    seccomp: { profileType: 2, localhostRef: '/var/lib/kubelet/seccomp/p.json' },
  });
  expect(given?.maskedPaths).toContain('/proc/kcore');
  expect(given?.readonlyPaths).toContain('/proc/sys');
});

test('seccomp: unconfined unless told otherwise, and always where privileged', () => {
  expect(profile(container('app'), false)).toBe(1);
  expect(profile(container('app'), true)).toBe(0);
  expect(profile(container('app', { securityContext: { privileged: true } }), true)).toBe(1);
});

test('procMount Unmasked hides nothing', () => {
  const config = containerOf(
    pod(),
    container('app', { securityContext: { procMount: 'Unmasked' } }),
  );
  expect(config.linux?.securityContext).toMatchObject({ maskedPaths: [], readonlyPaths: [] });
});

test("the image's user, where nobody says another", () => {
  expect(context({ uid: 5n })).toMatchObject({ runAsUser: { value: 5n } });
  expect(context({ username: 'web' })).toMatchObject({ runAsUsername: 'web' });
});

const rootCases = [
  [{ runAsUser: 0, runAsNonRoot: true }, {}, "container's runAsUser breaks non-root policy"],
  [{ runAsNonRoot: true }, {}, 'container has runAsNonRoot and image will run as root'],
  [{ runAsNonRoot: true }, { uid: 0n }, 'container has runAsNonRoot and image will run as root'],
  [
    { runAsNonRoot: true },
    { username: 'web' },
    'container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root',
  ],
] as const;

test.each(rootCases)('runAsNonRoot: %o with image user %o', (securityContext, user, message) => {
  const one = container('app', { securityContext });
  expect(() => containerOf(pod(), one, { image: { ref: 'r', user } })).toThrow(message);
});

function by(lifecycle: Container['lifecycle']): Signal {
  return containerOf(pod(), container('app', lifecycle && { lifecycle })).stopSignal;
}

test('a container is stopped by the signal that it asks for, else by that of its image', () => {
  expect(by(undefined)).toBe(Signal.RUNTIME_DEFAULT);
  expect(by({ stopSignal: 'SIGRTMIN+3' })).toBe(Signal.SIGRTMINPLUS3);
  expect(() => by({ stopSignal: 'SIGNO' })).toThrow('"SIGNO", which is no signal of Linux');
});
