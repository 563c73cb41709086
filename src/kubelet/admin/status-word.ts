import type { ContainerStatus } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';

/** What a pod does in one word, as the table of `kubectl get pods` has it. */
export function statusWord(pod: Pod, isTerminating: boolean): string {
  if (isTerminating) return 'Terminating';
  const { spec, status } = pod;
  const initial = initWord(pod);
  if (initial !== undefined) return initial;
  const statuses = status.containerStatuses ?? [];
  const trouble = statuses.map(troubleWord).find((each) => each !== undefined);
  const word = trouble ?? status.reason ?? status.phase ?? 'Unknown';
  const runs = statuses.some(({ ready, state }) => ready && state.running !== undefined);
  if (word !== 'Completed' || !runs) return word;
  // One of several has ended well, the others go on.
  const isReady = status.conditions?.some(
    (each) => each.type === 'Ready' && each.status === 'True',
  );
  return isReady || spec.containers.length === 0 ? 'Running' : 'NotReady';
}

/** undefined: all init containers have done their work. */
function initWord({ spec, status }: Pod): string | undefined {
  const statuses = status.initContainerStatuses ?? [];
  for (const [index, { name }] of spec.initContainers.entries()) {
    const found = statuses.find((each) => each.name === name);
    if (found === undefined || isDone(found)) continue;
    const { terminated, waiting } = found.state;
    if (terminated !== undefined) return `Init:${endWord(terminated)}`;
    const reason = waiting?.reason ?? '';
    if (reason !== '' && reason !== 'PodInitializing') return `Init:${reason}`;
    return `Init:${index}/${spec.initContainers.length}`;
  }
  return undefined;
}

/** A sidecar has done its part when it has started. */
function isDone({ state, started, ready }: ContainerStatus): boolean {
  return state.terminated?.exitCode === 0 || (state.running !== undefined && (started ?? ready));
}

function troubleWord({ state: { waiting, terminated } }: ContainerStatus): string | undefined {
  if (waiting?.reason !== undefined && waiting.reason !== '') return waiting.reason;
  return terminated === undefined ? undefined : endWord(terminated);
}

function endWord({
  reason,
  signal,
  exitCode,
}: NonNullable<ContainerStatus['state']['terminated']>): string {
  if (reason !== undefined && reason !== '') return reason;
  return (signal ?? 0) > 0 ? `Signal:${signal}` : `ExitCode:${exitCode}`;
}
