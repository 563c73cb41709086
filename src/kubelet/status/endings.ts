import type { ContainerStatus, PodStatus } from '../pod/pod-status.ts';
import type { MeteredContainer } from '../ports/pod-meter.ts';

/** That a container ended. */
export interface Ending {
  readonly type: MeteredContainer;
  readonly exitCode: number;
}

/** The ends of containers that a status tells of and the one before it did not. */
export function newEndings(before: PodStatus, after: PodStatus): readonly Ending[] {
  const known = new Set(endsOf(before).map(({ key }) => key));
  return endsOf(after)
    .filter(({ key }) => !known.has(key))
    .map(({ type, exitCode }) => ({ type, exitCode }));
}

/** `key`: which instance of which container it was. */
type KnownEnding = Ending & { readonly key: string };

function endsOf(status: PodStatus): readonly KnownEnding[] {
  const { initContainerStatuses: init = [], containerStatuses: regular = [] } = status;
  return [
    ...init.flatMap((each) => endsOfContainer('init_container', each)),
    ...regular.flatMap((each) => endsOfContainer('container', each)),
    ...(status.ephemeralContainerStatuses ?? []).flatMap((each) =>
      endsOfContainer('ephemeral_container', each),
    ),
  ];
}

/** One that was never seen to run, or whose record is gone, has no id: nothing is known to have ended then. */
function endsOfContainer(
  type: Ending['type'],
  { name, state, lastState }: ContainerStatus,
): readonly KnownEnding[] {
  return [state.terminated, lastState.terminated].flatMap((end) =>
    end?.containerID === undefined
      ? []
      : [{ type, exitCode: end.exitCode, key: `${type}/${name}/${end.containerID}` }],
  );
}
