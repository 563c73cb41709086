import type { ApiFailure } from './api-failure.ts';
import { ApiList, type Freshness } from './api-list.ts';
import { ApiWatch, type ApiWatchOptions } from './api-watch.ts';
import { Backoff } from './backoff.ts';
import type { KubeObject } from './kind.ts';
import { ObjectVersions } from './object-versions.ts';
import type { Source, SourceSink } from './source.ts';

/** What happens between an {@link ApiSource} and its server, for metrics and tests. */
export type ApiSourceEvent =
  | { readonly type: 'listed'; readonly objects: number; readonly pages: number }
  | { readonly type: 'watching'; readonly resourceVersion: string }
  | { readonly type: 'change'; readonly change: string }
  | { readonly type: 'failed'; readonly failure: ApiFailure; readonly delayMs: number };

/** What an {@link ApiSource} is made of. */
export interface ApiSourceOptions<T extends KubeObject> extends ApiWatchOptions<T> {
  readonly onEvent?: (event: ApiSourceEvent) => void;
}

/** A watch that held this long proves that all is well: back-off starts anew. */
const HEALTHY_MS = 10_000;

/**
 * Lists one kind of object from the API server and watches it for ever: every failure is logged,
 * waited out and tried again. While the server is away nothing is removed.
 */
export class ApiSource<T extends KubeObject> implements Source<T> {
  readonly #options: ApiSourceOptions<T>;

  constructor(options: ApiSourceOptions<T>) {
    this.#options = options;
  }

  async run(sink: SourceSink<T>, signal: AbortSignal): Promise<void> {
    await new ListWatch(this.#options, sink, signal).run();
  }
}

/** Where a run stands. */
type Position =
  | { readonly at: 'list'; readonly freshness: Freshness }
  | { readonly at: 'watch'; readonly resourceVersion: string };

/** What one step ended with: the next position, and the failure to wait out, if any. */
interface Step {
  readonly next: Position;
  readonly failure: ApiFailure | undefined;
  /** The peer was well for a while before this. */
  readonly healthy: boolean;
}

class ListWatch<T extends KubeObject> {
  readonly #options: ApiSourceOptions<T>;
  readonly #sink: SourceSink<T>;
  readonly #signal: AbortSignal;
  readonly #versions = new ObjectVersions();
  readonly #backoff: Backoff;
  /** What is cached is good for a start; later it might be older than what was told. */
  #position: Position = { at: 'list', freshness: 'any' };
  /** A list's continue token expired: until one succeeds lists are asked for in one piece. */
  #unpaged = false;
  #lastFailure: ApiFailure | undefined;
  #cameBack = false;

  constructor(options: ApiSourceOptions<T>, sink: SourceSink<T>, signal: AbortSignal) {
    this.#options = options;
    this.#sink = sink;
    this.#signal = signal;
    this.#backoff = new Backoff(options.random);
  }

  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      const position = this.#position;
      const step =
        position.at === 'list'
          ? await this.#list(position.freshness)
          : await this.#watch(position.resourceVersion);
      if (this.#signal.aborted) return;
      this.#position = step.next;
      if (step.healthy) this.#recovered();
      if (step.failure !== undefined) await this.#waitOut(step.failure);
    }
  }

  async #list(freshness: Freshness): Promise<Step> {
    const paged = !this.#unpaged;
    const list = new ApiList(this.#options);
    const result = await list.run({ freshness, paged, signal: this.#signal });
    if (result.failure !== undefined) {
      const { failure } = result;
      this.#unpaged ||= result.expired;
      return { next: listAfter(failure, freshness), failure, healthy: false };
    }
    this.#unpaged = false;
    this.#versions.replace(result.versions);
    this.#sink.replace(result.objects);
    this.#emit({ type: 'listed', objects: result.objects.length, pages: result.pages });
    const next: Position = { at: 'watch', resourceVersion: result.resourceVersion };
    return { next, failure: undefined, healthy: false };
  }

  async #watch(resourceVersion: string): Promise<Step> {
    const { clock } = this.#options;
    const startedAtMs = clock.monotonic();
    const watch = new ApiWatch(this.#options, this.#sink, this.#versions, {
      opened: () => {
        this.#emit({ type: 'watching', resourceVersion });
        this.#answered();
      },
      changed: (change) => this.#emit({ type: 'change', change }),
    });
    const end = await watch.run(resourceVersion, this.#signal);
    const healthy = watch.opened && clock.monotonic() - startedAtMs >= HEALTHY_MS;
    const failure = end ?? (healthy ? undefined : this.#endedEarly());
    const reached = watch.resourceVersion;
    const next: Position =
      failure?.relist === true
        ? { at: 'list', freshness: freshnessAfter(failure, reached) }
        : { at: 'watch', resourceVersion: reached };
    return { next, failure, healthy };
  }

  /** A server that closes each watch at once must not be asked in a tight loop. */
  #endedEarly(): ApiFailure {
    return {
      reason: `watch of ${this.#options.kind.resource} ended early`,
      status: undefined,
      retryAfterMs: undefined,
      relist: false,
    };
  }

  async #waitOut(failure: ApiFailure): Promise<void> {
    const { client, clock, kind, log } = this.#options;
    const delayMs = this.#delayMs(failure);
    const fields = { resource: kind.resource, status: failure.status, delayMs };
    // the same words again and again are for those who look closely
    if (failure.reason === this.#lastFailure?.reason) log.debug(fields, failure.reason);
    else log.warn(fields, failure.reason);
    this.#lastFailure = failure;
    this.#emit({ type: 'failed', failure, delayMs });
    if (failure.status === 401) await client.reloadCredentials();
    await clock.sleep(delayMs, this.#signal);
  }

  #delayMs(failure: ApiFailure): number {
    // a token that was rotated a moment ago costs no waiting, but a second refusal does
    if (failure.status === 401 && this.#lastFailure?.status !== 401) return 0;
    // a server that has just come back says so with 410: what nobody answered for before is over
    if (failure.status === 410 && this.#isBack()) this.#backoff.reset();
    // all nodes are told the same: never sooner, but not all at once
    const wishedMs = (failure.retryAfterMs ?? 0) * (1 + this.#options.random() / 2);
    return Math.max(this.#backoff.nextMs(), Math.round(wishedMs));
  }

  /** Once between two healthy watches: a server that comes and goes is not to be listed each time. */
  #isBack(): boolean {
    const wasAway = this.#lastFailure !== undefined && this.#lastFailure.status === undefined;
    const isBack = wasAway && !this.#cameBack;
    this.#cameBack ||= isBack;
    return isBack;
  }

  #recovered(): void {
    this.#backoff.reset();
    this.#cameBack = false;
    this.#lastFailure = undefined;
  }

  #answered(): void {
    const { kind, log } = this.#options;
    if (this.#lastFailure === undefined) return;
    log.info({ resource: kind.resource }, `watch of ${kind.resource} is open again`);
  }

  #emit(event: ApiSourceEvent): void {
    this.#options.onEvent?.(event);
  }
}

/**
 * An expired version alone, as after a restart of the server, says nothing against its cache: a list
 * that every node of a cluster asks for at once must not be read from etcd each time.
 */
function freshnessAfter(failure: ApiFailure, reached: string): Freshness {
  return failure.status === 410 ? { notOlderThan: reached } : 'newest';
}

/** 504: the server does not have the version that was reached, as after a restore of etcd. */
function listAfter(failure: ApiFailure, freshness: Freshness): Position {
  const unknown = failure.relist || failure.status === 504;
  return { at: 'list', freshness: freshness !== 'any' && unknown ? 'newest' : freshness };
}
