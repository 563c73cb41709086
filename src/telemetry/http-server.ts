import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Clock } from '../clock.ts';
import { SwitchyardError, errorText } from '../error.ts';
import type { Log } from './log.ts';

/** Answers one request. */
export type HttpHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** What a request asks for. Whatever a client sends, it is a URL: `//` is a path, and no host's name. */
export function requestUrl({ url = '/' }: Pick<IncomingMessage, 'url'>): URL {
  const whole = url.startsWith('/') ? `http://agent${url}` : url;
  return URL.parse(whole) ?? new URL('http://agent/');
}

export interface ListenOptions {
  readonly address: string;
  readonly port: number;
  /** `::` then leaves IPv4 alone, so that a socket a family can be bound to one port. */
  readonly ipv6Only?: boolean;
}

/** A socket that answers. */
export interface Listening {
  /** The port bound, where 0 was asked for. */
  readonly port: number;
  /** Stops answering, ends what is open, resolves when the port is free. */
  close(): Promise<void>;
}

/** Binds once; rejects with the system's error where the address is taken or not local. */
export async function listen(options: ListenOptions, handler: HttpHandler): Promise<Listening> {
  const server = createServer({ requestTimeout: 10_000 }, unbreakable(handler));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(
      { host: options.address, port: options.port, ipv6Only: options.ipv6Only ?? false },
      () => {
        server.off('error', reject);
        resolve();
      },
    );
  });
  // One client could not be let in (no file descriptor was left, say): that must not end the agent.
  server.on('error', () => {});
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : options.port,
    close: async () => closeServer(server),
  };
}

/** Whoever asks may be anybody: no request ends the process, whatever it makes of a handler. */
function unbreakable(handler: HttpHandler): HttpHandler {
  return (request, response) => {
    try {
      handler(request, response);
    } catch (error) {
      if (response.headersSent) response.destroy();
      else response.writeHead(500, { 'Content-Type': 'text/plain' }).end(`${errorText(error)}\n`);
    }
  };
}

async function closeServer(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => {
      resolve();
    });
    server.closeAllConnections();
  });
}

export interface HttpServerOptions extends ListenOptions {
  /** For logs: `health server`. */
  readonly name: string;
  readonly handler: HttpHandler;
  readonly log: Log;
  readonly clock: Clock;
  /** A taken port is an error at start instead of something to wait for. */
  readonly hardFail: boolean;
  /** Time between tries, default 5 s as kube-proxy. */
  readonly retryMs?: number;
  /** Told why it cannot listen: at first, and then every few minutes. */
  readonly onFailure?: (why: string) => void;
}

/** The log says it with each try; whoever else is told, is told more seldom. */
const tellEveryMs = 300_000;

/** A server that is kept up: where its port is taken, it is tried again until stopped. */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #stopping = new AbortController();
  #listening: Listening | undefined;
  #retrying: Promise<void> = Promise.resolve();
  #toldAtMs: number | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
  }

  /** The port in use, undefined while there is none. */
  get port(): number | undefined {
    return this.#listening?.port;
  }

  /** Tries once; then goes on in the background, or rejects with `hardFail`. */
  async start(): Promise<void> {
    const failure = await this.#try();
    if (failure === undefined) return;
    if (this.#options.hardFail) throw failure;
    this.#retrying = this.#retry();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#retrying;
    await this.#listening?.close();
    this.#listening = undefined;
  }

  async #retry(): Promise<void> {
    const { clock, retryMs = 5000 } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await clock.sleep(retryMs, signal);
      if (signal.aborted || (await this.#try()) === undefined) return;
    }
  }

  async #try(): Promise<SwitchyardError | undefined> {
    const { name, address, port, handler, log, hardFail, retryMs = 5000 } = this.#options;
    try {
      this.#listening = await listen(this.#options, handler);
      log.info({ address, port: this.#listening.port }, `${name} listens`);
      return undefined;
    } catch (cause) {
      const failure = new SwitchyardError(
        'missing',
        `${name}: cannot listen on ${address} port ${port}: ${errorText(cause)}`,
        { cause, retryable: true, hint: 'free the port or choose another address' },
      );
      if (!hardFail) log.error({ address, port, retryMs }, `${failure.message}; trying again`);
      this.#tell(failure.message);
      return failure;
    }
  }

  #tell(why: string): void {
    const { clock, onFailure } = this.#options;
    const nowMs = clock.monotonic();
    if (this.#toldAtMs !== undefined && nowMs - this.#toldAtMs < tellEveryMs) return;
    this.#toldAtMs = nowMs;
    onFailure?.(why);
  }
}
