import { objectKey } from './kind.ts';
import type { KubeObject } from './kind.ts';
import type { Source, SourceSink } from './source.ts';

/** A part of what a source tells, as `narrow` shows it; an object of which it makes nothing any more is gone. */
export function narrowedSource<W extends KubeObject, T extends KubeObject>(
  source: Source<W>,
  narrow: (object: W) => T | undefined,
): Source<T> {
  const narrowed = (sink: SourceSink<T>): SourceSink<W> => ({
    replace: (objects) => {
      sink.replace(objects.map(narrow).filter((object) => object !== undefined));
    },
    upsert: (object) => {
      const shown = narrow(object);
      if (shown === undefined) sink.remove(objectKey(object.meta));
      else sink.upsert(shown);
    },
    remove: (key) => {
      sink.remove(key);
    },
  });
  return { run: async (sink, signal) => source.run(narrowed(sink), signal) };
}
