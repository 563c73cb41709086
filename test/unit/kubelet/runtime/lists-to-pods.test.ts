// What the runtime's details make of a container.
import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  ContainerSchema,
  ContainerStatusSchema,
  Signal,
} from '../../../../src/kubelet/cri/gen/api_pb.ts';
import { runtimeContainer } from '../../../../src/kubelet/runtime/lists-to-pods.ts';

test('who runs in it is known where the runtime says so', () => {
  const listed = create(ContainerSchema, { id: 'c1' });
  const linux = { uid: 1000n, gid: 0n, supplementalGroups: [0n, 2000n] };
  const detail = create(ContainerStatusSchema, { user: { linux } });
  expect(runtimeContainer(listed, detail).user).toEqual({
    uid: 1000,
    gid: 0,
    supplementalGroups: [0, 2000],
  });
  expect(runtimeContainer(listed, create(ContainerStatusSchema))).not.toHaveProperty('user');
});

test('by what it is stopped is known where the runtime says so', () => {
  const listed = create(ContainerSchema, { id: 'c1' });
  const detail = create(ContainerStatusSchema, { stopSignal: Signal.SIGRTMINPLUS3 });
  expect(runtimeContainer(listed, detail).stopSignal).toBe('SIGRTMIN+3');
  expect(runtimeContainer(listed, create(ContainerStatusSchema))).not.toHaveProperty('stopSignal');
});
