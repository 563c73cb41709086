import type { Container, Pod, PodSpec } from '../../../../src/kubelet/pod/pod.ts';
import { containerHash, labels } from '../../../../src/kubelet/runtime/labels.ts';
import type {
  RuntimeContainer,
  RuntimePod,
  RuntimeSandbox,
} from '../../../../src/kubelet/runtime/runtime-pod.ts';

/** Pods and what a runtime has of them, with just what a test is about. */
export function container(name: string, more: Partial<Container> = {}): Container {
  return {
    name,
    image: 'busybox:1',
    imagePullPolicy: 'IfNotPresent',
    ports: [],
    env: [],
    envFrom: [],
    resources: {},
    volumeMounts: [],
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    ...more,
  };
}

export function sidecar(name: string, more: Partial<Container> = {}): Container {
  return container(name, { restartPolicy: 'Always', ...more });
}

export function pod(spec: Partial<PodSpec> = {}, meta: Partial<Pod['metadata']> = {}): Pod {
  return {
    metadata: {
      name: 'web',
      namespace: 'default',
      uid: 'u1',
      labels: {},
      annotations: { 'kubernetes.io/config.source': 'api' },
      ...meta,
    },
    spec: {
      nodeName: 'n1',
      containers: [container('app')],
      initContainers: [],
      volumes: [],
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: 30,
      dnsPolicy: 'ClusterFirst',
      enableServiceLinks: true,
      hostNetwork: false,
      hostPID: false,
      hostIPC: false,
      shareProcessNamespace: false,
      securityContext: {},
      ...spec,
    },
    status: {},
  };
}

export function sandbox(more: Partial<RuntimeSandbox> = {}): RuntimeSandbox {
  return {
    id: 's0',
    attempt: 0,
    state: 'ready',
    createdAt: 1n,
    network: 'pod',
    ips: ['10.0.0.2'],
    labels: {},
    annotations: {},
    ...more,
  };
}

export function instance(
  name: string,
  state: RuntimeContainer['state'],
  more: Partial<RuntimeContainer> = {},
): RuntimeContainer {
  return {
    id: `${name}-${more.attempt ?? 0}`,
    name,
    sandboxId: 's0',
    attempt: 0,
    state,
    createdAt: 1n,
    startedAt: 1n,
    finishedAt: state === 'exited' ? 1n : 0n,
    exitCode: 0,
    reason: state === 'exited' ? 'Completed' : '',
    message: '',
    image: 'busybox:1',
    imageRef: 'busybox@sha256:1',
    hash: containerHash({ name, image: 'busybox:1' }),
    logPath: '',
    terminationMessageFile: '',
    labels: { [labels.managedBy]: 'n1' },
    annotations: {},
    ...more,
  };
}

export function runtime(
  containers: readonly RuntimeContainer[],
  sandboxes: readonly RuntimeSandbox[] = [sandbox()],
): RuntimePod {
  return { uid: 'u1', name: 'web', namespace: 'default', sandboxes, containers };
}
