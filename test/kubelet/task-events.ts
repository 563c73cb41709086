import { fromBinary } from '@bufbuild/protobuf';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cri } from '../../src/kubelet/cri/client.ts';
import { TaskEventSchema, TaskExitSchema } from '../../src/kubelet/cri/gen/containerd-events_pb.ts';

/** A first process of a container or a sandbox, as the runtime tells of it. */
export interface TaskEvent {
  readonly what: 'start' | 'exit';
  /** Of the container or sandbox. */
  readonly id: string;
  readonly atMs: number;
}

export interface TaskFollower {
  told(event: TaskEvent): void;
  /** Events come from now on; what was before is not told of. */
  listens?(): void;
}

const topics = { '/tasks/start': 'start', '/tasks/exit': 'exit' } as const;

/** Tells of all that starts and ends in a runtime, until `signal`; listens again where the runtime was restarted. */
export async function followTasks(
  cri: Cri,
  follower: TaskFollower,
  signal: AbortSignal,
): Promise<void> {
  const headers = { 'containerd-namespace': 'k8s.io' };
  const filters = Object.keys(topics).map((topic) => `topic=="${topic}"`);
  while (!signal.aborted) {
    try {
      const events = cri.events.subscribe({ filters }, { signal, headers });
      // The service does not say when it has begun to listen.
      if (follower.listens) void delay(200).then(() => follower.listens?.());
      for await (const { event, topic, timestamp } of events) {
        if (event === undefined) continue;
        const what = topics[topic as keyof typeof topics];
        const containerId = what === 'start' ? startOf(event.value) : exitOf(event.value);
        if (containerId === undefined) continue;
        const { seconds = 0n, nanos = 0 } = timestamp ?? {};
        follower.told({ what, id: containerId, atMs: Number(seconds) * 1000 + nanos / 1e6 });
      }
    } catch {
      // The runtime was restarted.
    }
    await delay(50);
  }
}

function startOf(value: Uint8Array): string {
  return fromBinary(TaskEventSchema, value).containerId;
}

/** undefined: a process of an exec ended. */
function exitOf(value: Uint8Array): string | undefined {
  const { containerId, id } = fromBinary(TaskExitSchema, value);
  return id === '' || id === containerId ? containerId : undefined;
}
