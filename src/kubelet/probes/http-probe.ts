import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import type { Container, HttpGet } from '../pod/container.ts';
import { errorText, systemCode } from '../../error.ts';
import { hostOf, portOf } from './addressing.ts';
import { keptOutputBytes } from './outcome.ts';
import { openGet } from './open-get.ts';
import type { ProbeOutcome } from './outcome.ts';
import { dialText } from './tcp-probe.ts';
import type { NetworkProbe } from './tcp-probe.ts';
import { withTimeLimit } from './time-limit.ts';

type Headers = readonly { readonly name: string; readonly value: string }[];

const maxRedirects = 10;

/** What a handler `httpGet` asks for. Throws where its port is not one of the container's. */
export function httpUrl(handler: HttpGet, podIP: string | undefined, container: Container): URL {
  const host = hostOf(handler.host, podIP);
  const port = portOf(handler.port, container);
  const scheme = handler.scheme.toLowerCase();
  const path = handler.path.startsWith('/') ? handler.path : `/${handler.path}`;
  return new URL(`${scheme}://${isIP(host) === 6 ? `[${host}]` : host}:${port}${path}`);
}

/**
 * GET (`HTTPGetAction` of the API): each time by a connection of its own, no certificate looked at, no proxy. From 200 to 399 is success; a
 * redirect is followed as long as it stays on the host, and is a warning where it does not.
 */
export async function probeHttp(
  url: URL,
  headers: Headers,
  { userAgent, timeoutMs, signal }: NetworkProbe,
): Promise<ProbeOutcome> {
  const sent = probeHeaders(headers, userAgent);
  return withTimeLimit(timeoutMs, signal, async (limited) => follow(url, sent, limited));
}

async function follow(
  url: URL,
  sent: Readonly<Record<string, string[]>>,
  signal: AbortSignal,
): Promise<ProbeOutcome> {
  let at = url;
  try {
    for (let redirects = 0; ; redirects++) {
      const answer = await ask(at, sent, signal);
      const next = redirectOf(at, answer);
      if (next === undefined) return outcomeOf(answer);
      if (next.hostname !== url.hostname) {
        return {
          kind: 'warning',
          output: 'Probe terminated redirects, Response body: ' + answer.body,
        };
      }
      if (redirects === maxRedirects) {
        return { kind: 'failure', output: `Get "${next.href}": stopped after 10 redirects` };
      }
      at = next;
    }
  } catch (error) {
    return { kind: 'failure', output: `Get "${at.href}": ${failureText(at, error)}` };
  }
}

interface Answer {
  readonly status: number;
  readonly location: string | undefined;
  readonly body: string;
}

/** `User-Agent` and `Accept` unless the pod sets them; an empty `Accept` is none. */
export function probeHeaders(headers: Headers, userAgent: string): Record<string, string[]> {
  const sent: Record<string, string[]> = {};
  for (const { name, value } of headers) (sent[name.toLowerCase()] ??= []).push(value);
  sent['user-agent'] ??= [userAgent];
  sent['accept'] ??= ['*/*'];
  if (sent['accept'].every((value) => value === '')) delete sent['accept'];
  return sent;
}

function hostHeader(headers: Readonly<Record<string, readonly string[]>>): string | undefined {
  return headers['host']?.[0]?.replace(/:\d+$/, '');
}

async function ask(
  url: URL,
  headers: Readonly<Record<string, string[]>>,
  signal: AbortSignal,
): Promise<Answer> {
  const name = hostHeader(headers) ?? url.hostname.replace(/^\[|\]$/g, '');
  const response = await openGet(url, headers, signal, isIP(name) === 0 ? name : undefined);
  try {
    return {
      status: response.statusCode ?? 0,
      location: response.headers.location,
      body: await firstBytes(response),
    };
  } finally {
    response.destroy();
  }
}

async function firstBytes(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response) {
    chunks.push(chunk as Buffer);
    length += (chunk as Buffer).length;
    if (length >= keptOutputBytes) break;
  }
  return Buffer.concat(chunks).subarray(0, keptOutputBytes).toString();
}

const followed = new Set([301, 302, 303, 307, 308]);

function redirectOf(at: URL, { status, location }: Answer): URL | undefined {
  if (!followed.has(status) || location === undefined) return undefined;
  return URL.parse(location, at.href) ?? undefined;
}

function outcomeOf({ status, body }: Answer): ProbeOutcome {
  if (status >= 200 && status < 400) return { kind: 'success', output: body };
  return { kind: 'failure', output: `HTTP probe failed with statuscode: ${status}` };
}

function failureText(url: URL, error: unknown): string {
  const code = systemCode(error);
  if (code === 'ABORT_ERR' || (error instanceof Error && /Timeout|Abort/.test(error.name))) {
    return 'context deadline exceeded (Client.Timeout exceeded while awaiting headers)';
  }
  if (error instanceof Error && 'syscall' in error && error.syscall === 'connect') {
    const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
    return dialText(url.hostname.replace(/^\[|\]$/g, ''), port, error);
  }
  return code === 'ECONNRESET' ? 'EOF' : errorText(error);
}
