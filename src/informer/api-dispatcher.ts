import { createSecureContext } from 'node:tls';

import type * as Undici from 'undici';

import type { TlsSettings } from './api-credentials.ts';

/** How connections to an API server are made. */
export interface Connecting {
  readonly tls: TlsSettings;
  /** Undefined: there is no proxy. */
  readonly proxyUrl: string | undefined;
  /** Told that the server does not speak HTTP/2; undefined: HTTP/1.1 is what is wanted. */
  readonly onlyOne?: (() => void) | undefined;
}

const keepAlive = { keepAlive: true, keepAliveInitialDelay: 30_000 };
/** A connection is kept for the next request: what an agent asks for at rest (a lease) comes every ten seconds. API servers keep one for 90 s. */
const idleMs = 15_000;

/**
 * How many requests share a connection: API servers allow 100 to 250, proxies before them 100. Half of it may be sent on its way before
 * the server has said what it allows.
 */
const mostStreams = 100;
/** A connection that says nothing to a new request for so long is asked whether it is there (a PING), and given up where it is not. */
const answerMs = 15_000;

/** Time limits are the caller's: a watch is silent for long, and a watchdog sees to frozen peers. */
export function newDispatcher(
  undici: typeof Undici,
  { tls, proxyUrl, onlyOne }: Connecting,
): Undici.Dispatcher {
  const limits = { headersTimeout: 0, bodyTimeout: 0, allowH2: false, keepAliveTimeout: idleMs };
  if (proxyUrl !== undefined) {
    return new undici.ProxyAgent({ ...limits, uri: proxyUrl, requestTls: { ...tls } });
  }
  // Certificates are read once, and not by each connection.
  const secured = { ...tls, secureContext: createSecureContext({ ...tls }) };
  if (onlyOne === undefined) {
    return new undici.Agent({ ...limits, connect: { ...secured, ...keepAlive } });
  }
  return new undici.Agent({
    ...limits,
    allowH2: true,
    // a stream that ends leaves its connection to the others: only so is a dead one noticed
    headersTimeout: answerMs,
    pipelining: mostStreams / 2,
    h2Options: { maxConcurrentStreams: mostStreams },
    connect: sharedOnly(undici, secured, onlyOne),
  });
}

/** Refuses a server that would answer one request after the other: a watch before it would hold up a request for minutes. */
function sharedOnly(
  undici: typeof Undici,
  tls: TlsSettings,
  onlyOne: () => void,
): Undici.buildConnector.connector {
  const connect = undici.buildConnector({ ...tls, ...keepAlive, allowH2: true });
  return (options, callback) =>
    connect(options, (...result) => {
      const [error, socket] = result;
      if (error !== null || ('alpnProtocol' in socket && socket.alpnProtocol === 'h2')) {
        callback(...result);
        return;
      }
      socket.destroy();
      onlyOne();
      callback(new Error('the server does not speak HTTP/2'), null);
    });
}
