import type { Clock } from '../clock.ts';
import { SwitchyardError } from '../error.ts';
import type { Log } from '../telemetry/log.ts';
import type { ApiClient, ApiResponse } from './api-client.ts';
import { failureOfError, failureOfResponse, type ApiFailure } from './api-failure.ts';
import { metadataOf, readApiObject, resourcePath, selectorQuery } from './api-resource.ts';
import type { Kind, KubeObject } from './kind.ts';
import { ListSplitter } from './list-splitter.ts';
import { SILENCE_MS, withWatchdog } from './watchdog.ts';
import { wireMediaType, WireListSplitter } from './wire-list.ts';

const PAGE_SIZE = 500;

/** What a list takes from its source. */
export interface ApiListOptions<T extends KubeObject> {
  readonly client: ApiClient;
  readonly kind: Kind<T>;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * How new a list has to be. What a server has cached costs it little and comes in one piece; it may be
 * older than what was told before, unless that is named (KEP-2523).
 */
export type Freshness = 'any' | 'newest' | { readonly notOlderThan: string };

/** One list: everything, or a failure and nothing. */
export type ApiListResult<T> =
  | {
      readonly failure: undefined;
      readonly objects: readonly T[];
      /** By key, for those that can be compared. */
      readonly versions: ReadonlyMap<string, number>;
      /** Where the watch goes on. */
      readonly resourceVersion: string;
      readonly pages: number;
    }
  | {
      readonly failure: ApiFailure;
      /** A continue token was too old: listing by pages takes longer than the server remembers. */
      readonly expired: boolean;
    };

interface Page {
  /** '' on the last one. */
  readonly continue: string;
  readonly resourceVersion: string;
}

/** Lists one resource by pages of 500, slimming each object as soon as its bytes are there. */
export class ApiList<T extends KubeObject> {
  readonly #options: ApiListOptions<T>;
  readonly #objects: T[] = [];
  readonly #versions = new Map<string, number>();

  constructor(options: ApiListOptions<T>) {
    this.#options = options;
  }

  /** To be called once. */
  async run(request: {
    readonly freshness: Freshness;
    readonly paged: boolean;
    readonly signal: AbortSignal;
  }): Promise<ApiListResult<T>> {
    const { freshness, paged, signal } = request;
    let query = firstQuery(freshness, paged);
    for (let pages = 1; ; pages++) {
      const page = await this.#page(query, signal);
      if ('reason' in page) {
        return { failure: page, expired: page.status === 410 && query['continue'] !== undefined };
      }
      if (page.continue === '') {
        const { resourceVersion: at } = page;
        const { objects, versions } = { objects: this.#objects, versions: this.#versions };
        return { failure: undefined, objects, versions, resourceVersion: at, pages };
      }
      // the token carries the version; to name one beside it is an error
      query = { limit: String(PAGE_SIZE), continue: page.continue };
    }
  }

  async #page(
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Page | ApiFailure> {
    const { client, clock, kind } = this.#options;
    try {
      return await withWatchdog(clock, SILENCE_MS, signal, async (guarded, alive) => {
        const all = { ...selectorQuery(kind), ...query };
        const response = await client.get(resourcePath(kind), all, guarded, acceptOf(kind));
        alive();
        if (response.status !== 200) {
          return failureOfResponse(response, 'list', kind, clock.now());
        }
        const splitter = this.#splitter(response);
        for await (const chunk of response.body as AsyncIterable<Buffer>) {
          splitter.push(chunk);
          alive();
        }
        return pageOf(splitter.end());
      });
    } catch (error) {
      return failureOfError(error, 'list', kind);
    }
  }

  /** As the server chose to answer. */
  #splitter({ headers }: ApiResponse): ListSplitter | WireListSplitter {
    const take = (item: unknown): void => this.#take(item);
    const { wire } = this.#options.kind;
    const isWire = headers['content-type']?.startsWith(wireMediaType) === true;
    return wire !== undefined && isWire ? new WireListSplitter(wire, take) : new ListSplitter(take);
  }

  #take(raw: unknown): void {
    const { kind, log } = this.#options;
    const { key, version, object } = readApiObject<T>(raw, kind, log);
    if (key !== undefined && version !== undefined) this.#versions.set(key, version);
    if (object !== undefined) this.#objects.push(object);
  }
}

function acceptOf({ wire }: Kind<KubeObject>): string {
  const json = 'application/json';
  return wire === undefined ? json : `${wireMediaType}, ${json}`;
}

function firstQuery(freshness: Freshness, paged: boolean): Record<string, string> {
  const limit = paged ? { limit: String(PAGE_SIZE) } : {};
  switch (freshness) {
    case 'any':
      return { ...limit, resourceVersion: '0' };
    case 'newest':
      return limit;
    default:
      // pages of a named version are read from etcd, one piece from the cache
      return {
        resourceVersion: freshness.notOlderThan,
        resourceVersionMatch: 'NotOlderThan',
      };
  }
}

/** What a page says of itself; its items were taken out before. */
function pageOf(list: unknown): Page {
  const { resourceVersion, continue: token } = metadataOf(list);
  if (typeof resourceVersion !== 'string' || !isList(list)) {
    throw new SwitchyardError('source', 'the answer is no list with a resourceVersion');
  }
  return { continue: typeof token === 'string' ? token : '', resourceVersion };
}

/** An empty list may say `null`. */
function isList(list: unknown): boolean {
  if (typeof list !== 'object' || list === null || !('items' in list)) return false;
  return list.items === null || Array.isArray(list.items);
}
