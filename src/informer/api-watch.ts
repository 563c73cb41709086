import type { Clock } from '../clock.ts';
import type { Log } from '../telemetry/log.ts';
import type { ApiClient } from './api-client.ts';
import {
  failureOfError,
  failureOfResponse,
  failureOfStatus,
  type ApiFailure,
} from './api-failure.ts';
import {
  metadataOf,
  readApiObject,
  resourcePath,
  selectorQuery,
  type ApiObject,
} from './api-resource.ts';
import type { Kind, KubeObject } from './kind.ts';
import { LineSplitter } from './line-splitter.ts';
import { versionNumber, type ObjectVersions } from './object-versions.ts';
import type { SourceSink } from './source.ts';
import { SILENCE_MS, withWatchdog } from './watchdog.ts';

/** The server ends a watch after a random time between these, so that not all nodes return at once. */
const SHORTEST_WATCH_S = 300;
const LONGEST_WATCH_S = 600;

/** Ten times what etcd holds of one object: a longer line comes from something else. */
const LONGEST_LINE_BYTES = 16 * 1024 * 1024;

/** What a watch takes from its source. */
export interface ApiWatchOptions<T extends KubeObject> {
  readonly client: ApiClient;
  readonly kind: Kind<T>;
  readonly clock: Clock;
  /** Numbers in [0, 1): jitter. */
  readonly random: () => number;
  readonly log: Log;
}

/** Told while a watch runs. */
export interface ApiWatchObserver {
  opened(): void;
  /** ADDED, MODIFIED, DELETED, BOOKMARK, or STALE for one that came twice or late. */
  changed(change: string): void;
}

/** One watch request, from its version to its end. */
export class ApiWatch<T extends KubeObject> {
  readonly #options: ApiWatchOptions<T>;
  readonly #sink: SourceSink<T>;
  readonly #versions: ObjectVersions;
  readonly #observer: ApiWatchObserver;
  #resourceVersion = '';
  #opened = false;

  constructor(
    options: ApiWatchOptions<T>,
    sink: SourceSink<T>,
    versions: ObjectVersions,
    observer: ApiWatchObserver,
  ) {
    this.#options = options;
    this.#sink = sink;
    this.#versions = versions;
    this.#observer = observer;
  }

  /** The version reached: the next watch goes on there. */
  get resourceVersion(): string {
    return this.#resourceVersion;
  }

  /** Whether the server let us watch. */
  get opened(): boolean {
    return this.#opened;
  }

  /** To be called once. Resolves to the failure that ended it, or to undefined where the server just closed it. */
  async run(resourceVersion: string, signal: AbortSignal): Promise<ApiFailure | undefined> {
    const { client, clock, kind } = this.#options;
    this.#resourceVersion = resourceVersion;
    const query = {
      ...selectorQuery(kind),
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion,
      timeoutSeconds: String(this.#timeoutSeconds()),
    };
    try {
      return await withWatchdog(clock, SILENCE_MS, signal, async (guarded, alive) => {
        const response = await client.get(resourcePath(kind), query, guarded);
        alive();
        if (response.status !== 200) {
          return failureOfResponse(response, 'watch', kind, clock.now());
        }
        this.#opened = true;
        this.#observer.opened();
        return this.#read(response.body as AsyncIterable<Uint8Array>, guarded, alive);
      });
    } catch (error) {
      return failureOfError(error, 'watch', kind);
    }
  }

  /** A line cut short by the end of the stream is no event: the next watch brings it again. */
  async #read(
    body: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    alive: () => void,
  ): Promise<ApiFailure | undefined> {
    const splitter = new LineSplitter();
    for await (const chunk of body) {
      alive();
      for (const line of splitter.push(chunk)) {
        if (signal.aborted) return undefined;
        const failure = this.#handle(line);
        if (failure !== undefined) return failure;
      }
      if (splitter.pendingBytes > LONGEST_LINE_BYTES) {
        return this.#relist(`sent a line that did not end within ${LONGEST_LINE_BYTES} bytes`);
      }
    }
    return undefined;
  }

  #handle(line: string): ApiFailure | undefined {
    const event = parseEvent(line);
    if (event === undefined) return this.#malformed(line);
    switch (event.type) {
      case 'ADDED':
      case 'MODIFIED':
      case 'DELETED':
        this.#change(event.type, event.object);
        return undefined;
      case 'BOOKMARK':
        return this.#bookmark(metadataOf(event.object).resourceVersion);
      case 'ERROR':
        return failureOfStatus(event.object, this.#options.kind);
      default:
        return this.#malformed(line);
    }
  }

  /** A bookmark is the stream's own word of where it is, and a stream never goes back. */
  #bookmark(resourceVersion: unknown): ApiFailure | undefined {
    if (this.#isBehind(resourceVersion)) {
      return this.#relist(
        `went back from version ${this.#resourceVersion} to ${String(resourceVersion)}, as after a restore of etcd`,
      );
    }
    this.#advance(resourceVersion);
    this.#observer.changed('BOOKMARK');
    return undefined;
  }

  #change(type: 'ADDED' | 'MODIFIED' | 'DELETED', raw: unknown): void {
    const { kind, log } = this.#options;
    const event = readApiObject(raw, kind, log);
    const { key, version } = event;
    this.#advance(event.resourceVersion);
    if (key === undefined) return;
    if (this.#isOld(type, key, version)) {
      log.debug({ kind: kind.kind, object: key, version }, 'event that came twice or late ignored');
      this.#observer.changed('STALE');
      return;
    }
    if (type === 'DELETED') {
      this.#versions.deleted(key, version);
      this.#sink.remove(key);
    } else {
      this.#versions.updated(key, version);
      this.#store(key, event);
    }
    this.#observer.changed(type);
  }

  /** An object that became unusable is gone, as it would be after a restart. */
  #store(key: string, { object }: ApiObject<T>): void {
    if (object === undefined) this.#sink.remove(key);
    else this.#sink.upsert(object);
  }

  #isOld(type: string, key: string, version: number | undefined): boolean {
    return type === 'DELETED'
      ? this.#versions.isOldDeletion(key, version)
      : this.#versions.isOldUpdate(key, version);
  }

  /** An event that comes late must not take the stream's position back. */
  #advance(resourceVersion: unknown): void {
    if (typeof resourceVersion !== 'string' || resourceVersion === '') return;
    if (!this.#isBehind(resourceVersion)) this.#resourceVersion = resourceVersion;
  }

  #isBehind(resourceVersion: unknown): boolean {
    if (typeof resourceVersion !== 'string') return false;
    const now = versionNumber(this.#resourceVersion);
    const next = versionNumber(resourceVersion);
    return now !== undefined && next !== undefined && next < now;
  }

  /** What the line should have said is unknown. */
  #malformed(line: string): ApiFailure {
    const { confidential } = this.#options.kind;
    const shown = confidential === true ? '' : `: ${line.slice(0, 80)}`;
    return this.#relist(`sent a line that is no event${shown}`);
  }

  #relist(did: string): ApiFailure {
    return {
      reason: `watch of ${this.#options.kind.resource} ${did}`,
      status: undefined,
      retryAfterMs: undefined,
      relist: true,
    };
  }

  #timeoutSeconds(): number {
    const range = LONGEST_WATCH_S - SHORTEST_WATCH_S;
    return SHORTEST_WATCH_S + Math.floor(this.#options.random() * (range + 1));
  }
}

function parseEvent(line: string): { readonly type: string; readonly object: unknown } | undefined {
  try {
    const event: unknown = JSON.parse(line);
    if (typeof event !== 'object' || event === null) return undefined;
    if (!('type' in event) || !('object' in event)) return undefined;
    return typeof event.type === 'string' ? { type: event.type, object: event.object } : undefined;
  } catch {
    return undefined;
  }
}
