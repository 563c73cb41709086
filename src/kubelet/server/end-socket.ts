import type { Socket } from 'node:net';

export interface EndTimes {
  /** How long what was written may make no way to the client; 0: for ever. */
  readonly stuckMs: number;
  /** How long the client has for its own end, once it was told ours. */
  readonly lingerMs: number;
}

/**
 * Ends a connection that nobody reads any more. What was written still goes out, and what comes is thrown away: closed with bytes unread, a
 * connection is reset, and the client may never see what was said last. A client that keeps its side open does not keep the descriptor.
 */
export function endSocket(socket: Socket, { stuckMs, lingerMs }: EndTimes): void {
  const linger = (): void => {
    const timer = setTimeout(() => socket.destroy(), lingerMs);
    socket.once('close', () => clearTimeout(timer));
    socket.resume();
  };
  socket.setTimeout(stuckMs, () => socket.destroy());
  if (socket.writableFinished) linger();
  else socket.once('finish', linger);
  socket.end();
}
