import { Buffer } from 'node:buffer';

import type { Clock } from '../clock.ts';
import { SwitchyardError } from '../error.ts';
import type { Log } from '../telemetry/log.ts';
import type { ApiClient } from './api-client.ts';
import { failureOfError, failureOfResponse, type ApiFailure } from './api-failure.ts';
import { metadataOf, readApiObject, resourcePath, selectorQuery } from './api-resource.ts';
import type { Kind, KubeObject } from './kind.ts';
import { SILENCE_MS, withWatchdog } from './watchdog.ts';

const PAGE_SIZE = 500;

/** What a list takes from its source. */
export interface ApiListOptions<T extends KubeObject> {
  readonly client: ApiClient;
  readonly kind: Kind<T>;
  readonly clock: Clock;
  readonly log: Log;
}

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

/** Lists one resource by pages of 500, slimming each page before the next is asked for. */
export class ApiList<T extends KubeObject> {
  readonly #options: ApiListOptions<T>;
  readonly #objects: T[] = [];
  readonly #versions = new Map<string, number>();

  constructor(options: ApiListOptions<T>) {
    this.#options = options;
  }

  /** To be called once. `resourceVersion` undefined asks for the newest state. */
  async run(request: {
    readonly resourceVersion: string | undefined;
    readonly paged: boolean;
    readonly signal: AbortSignal;
  }): Promise<ApiListResult<T>> {
    const { resourceVersion, paged, signal } = request;
    let query: Record<string, string> = {
      ...(paged ? { limit: String(PAGE_SIZE) } : {}),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    };
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
  ): Promise<{ readonly continue: string; readonly resourceVersion: string } | ApiFailure> {
    const { client, clock, kind } = this.#options;
    try {
      return await withWatchdog(clock, SILENCE_MS, signal, async (guarded, alive) => {
        const all = { ...selectorQuery(kind), ...query };
        const response = await client.get(resourcePath(kind), all, guarded);
        alive();
        if (response.status !== 200) {
          return failureOfResponse(response, 'list', kind, clock.now());
        }
        const chunks: Buffer[] = [];
        for await (const chunk of response.body as AsyncIterable<Buffer>) {
          chunks.push(chunk);
          alive();
        }
        return this.#take(JSON.parse(Buffer.concat(chunks).toString('utf8')));
      });
    } catch (error) {
      return failureOfError(error, 'list', kind);
    }
  }

  #take(list: unknown): { readonly continue: string; readonly resourceVersion: string } {
    const { kind, log } = this.#options;
    const { resourceVersion, continue: token } = metadataOf(list);
    const items = itemsOf(list);
    if (typeof resourceVersion !== 'string' || items === undefined) {
      throw new SwitchyardError('source', 'the answer is no list with a resourceVersion');
    }
    for (const raw of items) {
      const { key, version, object } = readApiObject<T>(raw, kind, log);
      if (key !== undefined && version !== undefined) this.#versions.set(key, version);
      if (object !== undefined) this.#objects.push(object);
    }
    return { continue: typeof token === 'string' ? token : '', resourceVersion };
  }
}

/** An empty list may say `null`. Undefined where it is no list. */
function itemsOf(list: unknown): readonly unknown[] | undefined {
  if (typeof list !== 'object' || list === null || !('items' in list)) return undefined;
  const items = list.items ?? [];
  return Array.isArray(items) ? items : undefined;
}
