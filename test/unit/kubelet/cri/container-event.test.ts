import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  ContainerEventResponseSchema,
  ContainerEventType,
  PodSandboxState,
  PodSandboxStatusSchema,
} from '../../../../src/kubelet/cri/gen/api_pb.ts';

/** KEP-3386: `PodSandboxStatus pod_sandbox_status = 4`, where containerd 1.6 has the sandbox's metadata. */
function withSandbox(event: Uint8Array, status: Uint8Array): Uint8Array {
  const lengthDelimited = 2;
  // One byte is enough for lengths below 128.
  return Uint8Array.from([...event, (4 << 3) | lengthDelimited, status.length, ...status]);
}

test('an event is read whatever its release says of the sandbox', () => {
  const event = create(ContainerEventResponseSchema, {
    containerId: 'c',
    containerEventType: ContainerEventType.CONTAINER_STARTED_EVENT,
  });
  const status = create(PodSandboxStatusSchema, {
    id: 's',
    state: PodSandboxState.SANDBOX_NOTREADY,
    createdAt: 1_700_000_000_000_000_000n,
  });
  const told = withSandbox(
    toBinary(ContainerEventResponseSchema, event),
    toBinary(PodSandboxStatusSchema, status),
  );
  expect(fromBinary(ContainerEventResponseSchema, told)).toMatchObject({
    containerId: 'c',
    containerEventType: ContainerEventType.CONTAINER_STARTED_EVENT,
  });
});
