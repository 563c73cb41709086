import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** A request, and where its answer goes. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  /** Aborts when the client is gone, or the server ends. */
  readonly signal: AbortSignal;
  /** For a request to upgrade: takes the connection, and what came after the request; `response` is of no use afterwards. */
  readonly take?: (() => { readonly socket: Socket; readonly head: Buffer }) | undefined;
}

/** What a port answers. */
export interface Routes {
  answer(exchange: Exchange): Promise<void>;
  /** Whether an upgrade of the connection is meant on this path; elsewhere it is an ordinary request. */
  upgrades(path: string): boolean;
}
