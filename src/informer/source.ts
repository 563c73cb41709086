import type { KubeObject } from './kind.ts';

/** What a source says to its informer, in order. */
export interface SourceSink<T extends KubeObject> {
  /** The complete list: everything not in it is gone. The first one makes the informer synced. */
  replace(objects: readonly T[]): void;
  upsert(object: T): void;
  /** Of no meaning where there is none of this key. */
  remove(key: string): void;
}

/**
 * Something that can list and watch one kind. `run` resolves only after `signal` aborts: a source
 * owns its retries, and a lost peer never removes anything (fail static).
 */
export interface Source<T extends KubeObject> {
  run(sink: SourceSink<T>, signal: AbortSignal): Promise<void>;
}

/** What an informer tells. `synced` comes once, after the first complete list was told. */
export interface InformerHandler<T extends KubeObject> {
  added?(object: T): void;
  updated?(previous: T, object: T): void;
  removed?(object: T): void;
  synced?(): void;
}
