import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { SwitchyardError, errorText } from '../../../error.ts';
import { endSocket } from '../end-socket.ts';

export interface TunnelOptions {
  /** Of the runtime's streaming server, as CRI gave it. */
  readonly url: URL;
  readonly request: IncomingMessage;
  /** Takes the client's connection, and what came on it after the request. */
  readonly take: () => { readonly socket: Socket; readonly head: Buffer };
  /** Without a byte in either direction for so long, it is ended. */
  readonly idleMs: number;
  /** How long a client has for its own end where the runtime is gone; given by tests. */
  readonly lingerMs?: number;
}

const dialMs = 10_000;
const usualLingerMs = 10_000;

/**
 * Hands an upgrade on to the runtime as it came and carries bytes both ways until both have ended, each direction for itself: what is
 * spoken over it is between the two. Throws where nobody answers there; nothing was sent to the client then.
 */
export async function tunnel({
  url,
  request,
  take,
  idleMs,
  lingerMs = usualLingerMs,
}: TunnelOptions): Promise<void> {
  const runtime = await dial(url);
  const { socket, head } = take();
  runtime.removeAllListeners('timeout');
  runtime.setTimeout(idleMs, () => runtime.destroy());
  runtime.write(upgradeHead(url, request));
  if (head.length > 0) runtime.write(head);
  socket.allowHalfOpen = true;
  // One that went while the runtime was dialled has said so already.
  const clientGone = socket.closed ? Promise.resolve() : closing(socket);
  const runtimeGone = closing(runtime);
  socket.on('error', () => runtime.destroy());
  runtime.on('error', () => socket.destroy());
  // A client that is gone takes the runtime's end with it.
  socket.on('close', () => runtime.destroy());
  // What the runtime said last is still delivered. Where it was cut off, no end of its own has told the client.
  runtime.on('close', () => {
    if (runtime.readableEnded) endSocket(socket, { stuckMs: idleMs, lingerMs });
    else socket.destroy();
  });
  socket.pipe(runtime);
  runtime.pipe(socket);
  if (socket.destroyed) runtime.destroy();
  await Promise.all([clientGone, runtimeGone]);
}

async function closing(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
  });
}

async function dial(url: URL): Promise<Socket> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = Number(url.port === '' ? 80 : url.port);
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true, allowHalfOpen: true });
    socket.setTimeout(dialMs, () => socket.destroy(new Error('no connection in time')));
    const failed = (cause: Error): void => {
      reject(
        new SwitchyardError(
          'source',
          `the container runtime's streaming server at ${url.host} does not answer: ${errorText(cause)}`,
          { cause, retryable: true },
        ),
      );
    };
    socket.once('error', failed);
    socket.once('connect', () => {
      socket.off('error', failed);
      resolve(socket);
    });
  });
}

/** Whoever the client is to us is nothing to the runtime. */
const withheld = new Set(['host', 'authorization', 'cookie']);

function upgradeHead(url: URL, { method = 'GET', rawHeaders }: IncomingMessage): string {
  const lines = [`${method} ${url.pathname}${url.search} HTTP/1.1`, `Host: ${url.host}`];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    if (!withheld.has(name.toLowerCase())) lines.push(`${name}: ${rawHeaders[i + 1]}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** The streaming server has no authentication: only one of this very node is spoken to. Throws for another. */
export function ownStreamingUrl(text: string, ownAddresses: readonly string[]): URL {
  const url = URL.parse(text);
  const host = url?.hostname.replace(/^\[|\]$/g, '') ?? '';
  const isOwn = host === 'localhost' || host === '::1' || host.startsWith('127.');
  if (url?.protocol === 'http:' && (isOwn || ownAddresses.includes(host))) return url;
  throw new SwitchyardError(
    'object',
    `the container runtime gave ${text} for streaming, which is not an address of this node`,
    { hint: "set stream_server_address to 127.0.0.1 in the runtime's configuration" },
  );
}
