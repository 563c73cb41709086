import type { Client } from '@connectrpc/connect';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { RuntimeService } from '../cri/gen/api_pb.ts';
import type { RuntimeContainer, RuntimeSandbox } from '../runtime/runtime-pod.ts';
import type { Garbage } from './container-gc.ts';
import { removeContainerLogs } from './log-files.ts';

export interface CollectorOptions {
  readonly runtime: Pick<
    Client<typeof RuntimeService>,
    'stopContainer' | 'removeContainer' | 'stopPodSandbox' | 'removePodSandbox'
  >;
  readonly log: Log;
  /** `/var/log/containers`. */
  readonly linksFolder: string;
}

/** Removes what was chosen, containers with their logs first; what cannot be removed is left for the next time. */
export async function collectGarbage(garbage: Garbage, options: CollectorOptions): Promise<void> {
  const { log } = options;
  const failed = new Set<string>();
  for (const each of garbage.containers) {
    try {
      await removeContainer(each, options);
    } catch (error) {
      failed.add(each.sandboxId);
      log.warn(
        { container: each.id },
        `a dead container could not be removed: ${errorText(error)}`,
      );
    }
  }
  for (const each of garbage.sandboxes.filter(({ id }) => !failed.has(id))) {
    try {
      await removeSandbox(each, options);
    } catch (error) {
      log.warn({ sandbox: each.id }, `a dead sandbox could not be removed: ${errorText(error)}`);
    }
  }
}

async function removeContainer(
  { id, state, logPath }: RuntimeContainer,
  { runtime, linksFolder }: CollectorOptions,
): Promise<void> {
  // Of an unknown state it may run after all.
  if (state === 'unknown') await runtime.stopContainer({ containerId: id, timeout: 2n });
  if (logPath !== '') await removeContainerLogs(logPath, id, linksFolder);
  await runtime.removeContainer({ containerId: id });
}

async function removeSandbox({ id }: RuntimeSandbox, { runtime }: CollectorOptions): Promise<void> {
  await runtime.stopPodSandbox({ podSandboxId: id });
  await runtime.removePodSandbox({ podSandboxId: id });
}
