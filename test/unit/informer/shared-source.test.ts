// One source for several readers: who is told what, and when it runs.
import { beforeEach, describe, expect, it } from 'vitest';
import type { ApiSourceEvent } from '../../../src/informer/api-source.ts';
import { Informer } from '../../../src/informer/informer.ts';
import { narrowedSource } from '../../../src/informer/narrowed-source.ts';
import { SharedSource } from '../../../src/informer/shared-source.ts';
import type { OnApiEvent } from '../../../src/informer/shared-source.ts';
import type { Source, SourceSink } from '../../../src/informer/source.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { recorder, until, widget } from './widgets.ts';
import type { Widget } from './widgets.ts';

interface Run {
  readonly sink: SourceSink<Widget>;
  readonly onEvent: OnApiEvent;
  readonly signal: AbortSignal;
  readonly fail: (error: Error) => void;
}

let runs: Run[];
let shared: SharedSource<Widget>;

const failed = (reason: string): ApiSourceEvent => ({
  type: 'failed',
  failure: { reason, status: undefined, retryAfterMs: undefined, relist: false },
  delayMs: 800,
});

beforeEach(() => {
  runs = [];
  shared = new SharedSource((onEvent) => ({
    run: async (sink, signal) =>
      new Promise((resolve, reject) => {
        runs.push({ sink, onEvent, signal, fail: reject });
        signal.addEventListener('abort', () => resolve(), { once: true });
      }),
  }));
});

interface Reading {
  readonly told: string[];
  readonly events: string[];
  readonly stop: AbortController;
  readonly done: Promise<void>;
}

function read(of: (source: Source<Widget>) => Source<Widget> = (source) => source): Reading {
  const { told, handler } = recorder();
  const events: string[] = [];
  const source = of(shared.source((event) => events.push(event.type)));
  const informer = new Informer({ source, handlers: [handler], log: silentLog, name: 'widgets' });
  const stop = new AbortController();
  return { told, events, stop, done: informer.start(stop.signal) };
}

describe('a source that several read', () => {
  it('runs once, and tells all of them', () => {
    const [a, b] = [read(), read()];
    expect(runs).toHaveLength(1);
    runs[0]?.sink.replace([widget('x', 'red')]);
    runs[0]?.sink.upsert(widget('x', 'blue'));
    runs[0]?.sink.remove('default/x');
    for (const each of [a, b]) expect(each.told).toEqual(['+x:red', 'synced', 'x:red>blue', '-x']);
  });

  it('tells who comes later what is known by then, at once', () => {
    read();
    runs[0]?.sink.replace([widget('x', 'red'), widget('y', 'red')]);
    runs[0]?.sink.upsert(widget('x', 'blue'));
    runs[0]?.sink.remove('default/y');
    runs[0]?.sink.upsert(widget('z', 'red'));
    const late = read();
    expect(late.told).toEqual(['+x:blue', '+z:red', 'synced']);
    runs[0]?.sink.remove('default/x');
    expect(late.told).toEqual(['+x:blue', '+z:red', 'synced', '-x']);
    expect(runs).toHaveLength(1);
  });

  it('tells nobody that all is known before it is', () => {
    read();
    runs[0]?.sink.upsert(widget('x', 'red'));
    const late = read();
    expect(late.told).toEqual([]);
    runs[0]?.sink.replace([]);
    expect(late.told).toEqual(['synced']);
  });

  it('tells of a failure that is being waited out, and no more when it is over', () => {
    const first = read();
    runs[0]?.onEvent(failed('away'));
    expect([first.events, read().events]).toEqual([['failed'], ['failed']]);
    runs[0]?.onEvent({ type: 'watching', resourceVersion: '7' });
    expect([first.events, read().events]).toEqual([['failed', 'watching'], []]);
  });

  it('goes on while anybody reads, and knows nothing when it begins anew', async () => {
    const [a, b] = [read(), read()];
    runs[0]?.sink.replace([widget('x', 'red')]);
    runs[0]?.onEvent(failed('away'));
    a.stop.abort();
    await a.done;
    expect(runs[0]?.signal.aborted).toBe(false);
    runs[0]?.sink.upsert(widget('x', 'blue'));
    expect([a.told.length, b.told.length]).toEqual([2, 3]);
    b.stop.abort();
    await b.done;
    expect(runs[0]?.signal.aborted).toBe(true);
    const next = read();
    expect([runs.length, next.told, next.events]).toEqual([2, [], []]);
    runs[0]?.sink.replace([widget('x', 'old')]);
    runs[0]?.onEvent(failed('old'));
    expect([next.told, next.events]).toEqual([[], []]);
    runs[1]?.sink.replace([]);
    expect(next.told).toEqual(['synced']);
  });

  it('fails for all of them', async () => {
    const readings = [read(), read()];
    runs[0]?.fail(new Error('broken'));
    const ends = await Promise.allSettled(readings.map(async ({ done }) => done));
    expect(ends.map((end) => end.status === 'rejected' && String(end.reason))).toEqual([
      'Error: broken',
      'Error: broken',
    ]);
  });

  it('is not run for a reader that has been stopped already', async () => {
    await shared.source().run({} as never, AbortSignal.abort());
    expect(runs).toEqual([]);
  });
});

const red = (source: Source<Widget>): Source<Widget> =>
  narrowedSource(source, (each) => (each.color === 'red' ? each : undefined));

describe('a part of a source', () => {
  it('has what is of it, loses what is not any more, and gets it back', async () => {
    const part = read(red);
    await until('it runs', () => runs.length === 1);
    runs[0]?.sink.replace([widget('x', 'red'), widget('y', 'blue')]);
    runs[0]?.sink.upsert(widget('y', 'green'));
    runs[0]?.sink.upsert(widget('x', 'blue'));
    runs[0]?.sink.upsert(widget('x', 'red'));
    runs[0]?.sink.remove('default/x');
    runs[0]?.sink.remove('default/y');
    expect(part.told).toEqual(['+x:red', 'synced', '-x', '+x:red', '-x']);
  });
});
