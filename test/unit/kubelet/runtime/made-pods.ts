import type { Container } from '../../../../src/kubelet/pod/container.ts';
import type { Pod, PodSpec } from '../../../../src/kubelet/pod/pod.ts';
import { containerHash, labels } from '../../../../src/kubelet/runtime/labels.ts';
import type {
  RuntimeContainer,
  RuntimePod,
  RuntimeSandbox,
} from '../../../../src/kubelet/runtime/runtime-pod.ts';
import { container as anyContainer, pod as anyPod } from '../support/pods.ts';

/** Pods and what a runtime has of them, with just what a test is about. */
export function container(name: string, more: Partial<Container> = {}): Container {
  return anyContainer({ name, image: 'busybox:1', ...more });
}

export function sidecar(name: string, more: Partial<Container> = {}): Container {
  return container(name, { restartPolicy: 'Always', ...more });
}

export function pod(spec: Partial<PodSpec> = {}, meta: Partial<Pod['metadata']> = {}): Pod {
  const annotations = { 'kubernetes.io/config.source': 'api' };
  return anyPod(
    { containers: [container('app')], ...spec },
    { namespace: 'default', uid: 'u1', annotations, ...meta },
  );
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
