import { connect } from 'node:net';
import type { DescService, MessageInitShape } from '@bufbuild/protobuf';
import { Code, createClient } from '@connectrpc/connect';
import type { CallOptions, Client, Transport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import type { Clock } from '../../clock.ts';
import { SwitchyardError } from '../../error.ts';
import { Events } from './gen/containerd-events_pb.ts';
import { ImageService, RuntimeService } from './gen/api_pb.ts';
import type {
  ExecSyncRequest,
  PodSandboxConfigSchema,
  StopContainerRequest,
} from './gen/api_pb.ts';
import { CriError, criError } from './cri-error.ts';

/** The container runtime: the two services of CRI v1, each call with a deadline, failures as {@link CriError}. */
export interface Cri {
  /** As configured; for messages. */
  readonly endpoint: string;
  readonly runtime: Client<typeof RuntimeService>;
  readonly images: Client<typeof ImageService>;
  /** containerd's own; another runtime, or the one in memory, may not have it. No deadline. */
  readonly events: Client<typeof Events>;
}

/** What a sandbox is made by; images are pulled for one. */
export type SandboxConfig = MessageInitShape<typeof PodSandboxConfigSchema>;

export interface CriOptions {
  /** `runtimeRequestTimeout`. */
  readonly requestTimeoutMs?: number;
}

const twoMinutesMs = 120_000;
/** Pods by the hundred, with all their labels and annotations, in one answer. */
const maxMessageBytes = 16 * 1024 * 1024;

/** Speaks to the runtime at a Unix socket (`unix:///run/containerd/containerd.sock`); connects with the first call, and anew with the next after each break. */
export function connectCri(endpoint: string, clock: Clock, options: CriOptions = {}): Cri {
  const path = socketPath(endpoint);
  const transport = createGrpcTransport({
    baseUrl: 'http://localhost',
    readMaxBytes: maxMessageBytes,
    writeMaxBytes: maxMessageBytes,
    nodeOptions: { createConnection: () => connect(path) },
  });
  return criOver(transport, endpoint, clock, options);
}

/** The same over any transport. */
export function criOver(
  transport: Transport,
  endpoint: string,
  clock: Clock,
  { requestTimeoutMs = twoMinutesMs }: CriOptions = {},
): Cri {
  const guard = new Guard(endpoint, clock, requestTimeoutMs);
  return {
    endpoint,
    runtime: guard.client(RuntimeService, transport),
    images: guard.client(ImageService, transport),
    events: createClient(Events, transport),
  };
}

/** What the runtime says that it is; throws where it speaks another version of CRI. */
export async function checkVersion(
  { runtime, endpoint }: Cri,
  signal?: AbortSignal,
): Promise<{ readonly name: string; readonly version: string }> {
  const answer = await runtime.version({ version: 'v1' }, signal ? { signal } : {});
  if (answer.runtimeApiVersion !== 'v1') {
    throw new SwitchyardError(
      'missing',
      `${endpoint} speaks version ${answer.runtimeApiVersion} of the Container Runtime Interface; v1 is needed`,
      { hint: 'containerd 1.6 or newer has it' },
    );
  }
  return { name: answer.runtimeName, version: answer.runtimeVersion };
}

function socketPath(endpoint: string): string {
  const path = endpoint.startsWith('unix:') ? endpoint.slice(5).replace(/^\/\//, '') : endpoint;
  if (path.startsWith('/')) return path;
  throw new SwitchyardError(
    'usage',
    `container runtime endpoint ${endpoint}: only a Unix socket, unix:///PATH, can be used`,
  );
}

type Call = (request: unknown, options?: CallOptions) => Promise<unknown>;

class Guard {
  readonly #endpoint: string;
  readonly #clock: Clock;
  readonly #requestTimeoutMs: number;

  constructor(endpoint: string, clock: Clock, requestTimeoutMs: number) {
    this.#endpoint = endpoint;
    this.#clock = clock;
    this.#requestTimeoutMs = requestTimeoutMs;
  }

  client<S extends DescService>(service: S, transport: Transport): Client<S> {
    const plain = createClient(service, transport);
    const calls = plain as unknown as Readonly<Record<string, Call>>;
    const unary = service.methods.filter(({ methodKind }) => methodKind === 'unary');
    const guarded = unary.map(({ localName, name }) => {
      const call = calls[localName];
      if (call === undefined) throw new SwitchyardError('internal', `no call ${name}`);
      return [
        localName,
        async (request: unknown, options: CallOptions = {}) =>
          this.#bounded(name, request, options, call),
      ] as const;
    });
    return { ...plain, ...Object.fromEntries(guarded) };
  }

  async #bounded(
    name: string,
    request: unknown,
    options: CallOptions,
    call: Call,
  ): Promise<unknown> {
    options.signal?.throwIfAborted();
    const limitMs = this.#limitMs(name, request);
    const limited = new AbortController();
    const over = new AbortController();
    // By a listener: `AbortSignal.any` takes as long as a good part of the call.
    const leave = (): void => limited.abort(options.signal?.reason);
    options.signal?.addEventListener('abort', leave);
    if (limitMs !== undefined) void this.#expire(limitMs, limited, over.signal);
    try {
      return await call(request, { ...options, signal: limited.signal });
    } catch (thrown) {
      options.signal?.throwIfAborted();
      if (!limited.signal.aborted) throw criError(name, this.#endpoint, thrown);
      const text = `no answer within ${(limitMs ?? 0) / 1000} s`;
      throw new CriError(name, Code.DeadlineExceeded, text, thrown);
    } finally {
      options.signal?.removeEventListener('abort', leave);
      over.abort();
    }
  }

  async #expire(limitMs: number, late: AbortController, over: AbortSignal): Promise<void> {
    await this.#clock.sleep(limitMs, over);
    if (!over.aborted) late.abort();
  }

  /** undefined: it takes as long as it takes. */
  #limitMs(name: string, request: unknown): number | undefined {
    switch (name) {
      case 'PullImage':
        return undefined;
      case 'RunPodSandbox':
        return 2 * this.#requestTimeoutMs;
      case 'StopContainer': {
        const { timeout } = request as StopContainerRequest;
        return seconds(timeout) + this.#requestTimeoutMs;
      }
      case 'ExecSync': {
        const { timeout } = request as ExecSyncRequest;
        const limit = seconds(timeout);
        return limit === 0 ? undefined : limit + this.#requestTimeoutMs;
      }
      default:
        return this.#requestTimeoutMs;
    }
  }
}

function seconds(value: bigint | undefined): number {
  return Number(value ?? 0n) * 1000;
}
