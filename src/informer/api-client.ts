import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';

import type * as Undici from 'undici';

import type { Clock } from '../clock.ts';
import { errorText, SwitchyardError } from '../error.ts';
import type { Log } from '../telemetry/log.ts';
import type { RestRequest } from '../telemetry/rest-client-metrics.ts';
import type { ApiAccess, TlsSettings } from './api-credentials.ts';
import type { RunProgram } from './exec-plugin.ts';
import { newDispatcher } from './api-dispatcher.ts';
import { KeptAccess } from './kept-access.ts';
import { loadKubeConfig } from './kubeconfig.ts';

/** An answer of the API server; its body has to be read to the end or destroyed. */
export interface ApiResponse {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Readable;
}

/** The transport to one API server. Every call takes part in one connection pool. */
export interface ApiClient {
  /** `https://10.0.0.1:6443`, without credentials. */
  readonly server: string;
  /**
   * GET `path` (`/api/v1/services`). Resolves for every HTTP status; throws a retryable `source` error
   * when there is no answer. It sets no time limit: `signal` does. `accept`: media types, JSON unless given.
   */
  get(
    path: string,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
    accept?: string,
  ): Promise<ApiResponse>;
  /** Reads kubeconfig, token and certificates again and drops what plugins gave: for after a 401. */
  reloadCredentials(): Promise<void>;
  /** Ends all connections. */
  close(): Promise<void>;
}

/**
 * What becomes of the value that is sent: an object below the path; merged into the one at the path (RFC 7386, or by the merge keys of
 * Kubernetes); put in its place; or the `DeleteOptions` of its deletion, preconditions among them.
 */
export type WriteVerb = 'create' | 'merge' | 'strategicMerge' | 'replace' | 'delete';

/** The same connections, for those who write. */
export interface ApiWriter extends Pick<ApiClient, 'server' | 'reloadCredentials'> {
  /** Sends a value as JSON. Else as {@link ApiClient.get}. */
  send(verb: WriteVerb, path: string, value: unknown, signal: AbortSignal): Promise<ApiResponse>;
}

/** Where the API server is. None of the two: the pod's own service account. */
export interface ApiClientOptions {
  readonly kubeconfig?: string;
  readonly master?: string;
  readonly log: Log;
  readonly clock: Clock;
  /** Runs the credential plugins of a kubeconfig. */
  readonly runProgram: RunProgram;
  /** Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Default `/var/run/secrets/kubernetes.io/serviceaccount`. */
  readonly serviceAccountDirectory?: string;
  /** Told of each request when its status line is there, or when there will be none; for metrics. */
  readonly onRequest?: (request: RestRequest) => void;
}

const SERVICE_ACCOUNT_DIRECTORY = '/var/run/secrets/kubernetes.io/serviceaccount';
/** Without a word about encodings a proxy may choose any. */
const OWN_HEADERS = {
  'accept-encoding': 'identity',
  'user-agent': 'switchyard',
};
const jsonType = 'application/json';
const writes = {
  create: { method: 'POST', type: jsonType },
  merge: { method: 'PATCH', type: 'application/merge-patch+json' },
  strategicMerge: { method: 'PATCH', type: 'application/strategic-merge-patch+json' },
  replace: { method: 'PUT', type: jsonType },
  delete: { method: 'DELETE', type: jsonType },
} as const satisfies Record<
  WriteVerb,
  { readonly method: OwnRequest['method']; readonly type: string }
>;

/** Two ways to one API server, with the same credentials. */
export interface ApiClients {
  /** Each request that goes on has a connection to itself. */
  readonly client: ApiClient & ApiWriter;
  /** For many watches: they share a few connections over HTTP/2, where the server speaks it and no proxy is in between. */
  readonly sharing: ApiClient;
  /**
   * From now on the client certificate and the key of this file, read at each request, count instead of what the settings say; undefined:
   * these count again, and are read anew.
   */
  readonly useClientFile: (path: string | undefined) => Promise<void>;
}

/** As {@link loadApiClients}, for who has few watches. */
export async function loadApiClient(options: ApiClientOptions): Promise<ApiClient & ApiWriter> {
  return (await loadApiClients(options)).client;
}

/** Loads the settings and makes the clients; opens no connection. Throws where the settings cannot be used. */
export async function loadApiClients(options: ApiClientOptions): Promise<ApiClients> {
  const load = (clientFile: string | undefined): ApiAccess =>
    loadKubeConfig({
      clientFile,
      ...(options.kubeconfig === undefined ? {} : { kubeconfig: options.kubeconfig }),
      ...(options.master === undefined ? {} : { master: options.master }),
      env: options.env ?? process.env,
      serviceAccountDirectory: options.serviceAccountDirectory ?? SERVICE_ACCOUNT_DIRECTORY,
      clock: options.clock,
      runProgram: options.runProgram,
    });
  const undici = await import('undici');
  const access = new KeptAccess(load, options);
  return {
    client: new UndiciApiClient(access, undici, options),
    sharing: new UndiciApiClient(access, undici, { ...options, shareConnections: true }),
    useClientFile: async (path) => access.useClientFile(path),
  };
}

/** What differs between requests. */
interface OwnRequest {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

class UndiciApiClient implements ApiClient, ApiWriter {
  readonly #access: KeptAccess;
  readonly #undici: typeof Undici;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #onRequest: ApiClientOptions['onRequest'];
  #sharesConnections: boolean;
  #agent: { readonly key: string; readonly dispatcher: Undici.Dispatcher } | undefined;

  constructor(
    access: KeptAccess,
    undici: typeof Undici,
    ports: Pick<ApiClientOptions, 'log' | 'clock' | 'onRequest'> & {
      readonly shareConnections?: boolean;
    },
  ) {
    this.#access = access;
    this.#sharesConnections = ports.shareConnections === true && access.server.startsWith('https:');
    this.#undici = undici;
    this.#log = ports.log;
    this.#clock = ports.clock;
    this.#onRequest = ports.onRequest;
  }

  get server(): string {
    return this.#access.server;
  }

  async get(
    path: string,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
    accept = jsonType,
  ): Promise<ApiResponse> {
    const url = new URL(this.server + path);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const request = { method: 'GET', headers: { accept } } as const;
    const isShared = this.#sharesConnections;
    try {
      return await this.#request(url, request, signal);
    } catch (error) {
      // that the server speaks HTTP/1.1 alone is known only now
      if (signal.aborted || this.#sharesConnections === isShared) throw error;
      return this.#request(url, request, signal);
    }
  }

  async send(
    verb: WriteVerb,
    path: string,
    value: unknown,
    signal: AbortSignal,
  ): Promise<ApiResponse> {
    const { method, type } = writes[verb];
    const headers = { accept: jsonType, 'content-type': type };
    const request = { method, headers, body: JSON.stringify(value) };
    return this.#request(new URL(this.server + path), request, signal);
  }

  async #request(url: URL, request: OwnRequest, signal: AbortSignal): Promise<ApiResponse> {
    signal.throwIfAborted();
    const startMs = this.#clock.monotonic();
    const asked = (status: number | undefined, length?: string): void =>
      this.#onRequest?.({
        method: request.method,
        host: url.host,
        status,
        seconds: (this.#clock.monotonic() - startMs) / 1000,
        sentBytes: Buffer.byteLength(request.body ?? ''),
        receivedBytes: length === undefined ? undefined : Number(length),
      });
    try {
      const { headers, tls } = await abortable(this.#access.credentials(), signal);
      const response = await this.#undici.request(url, {
        ...request,
        headers: { ...OWN_HEADERS, ...request.headers, ...headers },
        dispatcher: this.#dispatcher(tls),
        signal,
      });
      const answered = singleHeaders(response.headers);
      asked(response.statusCode, answered['content-length']);
      return { status: response.statusCode, headers: answered, body: response.body };
    } catch (error) {
      if (signal.aborted) throw error;
      asked(undefined);
      if (error instanceof SwitchyardError) throw error;
      throw new SwitchyardError('source', `API server ${this.server}: ${failureText(error)}`, {
        cause: error,
        retryable: true,
      });
    }
  }

  async reloadCredentials(): Promise<void> {
    await this.#access.reload();
  }

  async close(): Promise<void> {
    this.#access.dropLook('the client is closed');
    const agent = this.#agent;
    this.#agent = undefined;
    await agent?.dispatcher.destroy();
  }

  /** One agent for all requests, made anew only when certificates change; old watches end on the old one. */
  #dispatcher(tls: TlsSettings): Undici.Dispatcher {
    const { proxyUrl } = this.#access;
    const isShared = this.#sharesConnections && proxyUrl === undefined;
    const key = createHash('sha256')
      .update(JSON.stringify([tls, proxyUrl, isShared]))
      .digest('hex');
    if (this.#agent?.key === key) return this.#agent.dispatcher;
    const old = this.#agent;
    if (old !== undefined) {
      this.#log.info(
        { server: this.server },
        'connecting in another way: with other certificates, or another form of HTTP',
      );
      void old.dispatcher.close().catch((error: unknown) => {
        this.#log.debug({ err: error }, 'old connections did not close');
      });
    }
    const onlyOne = (): void => {
      this.#sharesConnections = false;
    };
    const dispatcher = newDispatcher(this.#undici, {
      tls,
      proxyUrl,
      ...(isShared && { onlyOne }),
    });
    this.#agent = { key, dispatcher };
    return dispatcher;
  }
}

/** A plugin that hangs must not hold a request that was given up. */
async function abortable<R>(work: Promise<R>, signal: AbortSignal): Promise<R> {
  const over = new AbortController();
  const aborted = new Promise<never>((_resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', stop, { once: true, signal: over.signal });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    over.abort();
  }
}

function singleHeaders(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(', ') : value,
    ]),
  );
}

/** Happy-eyeballs failures are aggregates without a message of their own. */
function failureText(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map(errorText).join('; ');
  }
  return errorText(error);
}
