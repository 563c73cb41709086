import type { IncomingMessage, Server } from 'node:http';
import { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { errorText } from '../../error.ts';
import { requestUrl } from '../../telemetry/http-server.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Exchange, Routes } from './routes.ts';
import { sayText } from './say.ts';

export interface ExchangesOptions {
  readonly routes: Routes;
  readonly log: Log;
  /** Asked first: says whether the request goes on to the routes, and answers it where not. */
  readonly letIn?: (
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
  ) => Promise<boolean>;
}

/** What a server of HTTP is asked, as exchanges for the routes; upgrades of connections too, which it ends at the end. */
export class Exchanges {
  readonly #options: ExchangesOptions;
  /** Taken from the HTTP server by an upgrade: it no longer knows of them. */
  readonly #upgraded = new Set<Duplex>();
  readonly #stopping = new AbortController();

  constructor(options: ExchangesOptions) {
    this.#options = options;
  }

  /** Answers for a server from now on. */
  attach(server: Server): void {
    server.on('request', (request, response) => {
      void this.#answer({ request, response });
    });
    server.on('upgrade', (request, socket, head) => {
      this.#upgrade(request, socket, head);
    });
  }

  /** Ends what is open. */
  stop(): void {
    this.#stopping.abort();
    for (const socket of this.#upgraded) socket.destroy();
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#upgraded.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => this.#upgraded.delete(socket));
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket as Socket);
    response.once('finish', () => socket.end());
    const take = (): { socket: Duplex; head: Buffer } => {
      response.detachSocket(socket as Socket);
      return { socket, head };
    };
    void this.#answer({ request, response, take });
  }

  async #answer({
    request,
    response,
    take,
  }: Pick<Exchange, 'request' | 'response' | 'take'>): Promise<void> {
    const { routes, log, letIn } = this.#options;
    const gone = new AbortController();
    // Of the response: many requests come by one connection, one after another.
    (take === undefined ? response : request.socket).once('close', () => {
      gone.abort();
    });
    const signal = AbortSignal.any([gone.signal, this.#stopping.signal]);
    response.on('error', () => {});
    try {
      const url = requestUrl(request);
      if (letIn !== undefined && !(await letIn(request, response, url))) return;
      await routes.answer({ request, response, take, url, signal });
    } catch (error) {
      if (!signal.aborted) log.warn({ url: request.url }, `request failed: ${errorText(error)}`);
      if (response.headersSent) response.destroy();
      else sayText(response, 500, errorText(error));
    }
  }
}
