import { isDeepStrictEqual } from 'node:util';

import { errorText, SwitchyardError } from '../error.ts';
import type { Log } from '../telemetry/log.ts';
import { objectKey, type KubeObject } from './kind.ts';
import type { InformerHandler, Source, SourceSink } from './source.ts';

/** What an {@link Informer} is made of. */
export interface InformerOptions<T extends KubeObject> {
  readonly source: Source<T>;
  /** Told in this order. */
  readonly handlers: readonly InformerHandler<T>[];
  readonly log: Log;
  /** What is watched, in log lines: `services`. */
  readonly name: string;
}

/**
 * Keeps a store in step with a source and tells handlers what changed: `added`, `updated(old, new)`,
 * `removed`, and `synced` once, after the first complete list was told. The store already holds the
 * new state when handlers are called. An object equal to the stored one is no news.
 */
export class Informer<T extends KubeObject> {
  readonly #source: Source<T>;
  readonly #handlers: readonly InformerHandler<T>[];
  readonly #log: Log;
  readonly #name: string;
  readonly #store = new Map<string, T>();
  #state: 'new' | 'listing' | 'synced' = 'new';

  constructor(options: InformerOptions<T>) {
    this.#source = options.source;
    this.#handlers = options.handlers;
    this.#log = options.log;
    this.#name = options.name;
  }

  /** What is watched: `services`. */
  get name(): string {
    return this.#name;
  }

  /** By {@link objectKey}. Empty until the first complete list. */
  get store(): ReadonlyMap<string, T> {
    return this.#store;
  }

  /** Whether the first complete list was told. */
  get synced(): boolean {
    return this.#state === 'synced';
  }

  /** Runs the source; resolves after `signal` aborts and the source has ended. To be called once. */
  async start(signal: AbortSignal): Promise<void> {
    if (this.#state !== 'new') {
      throw new SwitchyardError('internal', `informer ${this.#name} was started twice`);
    }
    this.#state = 'listing';
    await this.#source.run(this.#sink(signal), signal);
  }

  /** A stopped informer tells nothing, whatever its source still says. */
  #sink(signal: AbortSignal): SourceSink<T> {
    return {
      replace: (objects) => {
        if (!signal.aborted) this.#replace(objects);
      },
      upsert: (object) => {
        if (signal.aborted || this.#tooEarly()) return;
        this.#upsert(objectKey(object.meta), object);
      },
      remove: (key) => {
        if (signal.aborted || this.#tooEarly()) return;
        this.#remove(key);
      },
    };
  }

  /** Before the first complete list a single change means nothing: the list will contain it. */
  #tooEarly(): boolean {
    if (this.#state === 'synced') return false;
    this.#log.warn({ informer: this.#name }, 'change before the first complete list ignored');
    return true;
  }

  #replace(objects: readonly T[]): void {
    const next = new Map(objects.map((object) => [objectKey(object.meta), object]));
    const removed = [...this.#store].filter(([key]) => !next.has(key));
    const changed: [T | undefined, T][] = [];
    for (const [key, object] of next) {
      const previous = this.#store.get(key);
      if (previous === undefined || !isDeepStrictEqual(previous, object)) {
        changed.push([previous, object]);
        this.#store.set(key, object);
      }
    }
    for (const [key] of removed) this.#store.delete(key);
    for (const [, object] of removed) this.#tell('removed', (handler) => handler.removed?.(object));
    for (const [previous, object] of changed) this.#tellChange(previous, object);
    if (this.#state === 'synced') return;
    this.#state = 'synced';
    this.#log.info({ informer: this.#name, objects: this.#store.size }, 'first list complete');
    this.#tell('synced', (handler) => handler.synced?.());
  }

  #upsert(key: string, object: T): void {
    const previous = this.#store.get(key);
    if (previous !== undefined && isDeepStrictEqual(previous, object)) return;
    this.#store.set(key, object);
    this.#tellChange(previous, object);
  }

  #remove(key: string): void {
    const object = this.#store.get(key);
    if (object === undefined) return;
    this.#store.delete(key);
    this.#tell('removed', (handler) => handler.removed?.(object));
  }

  #tellChange(previous: T | undefined, object: T): void {
    if (previous === undefined) this.#tell('added', (handler) => handler.added?.(object));
    else this.#tell('updated', (handler) => handler.updated?.(previous, object));
  }

  /** One handler's failure is its own: the others are told, and the informer goes on. */
  #tell(call: string, tell: (handler: InformerHandler<T>) => void): void {
    for (const handler of this.#handlers) {
      try {
        tell(handler);
      } catch (error) {
        this.#log.error(
          { informer: this.#name, call, err: error },
          `handler failed: ${errorText(error)}`,
        );
      }
    }
  }
}
