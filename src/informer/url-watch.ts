import type { Clock } from '../clock.ts';
import { causeText, SwitchyardError } from '../error.ts';
import type { Log } from '../telemetry/log.ts';
import type { Kind, KubeObject } from './kind.ts';
import { parseManifestFile } from './manifests.ts';
import { LastGoodFiles, ObjectFeed } from './object-feed.ts';
import { PolledUrl } from './polled-url.ts';
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
  readonly #url: PolledUrl;
  #failure: string | undefined;
  #complete = false;

  constructor(options: UrlWatchOptions) {
    this.#options = options;
    this.#url = new PolledUrl({ ...options, maxBytes: options.maxBytes ?? MAX_BYTES });
    this.#lastGood = new LastGoodFiles(options.log);
    this.#feed = new ObjectFeed(async (signal) => this.#run(signal));
  }

  /** The objects of one kind; all sources share one poller. */
  source<T extends KubeObject>(kind: Kind<T>): Source<T> {
    return this.#feed.source(kind);
  }

  async #run(signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        await this.#poll(signal);
        await this.#options.clock.sleep(this.#options.intervalMs, signal);
      }
    } finally {
      await this.#url.close();
    }
  }

  async #poll(signal: AbortSignal): Promise<void> {
    const { name } = this.#url;
    try {
      const text = await this.#fetchText(signal);
      if (text !== undefined) await this.#take(text);
      if (this.#failure !== undefined) {
        this.#options.log.info({ url: name }, 'the URL answers again');
        this.#failure = undefined;
      }
    } catch (error) {
      if (signal.aborted) return;
      const failure = causeText(error);
      if (failure === this.#failure) return;
      this.#failure = failure;
      this.#options.log.warn(
        { url: name },
        `cannot be used, what it last gave is kept: ${failure}`,
      );
    }
  }

  async #take(text: string): Promise<void> {
    const file = await parseManifestFile(text, this.#url.name, this.#options.kinds);
    const unusable = file.problems.some((problem) => problem.unusable);
    if (unusable) this.#url.forget();
    if (unusable && file.entries.length === 0 && !this.#complete) {
      // a login page, say: no word of what there is
      this.#lastGood.report(file.problems);
      return;
    }
    if (!unusable && !file.concerned) {
      this.#url.forget();
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
  async #fetchText(signal: AbortSignal): Promise<string | undefined> {
    const { clock, timeoutMs = TIMEOUT_MS } = this.#options;
    const answer = await withWatchdog(clock, timeoutMs, signal, async (guarded, alive) =>
      this.#url.ask(guarded, alive),
    );
    if (answer.kind === 'unchanged') return undefined;
    if (answer.text.trim() !== '') return answer.text;
    // nobody means "no objects at all" by saying nothing
    this.#url.forget();
    throw new SwitchyardError('source', 'answered with an empty document');
  }
}
