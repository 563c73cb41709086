import { create, toBinary } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { ContainerEventType } from '../../../src/kubelet/cri/gen/api_pb.ts';
import type { ContainerEventResponseSchema } from '../../../src/kubelet/cri/gen/api_pb.ts';
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
type ContainerEvent = MessageInitShape<typeof ContainerEventResponseSchema>;

/** What streams tell: also that a container or sandbox is removed. */
type Told = Pick<TaskEvent, 'id' | 'exitCode'> & {
  readonly what: TaskEvent['what'] | 'delete' | 'oom';
};

const topics = {
  start: '/tasks/start',
  exit: '/tasks/exit',
  oom: '/tasks/oom',
  delete: '/containers/delete',
} as const;

const types = {
  start: ContainerEventType.CONTAINER_STARTED_EVENT,
  exit: ContainerEventType.CONTAINER_STOPPED_EVENT,
  oom: undefined,
  delete: ContainerEventType.CONTAINER_DELETED_EVENT,
} as const;

const nothing = (): void => {};

/** The streams of events, and all that was ever told: by it a test counts what ran. */
export class TaskEvents {
  readonly all: TaskEvent[] = [];
  /** Nobody hears of anything. */
  mute = false;
  /** The runtime is not there. */
  down = false;
  /** Each stream breaks at once. */
  isFlawed = false;
  /** Which of the streams this runtime has. */
  offers: readonly ('containerd' | 'CRI')[] = ['containerd'];
  /** How often a stream was begun. */
  followed = 0;
  readonly #listeners = new Set<(told: Told | undefined) => void>();

  tell(task: TaskEvent): void {
    this.all.push(task);
    this.#tell(task);
  }

  /** A container or sandbox is gone. */
  removed(id: string): void {
    this.#tell({ what: 'delete', id, exitCode: 0 });
  }

  outOfMemory(id: string): void {
    this.#tell({ what: 'oom', id, exitCode: 0 });
  }

  /** All streams end with an error. */
  breakAll(): void {
    for (const listener of this.#listeners) listener(undefined);
  }

  /** containerd's own. The filters name topics, as containerd's do: `topic=="/tasks/exit"`. */
  async *subscribe(filters: readonly string[], signal: AbortSignal): AsyncGenerator<Envelope> {
    for await (const { what, id, exitCode } of this.#follow('containerd', signal)) {
      const exit = create(TaskExitSchema, { containerId: id, id, exitStatus: exitCode });
      const event = { typeUrl: `containerd.events.${what}`, value: toBinary(TaskExitSchema, exit) };
      const envelope = { topic: topics[what], event };
      if (passes(filters, envelope)) yield envelope;
    }
  }

  /** That of CRI. */
  async *containerEvents(signal: AbortSignal): AsyncGenerator<ContainerEvent> {
    for await (const { what, id } of this.#follow('CRI', signal)) {
      const containerEventType = types[what];
      if (containerEventType !== undefined) yield { containerId: id, containerEventType };
    }
  }

  #tell(told: Told): void {
    if (this.mute) return;
    for (const listener of this.#listeners) listener(told);
  }

  async *#follow(which: 'containerd' | 'CRI', signal: AbortSignal): AsyncGenerator<Told> {
    if (this.down) throw new ConnectError('connection refused', Code.Unavailable);
    if (!this.offers.includes(which)) throw new ConnectError('unknown', Code.Unimplemented);
    this.followed++;
    if (this.isFlawed) throw new ConnectError('connection reset', Code.Unavailable);
    const queue: (Told | undefined)[] = [];
    let wake = nothing;
    const listener = (told: Told | undefined): void => {
      queue.push(told);
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
