import { create, toBinary } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { TaskExitSchema } from '../../../src/kubelet/cri/gen/containerd-events_pb.ts';
import type { EnvelopeSchema } from '../../../src/kubelet/cri/gen/containerd-events_pb.ts';

/** The first process of a container or sandbox began or ended. */
export interface TaskEvent {
  readonly what: 'start' | 'exit';
  readonly id: string;
  readonly exitCode: number;
  /** `POD/CONTAINER`; `POD` for a sandbox. */
  readonly name: string;
}

type Envelope = MessageInitShape<typeof EnvelopeSchema>;

const nothing = (): void => {};

/** containerd's event stream, and all that was ever told: by it a test counts what ran. */
export class TaskEvents {
  readonly all: TaskEvent[] = [];
  /** Nobody hears of anything. */
  mute = false;
  readonly #listeners = new Set<(envelope: Envelope | undefined) => void>();

  tell(task: TaskEvent): void {
    const { what, id, exitCode } = task;
    this.all.push(task);
    const exit = create(TaskExitSchema, { containerId: id, id, exitStatus: exitCode });
    const value = toBinary(TaskExitSchema, exit);
    const typeUrl = `containerd.events.Task${what === 'start' ? 'Start' : 'Exit'}`;
    const envelope = { topic: `/tasks/${what}`, event: { typeUrl, value } };
    if (this.mute) return;
    for (const listener of this.#listeners) listener(envelope);
  }

  /** All streams end with an error. */
  breakAll(): void {
    for (const listener of this.#listeners) listener(undefined);
  }

  /** The filters name topics, as containerd's do: `topic=="/tasks/exit"`. */
  async *subscribe(filters: readonly string[], signal: AbortSignal): AsyncGenerator<Envelope> {
    const queue: (Envelope | undefined)[] = [];
    let wake = nothing;
    const listener = (envelope: Envelope | undefined): void => {
      if (envelope === undefined || passes(filters, envelope)) queue.push(envelope);
      wake();
    };
    this.#listeners.add(listener);
    signal.addEventListener('abort', () => {
      wake();
    });
    try {
      while (!signal.aborted) {
        while (queue.length > 0) {
          const next = queue.shift();
          if (next === undefined) throw new ConnectError('connection reset', Code.Unavailable);
          yield next;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      this.#listeners.delete(listener);
    }
  }
}

function passes(filters: readonly string[], { topic = '' }: Envelope): boolean {
  return filters.length === 0 || filters.some((filter) => filter.includes(topic));
}
