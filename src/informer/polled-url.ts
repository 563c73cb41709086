import { Buffer } from 'node:buffer';
import process from 'node:process';

import type { Dispatcher, Response } from 'undici';

import { SwitchyardError } from '../error.ts';
import { environmentProxy } from './environment-proxy.ts';

export interface PolledUrlOptions {
  readonly url: string;
  /** Sent to the host of the URL and to no other; a name may have several values. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** A longer answer is a bad one. */
  readonly maxBytes: number;
  /** Where HTTPS_PROXY and the like stand. Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
}

/** What a URL says: all of a document, which may be empty, or that it is the one it gave last. */
export type UrlAnswer =
  | { readonly kind: 'document'; readonly text: string }
  | { readonly kind: 'unchanged' };

/** Of the document that was given last, and where it was. */
interface Validators {
  readonly href: string;
  readonly etag: string | undefined;
  readonly modified: string | undefined;
}

const mostRedirects = 10;
const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/**
 * One URL that is asked again and again. What it said of its document (entity tag, date) is sent back, so that an unchanged one costs nothing.
 * Redirects are followed, never from https to http; headers and a password that were meant for this host are told to no other.
 */
export class PolledUrl {
  /** Without a password and a query, for messages. */
  readonly name: string;
  readonly #options: PolledUrlOptions;
  readonly #target: URL;
  readonly #secrets: readonly (readonly [name: string, value: string])[];
  readonly #dispatchers = new Map<string, Dispatcher>();
  #validators: Validators | undefined;

  /** Throws a usage error for what is no URL. */
  constructor(options: PolledUrlOptions) {
    this.#options = options;
    this.#target = parseUrl(options.url);
    this.#secrets = [...basicOf(this.#target, options), ...pairsOf(options.headers ?? {})];
    this.#target.username = '';
    this.#target.password = '';
    this.name = shown(this.#target.href);
  }

  /** Rejects where no whole document came, saying why. `alive` is told of each piece. */
  async ask(signal: AbortSignal, alive: () => void): Promise<UrlAnswer> {
    let url = this.#target;
    for (let hops = 0; hops <= mostRedirects; hops++) {
      const response = await this.#send(url, signal);
      if (!redirects.has(response.status)) return this.#answerOf(url, response, alive);
      await response.body?.cancel();
      url = next(url, response);
    }
    throw new SwitchyardError('source', `redirects more than ${mostRedirects} times`);
  }

  /** The document could not be used: the next answer is to be a whole one. */
  forget(): void {
    this.#validators = undefined;
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#dispatchers.values(), async (each) => each.destroy()));
    this.#dispatchers.clear();
  }

  async #send(url: URL, signal: AbortSignal): Promise<Response> {
    const { fetch, Headers } = await import('undici');
    const headers = new Headers({ accept: 'application/yaml, application/json, */*' });
    if (url.origin === this.#target.origin) {
      const given = new Set(this.#secrets.map(([name]) => name));
      for (const name of given) headers.delete(name);
      for (const [name, value] of this.#secrets) headers.append(name, value);
    }
    const { href, etag, modified } = this.#validators ?? {};
    if (href === url.href) {
      if (etag !== undefined) headers.set('if-none-match', etag);
      if (modified !== undefined) headers.set('if-modified-since', modified);
    }
    const dispatcher = await this.#dispatcher(url);
    return fetch(url, { headers, signal, dispatcher, redirect: 'manual' });
  }

  /** One for each way out: a redirect may lead where another proxy stands in between, or none. */
  async #dispatcher(url: URL): Promise<Dispatcher> {
    const { Agent, ProxyAgent } = await import('undici');
    const proxy = environmentProxy(url, this.#options.env ?? process.env) ?? '';
    const known = this.#dispatchers.get(proxy);
    if (known !== undefined) return known;
    const made = proxy === '' ? new Agent() : new ProxyAgent(proxy);
    this.#dispatchers.set(proxy, made);
    return made;
  }

  async #answerOf(url: URL, response: Response, alive: () => void): Promise<UrlAnswer> {
    const { status, headers } = response;
    if (status !== 200) {
      await response.body?.cancel();
      if (status === 304 && this.#validators?.href === url.href) return { kind: 'unchanged' };
      throw new SwitchyardError('source', `answered ${status}, expected 200`);
    }
    const text = await readLimited(response, this.#options.maxBytes, alive);
    this.#validators = {
      href: url.href,
      etag: headers.get('etag') ?? undefined,
      modified: headers.get('last-modified') ?? undefined,
    };
    return { kind: 'document', text };
  }
}

function parseUrl(url: string): URL {
  const parsed = URL.parse(url);
  if (parsed !== null && /^https?:$/.test(parsed.protocol)) return parsed;
  throw new SwitchyardError('usage', `${shown(url)} is no http or https URL`);
}

/** A password is nobody's business, and a query may hold a token. */
function shown(url: string): string {
  return url.replace(/\/\/[^/]*@/, '//…@').replace(/\?.+$/s, '?…');
}

/** What the URL says of who asks, unless a header does. */
function basicOf(
  { username, password }: URL,
  { headers = {} }: PolledUrlOptions,
): readonly (readonly [string, string])[] {
  if (username === '') return [];
  if (Object.keys(headers).some((name) => name.toLowerCase() === 'authorization')) return [];
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return [['authorization', `Basic ${Buffer.from(credentials).toString('base64')}`]];
}

function pairsOf(
  headers: NonNullable<PolledUrlOptions['headers']>,
): readonly (readonly [string, string])[] {
  return Object.entries(headers).flatMap(([name, values]) =>
    [values].flat().map((value) => [name.toLowerCase(), value] as const),
  );
}

function next(url: URL, { status, headers }: Response): URL {
  const location = headers.get('location');
  const target = location === null ? null : URL.parse(location, url.href);
  if (target === null || !/^https?:$/.test(target.protocol))
    throw new SwitchyardError('source', `answered ${status} without saying where to go`);
  target.username = '';
  target.password = '';
  if (url.protocol === 'https:' && target.protocol === 'http:')
    throw new SwitchyardError('source', `redirects from https to ${target.origin}`);
  return target;
}

async function readLimited(
  response: Response,
  maxBytes: number,
  alive: () => void,
): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    alive();
    if (bytes > maxBytes) {
      throw new SwitchyardError('source', `the answer is longer than ${maxBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
