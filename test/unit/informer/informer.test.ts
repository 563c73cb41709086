import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { Informer } from '../../../src/informer/informer.ts';
import { objectKey } from '../../../src/informer/kind.ts';
import type { InformerHandler, Source, SourceSink } from '../../../src/informer/source.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { recorder, recordingLog, widget, type Widget } from './widgets.ts';

/** A source that a test speaks for. */
function spoken(): { readonly source: Source<Widget>; readonly sink: () => SourceSink<Widget> } {
  let given: SourceSink<Widget> | undefined;
  const source: Source<Widget> = {
    run: async (sink, signal) => {
      given = sink;
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    },
  };
  const sink = (): SourceSink<Widget> => {
    if (given === undefined) throw new Error('the source was not started');
    return given;
  };
  return { source, sink };
}

function start(handlers: readonly InformerHandler<Widget>[], log = silentLog) {
  const { source, sink } = spoken();
  const informer = new Informer({ source, handlers, log, name: 'widgets' });
  const stopping = new AbortController();
  const done = informer.start(stopping.signal);
  return { informer, sink: sink(), stopping, done };
}

test('the first complete list is told, then synced, once', () => {
  const { told, handler } = recorder();
  const { informer, sink } = start([handler]);
  expect(informer.synced).toBe(false);
  sink.replace([widget('a', 'red'), widget('b', 'blue')]);
  sink.replace([widget('a', 'red'), widget('b', 'blue')]);
  expect(told).toEqual(['+a:red', '+b:blue', 'synced']);
  expect(informer.synced).toBe(true);
});

test('an empty first list is a complete list', () => {
  const { told, handler } = recorder();
  start([handler]).sink.replace([]);
  expect(told).toEqual(['synced']);
});

test('a single change before the first complete list is not told', () => {
  const { told, handler } = recorder();
  const { informer, sink } = start([handler]);
  sink.upsert(widget('a', 'red'));
  sink.remove('default/a');
  expect(told).toEqual([]);
  expect(informer.store.size).toBe(0);
});

test('a later list is told as what differs', () => {
  const { told, handler } = recorder();
  const { sink } = start([handler]);
  sink.replace([widget('a', 'red'), widget('b', 'blue'), widget('c', 'green')]);
  told.length = 0;
  sink.replace([widget('c', 'green'), widget('b', 'black'), widget('d', 'grey')]);
  expect(told).toEqual(['-a', 'b:blue>black', '+d:grey']);
});

test('equal objects that come again, and removals of unknown ones, are no news', () => {
  const { told, handler } = recorder();
  const { sink } = start([handler]);
  sink.replace([widget('a', 'red')]);
  told.length = 0;
  sink.upsert(widget('a', 'red'));
  sink.remove('default/nobody');
  expect(told).toEqual([]);
});

test('the store holds the new state when handlers are called', () => {
  const seen: (string | undefined)[] = [];
  const { informer, sink } = start([
    {
      added: (object) => seen.push(informer.store.get(objectKey(object.meta))?.color),
      removed: (object) => seen.push(informer.store.get(objectKey(object.meta))?.color),
    },
  ]);
  sink.replace([widget('a', 'red')]);
  sink.remove('default/a');
  expect(seen).toEqual(['red', undefined]);
});

test('a handler that throws is logged; the others and the informer go on', () => {
  const { told, handler } = recorder();
  const { lines, log } = recordingLog();
  const broken: InformerHandler<Widget> = {
    added: () => {
      throw new Error('broken handler');
    },
  };
  const { sink } = start([broken, handler], log);
  sink.replace([widget('a', 'red')]);
  sink.upsert(widget('b', 'blue'));
  expect(told).toEqual(['+a:red', 'synced', '+b:blue']);
  expect(lines.filter((line) => line === 'error: handler failed: broken handler')).toHaveLength(2);
});

test('after it was stopped it tells nothing, and start resolves', async () => {
  const { told, handler } = recorder();
  const { sink, stopping, done } = start([handler]);
  sink.replace([widget('a', 'red')]);
  told.length = 0;
  stopping.abort();
  sink.upsert(widget('b', 'blue'));
  sink.replace([]);
  await done;
  expect(told).toEqual([]);
});

test('it cannot be started twice', async () => {
  const { informer, stopping } = start([]);
  await expect(informer.start(stopping.signal)).rejects.toThrow('started twice');
});

test('whatever a source says, what was told adds up to what the store holds', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd');
  const object = fc.record({ name, color: fc.constantFrom('red', 'blue') });
  const call = fc.oneof(
    fc.record({ type: fc.constant('replace' as const), objects: fc.array(object) }),
    fc.record({ type: fc.constant('upsert' as const), object }),
    fc.record({ type: fc.constant('remove' as const), name }),
  );
  const holds = fc.property(fc.array(call), (calls) => {
    const copy = new Map<string, Widget>();
    const handler: InformerHandler<Widget> = {
      added: (added) => {
        expect(copy.has(objectKey(added.meta))).toBe(false);
        copy.set(objectKey(added.meta), added);
      },
      updated: (previous, updated) => {
        expect(copy.get(objectKey(updated.meta))).toEqual(previous);
        expect(updated).not.toEqual(previous);
        copy.set(objectKey(updated.meta), updated);
      },
      removed: (removed) => expect(copy.delete(objectKey(removed.meta))).toBe(true),
    };
    const { informer, sink, stopping } = start([handler]);
    sink.replace([]);
    for (const step of calls) {
      if (step.type === 'remove') sink.remove(`default/${step.name}`);
      else if (step.type === 'upsert') sink.upsert(widget(step.object.name, step.object.color));
      else sink.replace(step.objects.map((one) => widget(one.name, one.color)));
    }
    expect(copy).toEqual(informer.store);
    stopping.abort();
  });
  fc.assert(holds);
});
