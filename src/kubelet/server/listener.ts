import type { IncomingMessage, Server as PlainServer, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import type { Clock } from '../../clock.ts';
import { SwitchyardError, errorText } from '../../error.ts';
import type { RefusalReason } from '../../telemetry/connection-metrics.ts';
import { requestUrl } from '../../telemetry/http-server.ts';
import type { Log } from '../../telemetry/log.ts';
import { TooManyReviewsError, isAnonymous } from './access/authentication.ts';
import type { Authentication } from './access/authentication.ts';
import type { Authorization } from './access/authorization.ts';
import { Exchanges } from './exchanges.ts';
import type { Routes } from './routes.ts';
import { sayText } from './say.ts';
import type { ServingPair } from './access/serving-certificate.ts';
import { Strangers } from './access/strangers.ts';
import type { StrangerLimits } from './access/strangers.ts';

export interface ListenerOptions {
  readonly address: string;
  readonly port: number;
  readonly routes: Routes;
  readonly log: Log;
  readonly clock: Clock;
  readonly onRequest: (request: {
    /** The first part: `/exec`. */
    readonly path: string;
    readonly method: string;
    /** On the port that knows who asks. */
    readonly isMain: boolean;
  }) => void;
  /** A client that is not known was sent away; `error`: it could not be looked up. */
  readonly onRefused: (reason: RefusalReason, address: string, error?: string) => void;
  /** Given by tests. */
  readonly limits?: Partial<StrangerLimits>;
  /** undefined: plain HTTP for anybody: the read-only port, and that of /healthz. */
  readonly guarded?: Guarded;
}

/** What a port needs that knows who asks. */
export interface Guarded {
  readonly pair: ServingPair;
  /** PEM; undefined: no certificate of a client is looked at. */
  readonly clientCa: string | undefined;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  /** By OpenSSL's names; none: those of Node. */
  readonly ciphers: readonly string[];
  readonly authentication: Authentication;
  readonly authorization: Authorization;
}

/**
 * The API server keeps an unused connection for 90 s: were ours the shorter time, it would now and then send a request into a connection
 * that is just being closed.
 */
const keepAliveMs = 150_000;

const usualLimits: StrangerLimits = {
  most: 200,
  mostInAll: 1000,
  askMs: 10_000,
  idleMs: keepAliveMs,
  atOnce: 4,
};

/** One port that answers. */
export class KubeletListener {
  readonly #options: ListenerOptions;
  readonly #server: PlainServer;
  readonly #exchanges: Exchanges;
  readonly #strangers: Strangers;

  constructor(options: ListenerOptions) {
    this.#options = options;
    const common = {
      keepAliveTimeout: keepAliveMs,
      // From the connection on, too: one that the API server has opened and not needed yet is as good as an unused one.
      headersTimeout: keepAliveMs,
      requestTimeout: keepAliveMs,
      shouldUpgradeCallback: (request: IncomingMessage) => options.routes.upgrades(pathOf(request)),
    };
    const { guarded } = options;
    this.#server =
      guarded === undefined
        ? createServer(common)
        : createTlsServer({
            ...common,
            ...contextOf(guarded),
            ALPNProtocols: ['http/1.1'],
            ...(guarded.clientCa === undefined
              ? {}
              : { requestCert: true, rejectUnauthorized: false }),
          });
    this.#exchanges = new Exchanges({
      ...options,
      letIn: async (request, response, url) => this.#letIn(request, response, url),
    });
    this.#exchanges.attach(this.#server);
    this.#strangers = new Strangers({
      limits: { ...usualLimits, ...options.limits },
      clock: options.clock,
      refused: options.onRefused,
    });
    this.#strangers.attach(this.#server);
  }

  /** Connections now; of strangers are those that have not been let in. */
  get connections(): Strangers['count'] {
    return this.#strangers.count;
  }

  /** The port bound. */
  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? this.#options.port;
  }

  async start(): Promise<void> {
    const { address, port, log } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause) => {
        const text = `cannot listen on ${address} port ${port}: ${errorText(cause)}`;
        const hint = 'free the port or choose another';
        reject(new SwitchyardError('missing', text, { cause, hint }));
      });
      this.#server.listen({ host: address, port }, resolve);
    });
    // One client could not be let in: that must not end the agent.
    this.#server.removeAllListeners('error').on('error', () => {});
    log.info({ address, port: this.port }, 'listens');
  }

  /** Another pair, or other CAs, for connections from now on. */
  renew(pair: ServingPair, clientCa: string | undefined): void {
    const { guarded } = this.#options;
    if (guarded === undefined || !('setSecureContext' in this.#server)) return;
    const server = this.#server as PlainServer & {
      setSecureContext: (options: SecureContextOptions) => void;
    };
    server.setSecureContext(contextOf({ ...guarded, pair, clientCa }));
  }

  /** Ends what is open, too. */
  async stop(): Promise<void> {
    this.#exchanges.stop();
    this.#strangers.stop();
    if (!this.#server.listening) return;
    await new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve();
      });
      this.#server.closeAllConnections();
    });
  }

  async #letIn(
    request: IncomingMessage,
    response: ServerResponse,
    { pathname }: URL,
  ): Promise<boolean> {
    const { onRequest, guarded } = this.#options;
    onRequest({
      path: `/${pathname.split('/', 2)[1] ?? ''}`,
      method: request.method ?? '',
      isMain: guarded !== undefined,
    });
    if (!this.#strangers.asks(request.socket, response)) return false;
    if (guarded === undefined) return true;
    return this.#isLetIn(guarded, request, response, pathname);
  }

  async #isLetIn(
    { authentication, authorization }: Guarded,
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
  ): Promise<boolean> {
    const user = await authentication.user(request).catch((error: unknown) => {
      this.#couldNotAsk(request, error);
      return error instanceof TooManyReviewsError ? ('busy' as const) : undefined;
    });
    if (user === 'busy') {
      response.setHeader('Retry-After', '1');
      return this.#refuse(request, response, 429, 'Too Many Requests');
    }
    if (user === undefined) return this.#refuse(request, response, 401, 'Unauthorized');
    const decision = await authorization.decide(user, request.method ?? '', path);
    if (decision.kind === 'denied') return this.#refuse(request, response, 403, decision.text);
    if (!isAnonymous(user)) this.#strangers.known(request.socket);
    return true;
  }

  /** Whoever is not known has no connection to ask once more by. */
  #refuse(
    { socket }: IncomingMessage,
    response: ServerResponse,
    status: number,
    text: string,
  ): false {
    if (this.#strangers.isStranger(socket)) response.setHeader('Connection', 'close');
    sayText(response, status, text);
    return false;
  }

  #couldNotAsk({ socket }: IncomingMessage, error: unknown): void {
    const reason = error instanceof TooManyReviewsError ? 'too_many_reviews' : 'unreviewed';
    this.#options.onRefused(reason, socket.remoteAddress ?? '', errorText(error));
  }
}

/** All of it, each time: what is not named when a context is replaced, is Node's default from then on. */
function contextOf({
  pair: { cert, key },
  clientCa,
  minVersion,
  ciphers,
}: Pick<Guarded, 'pair' | 'clientCa' | 'minVersion' | 'ciphers'>): SecureContextOptions {
  return {
    cert,
    key,
    minVersion,
    ...(ciphers.length === 0 ? {} : { ciphers: ciphers.join(':') }),
    ...(clientCa === undefined ? {} : { ca: clientCa }),
  };
}

function pathOf(request: IncomingMessage): string {
  return requestUrl(request).pathname;
}
