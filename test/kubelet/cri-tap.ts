import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect, constants, createServer } from 'node:http2';
import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  Http2Server,
  IncomingHttpHeaders,
  ServerHttp2Stream,
} from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { fromBinary } from '@bufbuild/protobuf';
import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import {
  CreateContainerRequestSchema,
  CreateContainerResponseSchema,
  RunPodSandboxRequestSchema,
  RunPodSandboxResponseSchema,
  StartContainerRequestSchema,
  StopPodSandboxRequestSchema,
} from '../../src/kubelet/cri/gen/api_pb.ts';
import type { Moment } from './api-tap.ts';

/** A call that changes something of a pod. */
export interface RuntimeChange {
  readonly name: string;
  /** The pod's. */
  readonly pod: string;
}

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly data: Buffer;
  readonly trailers: IncomingHttpHeaders;
}

/** Before the message: whether it is compressed, and its length. */
const prefixBytes = 5;

/** Stands between a kubelet and its container runtime, and can cut off the calls that change something of a pod's life, at either moment. */
export class CriTap {
  readonly socket: string;
  /** Asked at both moments of each call; true: it is cut off. */
  cut: ((moment: Moment, call: RuntimeChange) => Promise<boolean>) | undefined;
  /** By id of a sandbox or a container, its pod and its own name: '' for a sandbox. */
  readonly made = new Map<string, { readonly pod: string; readonly name: string }>();
  readonly #server: Http2Server;
  readonly #runtime: ClientHttp2Session;

  constructor(socket: string, runtime: string) {
    this.socket = socket;
    this.#runtime = connect('http://localhost', { createConnection: () => connectSocket(runtime) });
    this.#runtime.on('error', () => {});
    this.#server = createServer();
    this.#server.on('stream', (stream, headers) => {
      stream.on('error', () => {});
      void this.#serve(stream, headers);
    });
  }

  async start(): Promise<void> {
    rmSync(this.socket, { force: true });
    this.#server.listen(this.socket);
    await once(this.#server, 'listening');
  }

  stop(): void {
    this.#server.close();
    this.#runtime.destroy();
  }

  async #serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    const name = headers[':path']?.split('/').at(-1) ?? '';
    const podOf = changes[name];
    if (podOf === undefined) {
      passOn(stream, this.#ask(headers));
      return;
    }
    try {
      const request = await bytesOf(stream);
      const call = { name, pod: podOf(request.subarray(prefixBytes), this.made) };
      if ((await this.cut?.('before', call)) === true) throw new Error('cut off');
      const asked = this.#ask(headers);
      asked.end(request);
      const answer = await answerOf(asked);
      this.#learn(call, request, answer);
      if ((await this.cut?.('after', call)) === true) throw new Error('cut off');
      give(stream, answer);
    } catch {
      stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  }

  #ask(headers: IncomingHttpHeaders): ClientHttp2Stream {
    const asked = this.#runtime.request(headers);
    asked.on('error', () => {});
    return asked;
  }

  #learn({ name, pod }: RuntimeChange, request: Buffer, { data }: Answer): void {
    if (data.length <= prefixBytes) return;
    if (name === 'RunPodSandbox') {
      this.made.set(read(RunPodSandboxResponseSchema, data).podSandboxId, { pod, name: '' });
    }
    if (name === 'CreateContainer') {
      const { config } = read(CreateContainerRequestSchema, request);
      const { containerId } = read(CreateContainerResponseSchema, data);
      this.made.set(containerId, { pod, name: config?.metadata?.name ?? '' });
    }
  }
}

type PodOf = (request: Uint8Array, made: CriTap['made']) => string;

const ofContainer: PodOf = (request, made) =>
  made.get(fromBinary(StartContainerRequestSchema, request).containerId)?.pod ?? '';

/** What changes something in a pod's life; what is removed after it, minutes later, is not of it. */
const changes: Readonly<Record<string, PodOf>> = {
  RunPodSandbox: (request) =>
    fromBinary(RunPodSandboxRequestSchema, request).config?.metadata?.name ?? '',
  CreateContainer: (request) =>
    fromBinary(CreateContainerRequestSchema, request).sandboxConfig?.metadata?.name ?? '',
  StartContainer: ofContainer,
  StopContainer: ofContainer,
  StopPodSandbox: (request, made) =>
    made.get(fromBinary(StopPodSandboxRequestSchema, request).podSandboxId)?.pod ?? '',
};

function read<T extends DescMessage>(schema: T, message: Buffer): MessageShape<T> {
  return fromBinary(schema, message.subarray(prefixBytes));
}

/** A call that is none of these: both ways, as it comes. */
function passOn(stream: ServerHttp2Stream, asked: ClientHttp2Stream): void {
  let trailers: IncomingHttpHeaders = {};
  stream.pipe(asked);
  stream.once('close', () => asked.destroy());
  stream.once('wantTrailers', () => {
    stream.sendTrailers(trailers);
  });
  asked.once('response', (headers) => {
    if (!stream.destroyed) stream.respond(headers, { waitForTrailers: true });
    asked.pipe(stream);
  });
  asked.once('trailers', (given: IncomingHttpHeaders) => {
    trailers = given;
  });
  asked.once('error', () => stream.destroy());
}

async function answerOf(asked: ClientHttp2Stream): Promise<Answer> {
  let trailers: IncomingHttpHeaders = {};
  asked.once('trailers', (given: IncomingHttpHeaders) => {
    trailers = given;
  });
  const [headers] = (await once(asked, 'response')) as [IncomingHttpHeaders];
  const data = await bytesOf(asked);
  return { headers, data, trailers };
}

function give(stream: ServerHttp2Stream, { headers, data, trailers }: Answer): void {
  if (stream.destroyed) return;
  stream.once('wantTrailers', () => {
    stream.sendTrailers(trailers);
  });
  stream.respond(headers, { waitForTrailers: true });
  stream.end(data);
}

async function bytesOf(stream: ServerHttp2Stream | ClientHttp2Stream): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}
