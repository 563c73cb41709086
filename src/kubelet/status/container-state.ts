import type { ContainerStateValue, ContainerStatus, TerminatedState } from '../pod/pod-status.ts';
import type { RuntimeContainer } from '../runtime/runtime-pod.ts';
import { apiTimeOfNs } from '../api/api-time.ts';
import { firstBytes } from './termination-message.ts';

/** A container's id as the API has it; the scheme is the runtime's name. */
export function apiContainerId(id: string): string {
  return `containerd://${id}`;
}

/** What is said of a container that was running and is not to be found. */
export const lostWhileRunning: TerminatedState = {
  exitCode: 137,
  reason: 'ContainerStatusUnknown',
  message:
    'The container could not be located when the pod was deleted.  The container used to be Running',
};

/** The state of one container as the runtime has it. `bytes`: of its message no more; `before`: what was said of the container by this name. */
export function stateOf(
  container: RuntimeContainer,
  message: string,
  bytes: number,
  before?: ContainerStatus,
): ContainerStateValue {
  switch (container.state) {
    case 'running': {
      const startedAt = apiTimeOfNs(container.startedAt);
      return { running: startedAt === undefined ? {} : { startedAt } };
    }
    case 'exited':
      return { terminated: terminated(container, message || saidOf(container, before), bytes) };
    case 'created':
    case 'unknown':
      return { waiting: {} };
    default:
      return container.state satisfies never;
  }
}

/** A message that was told stays so when its file is gone. */
function saidOf({ id, message }: RuntimeContainer, before: ContainerStatus | undefined): string {
  const ends = [before?.state.terminated, before?.lastState.terminated];
  const said = ends.find((end) => end?.containerID === apiContainerId(id))?.message ?? '';
  return message !== '' && said.startsWith(message) ? said.slice(message.length + 2) : said;
}

/** The runtime's own words first: why one never ran is said by them alone. */
function terminated(container: RuntimeContainer, message: string, bytes: number): TerminatedState {
  const { exitCode, reason } = container;
  const words = [container.message, message].filter((text) => text !== '').join(': ');
  const startedAt = apiTimeOfNs(container.startedAt);
  const finishedAt = apiTimeOfNs(container.finishedAt);
  return {
    exitCode,
    reason: reason === '' ? (exitCode === 0 ? 'Completed' : 'Error') : reason,
    ...(words === '' ? {} : { message: firstBytes(words, bytes) }),
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(finishedAt === undefined ? {} : { finishedAt }),
    containerID: apiContainerId(container.id),
  };
}

/** Whether a container has run at any time. */
export function hasStarted({ state, lastState }: ContainerStatus): boolean {
  return (
    state.running !== undefined ||
    state.terminated !== undefined ||
    lastState.terminated !== undefined
  );
}
