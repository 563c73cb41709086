import type { Container } from '../pod/container.ts';
import type { Pod } from '../pod/pod.ts';
import { ephemeralProblems } from '../pod/unsupported.ts';
import type { RuntimeFeatures } from '../pod/unsupported.ts';
import type { PodAction } from './pod-action.ts';
import { newest } from './runtime-pod.ts';
import type { RuntimePod } from './runtime-pod.ts';
import { StartError } from '../ports/start-error.ts';

/**
 * Ephemeral containers that were never started (Kubernetes: Ephemeral Containers): also while others are initialised still. One that the
 * status says was started once is not started again, though the runtime has forgotten it.
 */
export function ephemeralActions(
  { spec, status }: Pod,
  runtime: RuntimePod | undefined,
  features: RuntimeFeatures,
): readonly PodAction[] {
  const problems = ephemeralProblems({ spec }, features);
  const begun = new Set(
    (status.ephemeralContainerStatuses ?? []).flatMap(({ name, containerID = '' }) =>
      containerID === '' ? [] : [name],
    ),
  );
  return spec.ephemeralContainers
    .filter(({ name }) => newest(runtime, name) === undefined)
    .filter(({ name }) => !begun.has(name) && !problems.has(name))
    .map((container) => ({ kind: 'start', container, as: 'ephemeral', attempt: 0 }));
}

/**
 * The container of the runtime whose processes an ephemeral one sees; undefined: none is named. Throws {@link StartError} where it does not
 * run.
 */
export function targetOf(
  { targetContainerName = '' }: Container,
  runtime: RuntimePod | undefined,
): string | undefined {
  if (targetContainerName === '') return undefined;
  const found = newest(runtime, targetContainerName);
  if (found?.state === 'running') return found.id;
  const name = JSON.stringify(targetContainerName);
  throw new StartError(
    'CreateContainerConfigError',
    `unable to find target container ${name}: ${found === undefined ? 'there is none' : 'it does not run'}`,
  );
}
