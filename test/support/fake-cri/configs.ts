import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  ContainerConfigSchema,
  PodSandboxConfigSchema,
} from '../../../src/kubelet/cri/gen/api_pb.ts';
import { annotations, labels } from '../../../src/kubelet/runtime/labels.ts';

type Init<T extends typeof PodSandboxConfigSchema | typeof ContainerConfigSchema> =
  MessageInitShape<T> & { $typeName?: never };

/** A sandbox as the kubelet of a node would ask for it, with as little as that needs. */
export function sandboxConfig(
  uid: string,
  options: { readonly owner?: string; readonly attempt?: number; readonly logs?: string } = {},
): Init<typeof PodSandboxConfigSchema> {
  const { owner, attempt = 0, logs = '' } = options;
  return {
    metadata: { name: `pod-${uid}`, namespace: 'default', uid, attempt },
    hostname: `pod-${uid}`,
    logDirectory: logs,
    labels: podLabels(uid, owner),
  };
}

/** A container of such a sandbox that runs this script. */
export function containerConfig(
  uid: string,
  script: string,
  options: { readonly owner?: string; readonly name?: string; readonly attempt?: number } = {},
): Init<typeof ContainerConfigSchema> {
  const { owner, name = 'main', attempt = 0 } = options;
  return {
    metadata: { name, attempt },
    image: { image: 'local/busybox:1' },
    command: ['sh', '-c', script],
    logPath: `${name}/${attempt}.log`,
    labels: { ...podLabels(uid, owner), [labels.containerName]: name },
    annotations: { [annotations.hash]: 'abc' },
  };
}

function podLabels(uid: string, owner: string | undefined): Record<string, string> {
  return {
    [labels.podName]: `pod-${uid}`,
    [labels.podNamespace]: 'default',
    [labels.podUid]: uid,
    ...(owner === undefined ? {} : { [labels.managedBy]: owner }),
  };
}
