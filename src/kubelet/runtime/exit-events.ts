import { fromBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Cri } from '../cri/client.ts';
import { TaskExitSchema } from '../cri/gen/containerd-events_pb.ts';

/** What CRI works in, of the namespaces of containerd. */
const criNamespace = 'k8s.io';
const againMs = 1000;

export interface ExitEventsOptions {
  readonly cri: Cri;
  readonly clock: Clock;
  readonly log: Log;
  /** A container's first process ended, or was killed for its memory. CRI may tell of it a moment later. */
  exited(containerId: string): void;
}

/**
 * Listens to containerd's own events, so that the end of a container is known at once and not with the next list; ends with `signal`,
 * or where the runtime has no such service. Whatever is missed, the lists find.
 */
export async function followExits(options: ExitEventsOptions, signal: AbortSignal): Promise<void> {
  const { clock, log } = options;
  while (!signal.aborted) {
    try {
      await followOnce(options, signal);
    } catch (thrown) {
      if (signal.aborted) return;
      const { code } = ConnectError.from(thrown);
      if (code === Code.Unimplemented) {
        log.info({}, 'the container runtime has no event stream of containerd; its lists tell');
        return;
      }
      log.debug({ error: errorText(thrown) }, 'the event stream of the container runtime broke');
    }
    await clock.sleep(againMs, signal);
  }
}

async function followOnce(options: ExitEventsOptions, signal: AbortSignal): Promise<void> {
  const filters = ['topic=="/tasks/exit"', 'topic=="/tasks/oom"'];
  const headers = { 'containerd-namespace': criNamespace };
  for await (const { event } of options.cri.events.subscribe({ filters }, { signal, headers })) {
    if (event === undefined) continue;
    const { containerId, id } = fromBinary(TaskExitSchema, event.value);
    if (id === '' || id === containerId) options.exited(containerId);
  }
}
