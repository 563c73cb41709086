import type { IncomingMessage, Server } from 'node:http';
import { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { errorText } from '../../error.ts';
import { requestUrl } from '../../telemetry/http-server.ts';
import type { Log } from '../../telemetry/log.ts';
import { endSocket } from './end-socket.ts';
import type { EndTimes } from './end-socket.ts';
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
  /** How long an upgrade that is not taken may keep its connection; given by tests. */
  readonly untaken?: EndTimes & { readonly waitMs: number };
}

/** Finding out who asks and what the runtime says has its own, shorter times. */
const usualUntaken = { waitMs: 120_000, stuckMs: 10_000, lingerMs: 1_000 };

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

  /** The server's own timeouts end with the upgrade, and whoever asks for one may be anybody. */
  #upgrade(request: IncomingMessage, given: Duplex, head: Buffer): void {
    const socket = given as Socket;
    const { untaken = usualUntaken } = this.#options;
    this.#upgraded.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => this.#upgraded.delete(socket));
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    response.once('finish', () => endSocket(socket, untaken));
    const late = (): void => void socket.destroy();
    socket.setTimeout(untaken.waitMs, late);
    const take = (): { socket: Socket; head: Buffer } => {
      socket.setTimeout(0).off('timeout', late);
      response.detachSocket(socket);
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
