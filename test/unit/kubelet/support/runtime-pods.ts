import type {
  RuntimeContainer,
  RuntimePod,
  RuntimeSandbox,
} from '../../../../src/kubelet/runtime/runtime-pod.ts';

export function runtimeContainer(changes: Partial<RuntimeContainer> = {}): RuntimeContainer {
  return {
    id: 'one',
    name: 'app',
    sandboxId: 'box',
    attempt: 0,
    state: 'running',
    createdAt: 1n,
    startedAt: 1n,
    finishedAt: 0n,
    exitCode: 0,
    reason: '',
    message: '',
    image: 'local/app:1',
    imageRef: 'local/app@sha256:00',
    hash: '',
    logPath: '',
    terminationMessageFile: '',
    labels: {},
    annotations: {},
    ...changes,
  };
}

export function runtimeSandbox(changes: Partial<RuntimeSandbox> = {}): RuntimeSandbox {
  return {
    id: 'box',
    attempt: 0,
    state: 'ready',
    createdAt: 1n,
    network: 'pod',
    ips: [],
    labels: {},
    annotations: {},
    ...changes,
  };
}

export function runtimePod(changes: Partial<RuntimePod> = {}): RuntimePod {
  return {
    uid: 'uid-1',
    name: 'web',
    namespace: 'shop',
    sandboxes: [runtimeSandbox()],
    containers: [runtimeContainer()],
    ...changes,
  };
}
