import type { ApiSourceEvent } from './api-source.ts';
import { objectKey } from './kind.ts';
import type { KubeObject } from './kind.ts';
import type { Source, SourceSink } from './source.ts';
import { aborted } from './wakeup.ts';

/** Told what happens between a source and its server. */
export type OnApiEvent = (event: ApiSourceEvent) => void;

interface Reader<T extends KubeObject> {
  readonly sink: SourceSink<T>;
  readonly onEvent: OnApiEvent | undefined;
}

interface Run {
  readonly stop: AbortController;
  readonly done: Promise<void>;
}

/**
 * One source for several readers. It runs while any of them does. Who comes later is told at once what is known by then, as a first
 * complete list, and of the failure that is being waited out, where there is one.
 */
export class SharedSource<T extends KubeObject> {
  readonly #open: (onEvent: OnApiEvent) => Source<T>;
  readonly #readers = new Set<Reader<T>>();
  /** By key; undefined before the first complete list. */
  #known: Map<string, T> | undefined;
  /** The last event, where it is a failure. */
  #failed: ApiSourceEvent | undefined;
  #run: Run | undefined;

  /** `open` makes what is read: once, and again after all readers had gone. */
  constructor(open: (onEvent: OnApiEvent) => Source<T>) {
    this.#open = open;
  }

  /** All that there is, for one more reader. */
  source(onEvent?: OnApiEvent): Source<T> {
    return { run: async (sink, signal) => this.#read({ sink, onEvent }, signal) };
  }

  async #read(reader: Reader<T>, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    if (this.#known !== undefined) reader.sink.replace([...this.#known.values()]);
    if (this.#failed !== undefined) reader.onEvent?.(this.#failed);
    this.#readers.add(reader);
    const run = (this.#run ??= this.#start());
    try {
      // one that ends early has failed: its error is each reader's
      await Promise.race([aborted(signal), run.done]);
    } finally {
      this.#readers.delete(reader);
      if (this.#readers.size === 0) await this.#end();
    }
  }

  #start(): Run {
    const stop = new AbortController();
    const { signal } = stop;
    const source = this.#open((event) => {
      if (!signal.aborted) this.#heard(event);
    });
    return { stop, done: source.run(this.#sink(signal), signal) };
  }

  /** What nobody watches is not known any more. */
  async #end(): Promise<void> {
    const run = this.#run;
    this.#run = undefined;
    this.#known = undefined;
    this.#failed = undefined;
    run?.stop.abort();
    await run?.done;
  }

  /** What ends says nothing to those who begin anew. */
  #sink(signal: AbortSignal): SourceSink<T> {
    const tell = (say: (sink: SourceSink<T>) => void): void => {
      for (const { sink } of this.#readers) say(sink);
    };
    return {
      replace: (objects) => {
        if (signal.aborted) return;
        this.#known = new Map(objects.map((object) => [objectKey(object.meta), object]));
        tell((sink) => sink.replace(objects));
      },
      upsert: (object) => {
        if (signal.aborted) return;
        this.#known?.set(objectKey(object.meta), object);
        tell((sink) => sink.upsert(object));
      },
      remove: (key) => {
        if (signal.aborted) return;
        this.#known?.delete(key);
        tell((sink) => sink.remove(key));
      },
    };
  }

  #heard(event: ApiSourceEvent): void {
    this.#failed = event.type === 'failed' ? event : undefined;
    for (const { onEvent } of this.#readers) onEvent?.(event);
  }
}
