import { defaultPod } from '../../../../src/kubelet/pod/default-pod.ts';
import type { Container, Probe } from '../../../../src/kubelet/pod/container.ts';
import type { ContainerStatus, PodStatus } from '../../../../src/kubelet/pod/pod-status.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';

/** A pod with every default in it. */
export function pod(spec: Partial<Pod['spec']> = {}, metadata: Partial<Pod['metadata']> = {}): Pod {
  return {
    metadata: {
      name: 'web',
      namespace: 'shop',
      uid: 'uid-1',
      labels: {},
      annotations: {},
      ...metadata,
    },
    spec: {
      nodeName: 'n1',
      containers: [container()],
      initContainers: [],
      ephemeralContainers: [],
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

/** A pod of this UID with nothing in it, as a source has it; or with more. */
export function bare(
  uid: string,
  more: { readonly metadata?: object; readonly spec?: object; readonly status?: object } = {},
): Pod {
  return defaultPod({
    metadata: { name: `pod-${uid}`, uid, ...more.metadata },
    spec: { containers: [], ...more.spec },
    status: more.status ?? {},
  });
}

export function container(changes: Partial<Container> = {}): Container {
  return {
    name: 'app',
    image: 'local/app:1',
    imagePullPolicy: 'IfNotPresent',
    ports: [],
    env: [],
    envFrom: [],
    resources: {},
    volumeMounts: [],
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    ...changes,
  };
}

export function probe(changes: Partial<Probe> = {}): Probe {
  return {
    initialDelaySeconds: 0,
    timeoutSeconds: 1,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 3,
    ...changes,
  };
}

/** A container that runs since `startedMs`. */
export function running(changes: Partial<ContainerStatus> = {}, startedMs = 0): ContainerStatus {
  return {
    name: 'app',
    image: 'local/app:1',
    imageID: 'local/app@sha256:00',
    containerID: 'containerd://one',
    ready: false,
    started: true,
    restartCount: 0,
    state: { running: { startedAt: new Date(startedMs).toISOString() } },
    lastState: {},
    ...changes,
  };
}

export function runningPod(...containerStatuses: readonly ContainerStatus[]): PodStatus {
  return { phase: 'Running', podIP: '10.244.1.7', containerStatuses };
}
