import type { ContainerStatus, PodStatus } from '../../pod/pod-status.ts';
import type { Pod } from '../../pod/pod.ts';

/** Whose log is read: a container's ID as CRI has it, or why there is none. */
export type LogContainer =
  | { readonly kind: 'container'; readonly id: string }
  | { readonly kind: 'none'; readonly text: string };

export function logContainer(
  { metadata, status }: Pod,
  name: string,
  previous: boolean,
): LogContainer {
  const found = statusOf(status, name);
  const what = `container "${name}" in pod "${metadata.name}"`;
  if (found === undefined) return none(`${what} is not available`);
  const lastId = found.lastState.terminated?.containerID;
  if (previous) return container(lastId) ?? none(`previous terminated ${what} not found`);
  const { running, terminated, waiting } = found.state;
  const id = running === undefined ? (terminated?.containerID ?? lastId) : found.containerID;
  return container(id) ?? none(`${what} is waiting to start: ${waitingText(waiting?.reason)}`);
}

function container(id: string | undefined): LogContainer | undefined {
  if (id === undefined || id === '') return undefined;
  return { kind: 'container', id: id.replace(/^.*:\/\//, '') };
}

function none(text: string): LogContainer {
  return { kind: 'none', text };
}

function waitingText(reason: string | undefined): string {
  if (reason === 'ErrImagePull') return "image can't be pulled";
  if (reason === 'ImagePullBackOff') return 'trying and failing to pull image';
  return reason ?? 'ContainerCreating';
}

function statusOf(status: PodStatus, name: string): ContainerStatus | undefined {
  const statuses = [
    ...(status.containerStatuses ?? []),
    ...(status.initContainerStatuses ?? []),
    ...(status.ephemeralContainerStatuses ?? []),
  ];
  return statuses.find((each) => each.name === name);
}
