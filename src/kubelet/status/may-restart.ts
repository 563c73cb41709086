import { isSidecar } from '../pod/container.ts';
import type { Container } from '../pod/container.ts';
import type { Pod } from '../pod/pod.ts';

/** Whether a container that ended with this code is started again while its pod lives (Kubernetes: Pod Lifecycle). */
export function mayRestart(
  { spec }: Pick<Pod, 'spec'>,
  container: Container,
  exitCode: number,
): boolean {
  if (isSidecar(container)) return true;
  if (spec.ephemeralContainers.includes(container)) return false;
  const isInit = spec.initContainers.includes(container);
  switch (spec.restartPolicy) {
    case 'Always':
      return !isInit || exitCode !== 0;
    case 'OnFailure':
      return exitCode !== 0;
    case 'Never':
      return false;
    default:
      return spec.restartPolicy satisfies never;
  }
}
