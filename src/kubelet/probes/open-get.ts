import { request as plainRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';

/**
 * A GET on a connection of its own, TLS certificates unverified, as probes and hooks ask. A `host` among the headers counts
 * before that of the URL; `servername`: of TLS, where it is not the URL's. Resolves with the head of the answer, whose body is to be destroyed.
 */
export async function openGet(
  url: URL,
  headers: Readonly<Record<string, string[]>>,
  signal: AbortSignal,
  servername?: string,
): Promise<IncomingMessage> {
  const { request } =
    url.protocol === 'https:' ? await import('node:https') : { request: plainRequest };
  const { host, ...others } = headers;
  const options = {
    method: 'GET',
    headers: { ...others, connection: 'close', host: host?.[0] ?? url.host },
    agent: false,
    signal,
    rejectUnauthorized: false,
    ...(servername === undefined ? {} : { servername }),
  } as const;
  return new Promise((resolve, reject) => {
    request(url.href, options, resolve).on('error', reject).end();
  });
}
