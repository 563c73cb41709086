import { fromBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { EventStream } from '../../telemetry/runtime-event-metrics.ts';
import type { Cri } from '../cri/client.ts';
import { ContainerEventType } from '../cri/gen/api_pb.ts';
import { TaskEventSchema, TaskExitSchema } from '../cri/gen/containerd-events_pb.ts';
import type { Envelope } from '../cri/gen/containerd-events_pb.ts';

/** Who is told what happens in the runtime. */
export interface RuntimeEventsOptions {
  readonly cri: Pick<Cri, 'runtime' | 'events'>;
  readonly clock: Clock;
  readonly log: Log;
  /** The first process of a container or sandbox has ended. CRI's lists may tell of it a moment later. */
  exited(id: string): void;
  /** A process of it was killed for want of memory; not seldom told after the end of the first one. */
  killedForMemory(id: string): void;
  /** A container or sandbox was made, has begun or is gone. */
  changed(): void;
  /** Whether all that happens is told from now on; what was before is not told of. False at first. */
  listening(isUp: boolean): void;
  readonly meter?: StreamMeter | undefined;
}

/** Counts what streams of events do. Neither waits nor throws. */
export interface StreamMeter {
  /** It tells of what happens from now on. */
  begun(stream: EventStream): void;
  /** It has ended, or could not be begun. */
  broken(stream: EventStream): void;
  /** Of one event. */
  told(stream: EventStream): void;
}

/** No stream says when it has begun to listen: it has when it did not fail for so long. */
const settledMs = 1000;
const firstAgainMs = 1000;
const lastAgainMs = 30_000;
/** A runtime that has no stream may be replaced by one that does. */
const withoutStreamMs = 300_000;

interface Stream {
  readonly name: EventStream;
  /** Tells of each event, until the stream ends. */
  follow(options: RuntimeEventsOptions, signal: AbortSignal, told: () => void): Promise<void>;
}

/**
 * Follows the events of the runtime until `signal`: containerd's own, else those of CRI. A stream that breaks is begun anew with
 * growing pauses, and by the best that there is then. Rejects never.
 */
export async function followRuntime(
  options: RuntimeEventsOptions,
  signal: AbortSignal,
): Promise<void> {
  let againMs = firstAgainMs;
  while (!signal.aborted) {
    const end = await followBest(options, signal);
    if (signal.aborted) return;
    if (end.wasUp) againMs = firstAgainMs;
    await options.clock.sleep(end.isPossible ? againMs : withoutStreamMs, signal);
    againMs = Math.min(againMs * 2, lastAgainMs);
  }
}

interface StreamEnd {
  readonly isPossible: boolean;
  readonly wasUp: boolean;
}

async function followBest(options: RuntimeEventsOptions, signal: AbortSignal): Promise<StreamEnd> {
  for (const stream of streams) {
    const end = await followOnce(stream, options, signal);
    if (end.isPossible || signal.aborted) return end;
  }
  options.log.info({}, 'the container runtime has no stream of events; it is listed each second');
  return { isPossible: false, wasUp: false };
}

async function followOnce(
  stream: Stream,
  options: RuntimeEventsOptions,
  signal: AbortSignal,
): Promise<StreamEnd> {
  const { clock, log, meter } = options;
  const { name } = stream;
  const over = new AbortController();
  let isUp = false;
  const up = (): void => {
    if (isUp || over.signal.aborted || signal.aborted) return;
    isUp = true;
    meter?.begun(name);
    log.debug({ stream: name }, 'the container runtime tells of its events');
    options.listening(true);
  };
  const told = (): void => {
    up();
    meter?.told(name);
  };
  const settling = clock.sleep(settledMs, AbortSignal.any([signal, over.signal])).then(up);
  let isPossible = true;
  try {
    await stream.follow(options, signal, told);
  } catch (thrown) {
    isPossible = ConnectError.from(thrown).code !== Code.Unimplemented;
    const error = errorText(thrown);
    if (isPossible && !signal.aborted)
      log.debug({ stream: name, error }, 'the event stream of the container runtime broke');
  } finally {
    over.abort();
    await settling;
    if (isPossible && !signal.aborted) meter?.broken(name);
    if (isUp) options.listening(false);
  }
  return { isPossible, wasUp: isUp };
}

/** What CRI works in, of the namespaces of containerd. */
const headers = { 'containerd-namespace': 'k8s.io' };
const topics = ['/tasks/exit', '/tasks/oom', '/tasks/start', '/containers/delete'] as const;
const filters = topics.map((topic) => `topic=="${topic}"`);

/** Asked first: each subscriber has all events, where of CRI's stream in containerd 1.7 two take them from each other. */
const ofContainerd: Stream = {
  name: 'containerd',
  async follow(options, signal, told) {
    const { events } = options.cri;
    for await (const envelope of events.subscribe({ filters }, { signal, headers })) {
      told();
      tellTask(envelope, options);
    }
  },
};

function tellTask({ topic, event }: Envelope, options: RuntimeEventsOptions): void {
  const value = event?.value ?? new Uint8Array();
  switch (topic) {
    case '/tasks/exit': {
      const { containerId, id } = fromBinary(TaskExitSchema, value);
      // Another id than the container's is that of a process of an exec.
      if (id === '' || id === containerId) options.exited(containerId);
      return;
    }
    case '/tasks/oom':
      options.killedForMemory(fromBinary(TaskEventSchema, value).containerId);
      return;
    default:
      options.changed();
  }
}

const ofCri: Stream = {
  name: 'cri',
  async follow(options, signal, told) {
    for await (const event of options.cri.runtime.getContainerEvents({}, { signal })) {
      told();
      if (event.containerEventType === ContainerEventType.CONTAINER_STOPPED_EVENT) {
        options.exited(event.containerId);
      } else options.changed();
    }
  },
};

const streams: readonly Stream[] = [ofContainerd, ofCri];
