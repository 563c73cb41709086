import type { MessageInitShape } from '@bufbuild/protobuf';
import { NamespaceMode, PodSandboxState } from '../../../src/kubelet/cri/gen/api_pb.ts';
import type {
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

function stateOf({ ready }: FakeSandbox): PodSandboxState {
  return ready ? PodSandboxState.SANDBOX_READY : PodSandboxState.SANDBOX_NOTREADY;
}
