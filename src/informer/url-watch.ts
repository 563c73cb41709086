import { Buffer } from 'node:buffer';

import type { Response } from 'undici';

import type { Clock } from '../clock.ts';
import { errorText, SwitchyardError } from '../error.ts';
import type { Log } from '../telemetry/log.ts';
import { environmentProxy } from './environment-proxy.ts';
import type { Kind, KubeObject } from './kind.ts';
import { parseManifestFile } from './manifests.ts';
import { LastGoodFiles, ObjectFeed } from './object-feed.ts';
import type { Source } from './source.ts';
import { withWatchdog } from './watchdog.ts';

/** What a {@link UrlWatch} is made of. */
export interface UrlWatchOptions {
  readonly url: string;
  readonly intervalMs: number;
  /** Every kind that {@link UrlWatch.source} will be asked for. */
  readonly kinds: readonly Kind<KubeObject>[];
  readonly clock: Clock;
  readonly log: Log;
  /** Sent with each request. */
  readonly headers?: Readonly<Record<string, string>>;
  /** A request is given up after this much silence. Default 30 s. */
  readonly timeoutMs?: number;
  /** A longer answer is a bad one. Default 64 MiB. */
  readonly maxBytes?: number;
  /** Where HTTPS_PROXY and the like stand. Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Asks the URL. */
type Get = (init: {
  readonly headers: Record<string, string>;
  readonly signal: AbortSignal;
}) => Promise<Response>;

const TIMEOUT_MS = 30_000;
const MAX_BYTES = 64 * 1024 * 1024;

/**
 * Polls a URL for manifests. The entity tag is sent back, so that an unchanged document costs nothing.
 * An answer that is no manifest at all, an error status or no answer keep what was there.
 */
export class UrlWatch {
  readonly #options: UrlWatchOptions;
  readonly #feed: ObjectFeed;
  readonly #lastGood: LastGoodFiles;
  /** The URL without a password, for messages. */
  readonly #name: string;
  readonly #target: URL;
  readonly #headers: Record<string, string>;
  #etag: string | undefined;
  #failure: string | undefined;
  #complete = false;

  constructor(options: UrlWatchOptions) {
    this.#options = options;
    this.#target = parseUrl(options.url);
    this.#headers = { accept: 'application/yaml, application/json, */*', ...options.headers };
    const { username, password } = this.#target;
    if (username !== '') {
      const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
      this.#headers['authorization'] ??= `Basic ${Buffer.from(credentials).toString('base64')}`;
    }
    this.#target.username = '';
    this.#target.password = '';
    this.#name = this.#target.href;
    this.#lastGood = new LastGoodFiles(options.log);
    this.#feed = new ObjectFeed(async (signal) => this.#run(signal));
  }

  /** The objects of one kind; all sources share one poller. */
  source<T extends KubeObject>(kind: Kind<T>): Source<T> {
    return this.#feed.source(kind);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { fetch, Agent, ProxyAgent } = await import('undici');
    const proxy = environmentProxy(this.#target, this.#options.env ?? process.env);
    const dispatcher = proxy === undefined ? new Agent() : new ProxyAgent(proxy);
    const get: Get = async (init) => fetch(this.#target, { ...init, dispatcher });
    try {
      while (!signal.aborted) {
        await this.#poll(get, signal);
        await this.#options.clock.sleep(this.#options.intervalMs, signal);
      }
    } finally {
      await dispatcher.destroy();
    }
  }

  async #poll(get: Get, signal: AbortSignal): Promise<void> {
    try {
      const text = await this.#fetchText(get, signal);
      if (text !== undefined) await this.#take(text);
      if (this.#failure !== undefined) {
        this.#options.log.info({ url: this.#name }, 'the URL answers again');
        this.#failure = undefined;
      }
    } catch (error) {
      if (signal.aborted) return;
      const failure = causeText(error);
      if (failure === this.#failure) return;
      this.#failure = failure;
      this.#options.log.warn(
        { url: this.#name },
        `cannot be used, what it last gave is kept: ${failure}`,
      );
    }
  }

  async #take(text: string): Promise<void> {
    const file = await parseManifestFile(text, this.#name, this.#options.kinds);
    const unusable = file.problems.some((problem) => problem.unusable);
    if (unusable) this.#etag = undefined;
    if (unusable && file.entries.length === 0 && !this.#complete) {
      // a login page, say: no word of what there is
      this.#lastGood.report(file.problems);
      return;
    }
    if (!unusable && !file.concerned) {
      this.#etag = undefined;
      const kinds = this.#options.kinds.map(({ kind }) => kind).join(', ');
      throw new SwitchyardError(
        'source',
        `answered without an object of the kinds ${kinds}; no objects at all are an empty List`,
      );
    }
    this.#complete = true;
    this.#feed.publish(this.#lastGood.update([file]));
  }

  /** The body; undefined when it is the one we have. */
  async #fetchText(get: Get, signal: AbortSignal): Promise<string | undefined> {
    const { clock, timeoutMs = TIMEOUT_MS } = this.#options;
    return withWatchdog(clock, timeoutMs, signal, async (guarded, alive) =>
      this.#request(get, guarded, alive),
    );
  }

  async #request(get: Get, signal: AbortSignal, alive: () => void): Promise<string | undefined> {
    const headers = { ...this.#headers };
    if (this.#etag !== undefined) headers['if-none-match'] = this.#etag;
    const response = await get({ headers, signal });
    if (response.status !== 200) {
      await response.body?.cancel();
      if (response.status === 304 && this.#etag !== undefined) return undefined;
      throw new SwitchyardError('source', `answered ${response.status}, expected 200`);
    }
    const text = await readLimited(response, this.#options.maxBytes ?? MAX_BYTES, alive);
    // nobody means "no objects at all" by saying nothing
    if (text.trim() === '') throw new SwitchyardError('source', 'answered with an empty document');
    this.#etag = response.headers.get('etag') ?? undefined;
    return text;
  }
}

function parseUrl(url: string): URL {
  const parsed = URL.parse(url);
  if (parsed !== null && /^https?:$/.test(parsed.protocol)) return parsed;
  throw new SwitchyardError('usage', `${url} is no http or https URL`);
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

/** fetch() hides the reason in the cause: `fetch failed` alone helps nobody. */
function causeText(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause === undefined ? errorText(error) : `${errorText(error)}: ${errorText(cause)}`;
}
