import type { MessageInitShape } from '@bufbuild/protobuf';
import { isIP } from 'node:net';
import type { SandboxConfig } from '../cri/client.ts';
import { Protocol } from '../cri/gen/api_pb.ts';
import type { PortMappingSchema } from '../cri/gen/api_pb.ts';
import type { ContainerPort } from '../pod/container.ts';
import type { Pod } from '../pod/pod.ts';
import { labels } from './labels.ts';
import { overheadResources, podResources } from './linux-resources.ts';
import { sandboxSecurity } from './security.ts';
import { podLogDir } from './settings.ts';
import type { RuntimeSettings } from './settings.ts';

/** What of a sandbox others find out. */
export interface SandboxInput {
  readonly pod: Pod;
  readonly attempt: number;
  /** '' with the node's network: containerd refuses another there. */
  readonly hostname: string;
  readonly dns: {
    readonly servers: readonly string[];
    readonly searches: readonly string[];
    readonly options: readonly string[];
  };
  /** '' for none. */
  readonly cgroupParent: string;
}

/** The sandbox of a pod, as CRI takes it (`PodSandboxConfig` in api.proto). */
export function sandboxConfig(input: SandboxInput, settings: RuntimeSettings): SandboxConfig {
  const { pod, dns } = input;
  const { name, namespace, uid } = pod.metadata;
  const overhead = overheadResources(pod, settings);
  return {
    metadata: { name, namespace, uid, attempt: input.attempt },
    hostname: pod.spec.hostNetwork ? '' : input.hostname,
    logDirectory: podLogDir(settings, pod),
    dnsConfig: {
      servers: [...dns.servers],
      searches: [...dns.searches],
      options: [...dns.options],
    },
    portMappings: portMappings(pod),
    labels: {
      ...pod.metadata.labels,
      [labels.podName]: name,
      [labels.podNamespace]: namespace,
      [labels.podUid]: uid,
      [labels.managedBy]: settings.nodeName,
    },
    annotations: { ...pod.metadata.annotations },
    linux: {
      cgroupParent: input.cgroupParent,
      sysctls: Object.fromEntries(
        (pod.spec.securityContext.sysctls ?? []).map((one) => [
          one.name.replaceAll('/', '.'),
          one.value,
        ]),
      ),
      securityContext: sandboxSecurity(pod),
      resources: podResources(pod, settings),
      ...(overhead !== undefined && { overhead }),
    },
  };
}

type PortMapping = MessageInitShape<typeof PortMappingSchema>;

/** Of regular containers alone; a port that one container names twice is taken once. */
function portMappings({ spec }: Pod): PortMapping[] {
  return spec.containers.flatMap(({ ports }) => {
    const byKey = new Map<string, PortMapping>();
    for (const port of ports) {
      const key = portKey(port);
      if (byKey.has(key)) continue;
      byKey.set(key, {
        protocol: Protocol[port.protocol],
        containerPort: port.containerPort,
        hostPort: port.hostPort ?? 0,
        hostIp: port.hostIP ?? '',
      });
    }
    return [...byKey.values()];
  });
}

function portKey({
  name,
  protocol,
  hostIP = '',
  containerPort,
  hostPort = 0,
}: ContainerPort): string {
  if (name !== undefined && name !== '') return name;
  const family = isIP(hostIP) === 0 ? 'any' : `v${isIP(hostIP)}`;
  return `${family}-${protocol}-${hostIP}:${containerPort}:${hostPort}`;
}
