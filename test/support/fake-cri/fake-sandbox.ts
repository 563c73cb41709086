import type { MessageInitShape } from '@bufbuild/protobuf';
import { NamespaceMode, PodSandboxState } from '../../../src/kubelet/cri/gen/api_pb.ts';
import type {
  DNSConfig,
  PodSandboxConfig,
  PodSandboxSchema,
  PodSandboxStatusSchema,
} from '../../../src/kubelet/cri/gen/api_pb.ts';

/** A sandbox of the runtime in memory. */
export interface FakeSandbox {
  readonly id: string;
  readonly config: PodSandboxConfig;
  /** `''` with the node's network. */
  readonly ip: string;
  readonly createdAt: bigint;
  readonly runtimeHandler: string;
  ready: boolean;
}

export function withNodeNetwork(config: PodSandboxConfig): boolean {
  const options = config.linux?.securityContext?.namespaceOptions;
  return options?.network === NamespaceMode.NODE;
}

export function listedSandbox(sandbox: FakeSandbox): MessageInitShape<typeof PodSandboxSchema> {
  return common(sandbox);
}

function common(sandbox: FakeSandbox) {
  const { metadata, labels, annotations } = sandbox.config;
  return {
    id: sandbox.id,
    ...(metadata ? { metadata } : {}),
    state: stateOf(sandbox),
    createdAt: sandbox.createdAt,
    labels,
    annotations,
    runtimeHandler: sandbox.runtimeHandler,
  };
}

/** Once it is stopped, its addresses are gone. */
export function sandboxStatus(
  sandbox: FakeSandbox,
): MessageInitShape<typeof PodSandboxStatusSchema> {
  const options = sandbox.config.linux?.securityContext?.namespaceOptions;
  return {
    ...common(sandbox),
    network: { ip: sandbox.ready ? sandbox.ip : '' },
    ...(options ? { linux: { namespaces: { options } } } : {}),
  };
}

/** As containerd writes it for the containers of a sandbox. */
export function resolvConf(dns: DNSConfig | undefined): string {
  const { servers = [], searches = [], options = [] } = dns ?? {};
  const lines = [
    ...(searches.length > 0 ? [`search ${searches.join(' ')}`] : []),
    ...servers.map((server) => `nameserver ${server}`),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

function stateOf({ ready }: FakeSandbox): PodSandboxState {
  return ready ? PodSandboxState.SANDBOX_READY : PodSandboxState.SANDBOX_NOTREADY;
}
