import { afterEach, beforeEach, expect, test } from 'vitest';

import { runProgram } from '../../../src/host/run-program.ts';
import { loadApiClient, type ApiClient } from '../../../src/informer/api-client.ts';
import { ApiSource, type ApiSourceEvent } from '../../../src/informer/api-source.ts';
import { Informer } from '../../../src/informer/informer.ts';
import { startFakeApiServer, type FakeApiServer } from '../../support/fake-api-server.ts';
import {
  ManualClock,
  rawWidget,
  recorder,
  recordingLog,
  until,
  widgetKind,
  WIDGETS,
  type Widget,
} from './widgets.ts';

let server: FakeApiServer;
let running: Running | undefined;

beforeEach(async () => {
  server = await startFakeApiServer();
});

afterEach(async () => {
  await running?.stop();
  running = undefined;
  await server.close();
});

interface Running {
  readonly informer: Informer<Widget>;
  readonly told: string[];
  readonly lines: string[];
  readonly clock: ManualClock;
  readonly events: ApiSourceEvent[];
  readonly stop: () => Promise<void>;
}

async function start(given?: ApiClient): Promise<Running> {
  const clock = new ManualClock();
  const { lines, log } = recordingLog();
  const { told, handler } = recorder();
  const client =
    given ?? (await loadApiClient({ master: server.url, log, clock, env: {}, runProgram }));
  const events: ApiSourceEvent[] = [];
  const source = new ApiSource({
    client,
    kind: widgetKind,
    clock,
    random: () => 0.5,
    log,
    onEvent: (event) => events.push(event),
  });
  const informer = new Informer({ source, handlers: [handler], log, name: 'widgets' });
  const stopping = new AbortController();
  const done = informer.start(stopping.signal);
  const stop = async (): Promise<void> => {
    stopping.abort();
    await done;
    await client.close();
  };
  running = { informer, told, lines, clock, events, stop };
  return running;
}

/** Started, with `a` and `b` known and the watch open. */
async function startWatching(): Promise<Running> {
  server.put(WIDGETS, rawWidget('a', 'red'));
  server.put(WIDGETS, rawWidget('b', 'blue'));
  const run = await start();
  await until('watch open', () => server.watchers(WIDGETS) === 1);
  expect(run.told).toEqual(['+a:red', '+b:blue', 'synced']);
  run.told.length = 0;
  return run;
}

/** What was told by the time that there are `count` of it, sorted; back-off passes meanwhile. */
async function heard(run: Running, count: number): Promise<string[]> {
  await until(
    `${count} calls; told so far: ${run.told.join(' ')}`,
    () => run.told.length >= count,
    () => run.clock.pass(),
  );
  return run.told.toSorted();
}

function lists(): Record<string, string>[] {
  return queries().filter((query) => query['watch'] === undefined);
}

function watches(): Record<string, string>[] {
  return queries().filter((query) => query['watch'] === 'true');
}

function queries(): Record<string, string>[] {
  return server.requests.map((request) => ({ ...request.query }));
}

test('lists by pages of 500 from the cache, then watches with bookmarks and a random end', async () => {
  for (let index = 0; index < 1_200; index++) server.put(WIDGETS, rawWidget(`w${index}`, 'red'));
  const run = await start();
  await until('watch open', () => server.watchers(WIDGETS) === 1);
  const labelSelector = '!hidden';
  expect(lists()).toEqual([
    { labelSelector, limit: '500', resourceVersion: '0' },
    { labelSelector, limit: '500', continue: '500' },
    { labelSelector, limit: '500', continue: '1000' },
  ]);
  expect(watches()).toEqual([
    {
      labelSelector,
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: String(server.version),
      timeoutSeconds: '450',
    },
  ]);
  expect(run.informer.store.size).toBe(1_200);
  expect(run.told.at(-1)).toBe('synced');
});

test('tells additions, changes and removals, and what leaves the selection', async () => {
  const run = await startWatching();
  server.put(WIDGETS, rawWidget('c', 'green'));
  server.put(WIDGETS, rawWidget('a', 'black'));
  server.remove(WIDGETS, 'default/b');
  server.put(WIDGETS, rawWidget('c', 'green', { labels: { hidden: '' } }));
  expect(await heard(run, 4)).toEqual(['+c:green', '-b', '-c', 'a:red>black']);
});

test('tells nothing before the first complete list, however often the server fails', async () => {
  server.put(WIDGETS, rawWidget('a', 'red'));
  server.inject({ on: 'list', type: 'status', status: 500, times: 4 });
  server.inject({ on: 'list', type: 'garbage' });
  server.inject({ on: 'list', type: 'reset' });
  const run = await start();
  await until(
    'five failures',
    () => failures(run).length === 5,
    () => run.clock.pass(),
  );
  expect(run.told).toEqual([]);
  expect(run.informer.synced).toBe(false);
  expect(await heard(run, 2)).toEqual(['+a:red', 'synced']);
  const delays = failures(run).map((failure) => failure.delayMs);
  expect(delays).toEqual([1_200, 2_400, 4_800, 9_600, 19_200, 22_500]);
});

test('waits for a server that starts late, and for one that is slow to answer', async () => {
  server.put(WIDGETS, rawWidget('a', 'red'));
  await server.down();
  const run = await start();
  await until('refused', () => failures(run).length > 0);
  const answer = Promise.withResolvers<void>();
  server.inject({ on: 'list', type: 'hold', until: answer.promise });
  await server.up();
  await until(
    'asked',
    () => lists().length === 1,
    () => run.clock.pass(),
  );
  expect(run.told).toEqual([]);
  answer.resolve();
  expect(await heard(run, 2)).toEqual(['+a:red', 'synced']);
});

test('while the server is away nothing is removed, and what changed meanwhile is told after', async () => {
  const run = await startWatching();
  await server.down();
  server.put(WIDGETS, rawWidget('a', 'black'));
  await until(
    'two failures',
    () => failures(run).length >= 2,
    () => run.clock.pass(),
  );
  expect(run.told).toEqual([]);
  expect(run.informer.store.size).toBe(2);
  await server.up();
  expect(await heard(run, 1)).toEqual(['a:red>black']);
});

test('an expired continue token makes it list again in one piece', async () => {
  for (let index = 0; index < 600; index++) server.put(WIDGETS, rawWidget(`w${index}`, 'red'));
  server.inject({ on: 'list', type: 'status', status: 410, continued: true });
  const run = await start();
  await until(
    'synced',
    () => run.informer.synced,
    () => run.clock.pass(),
  );
  expect(run.informer.store.size).toBe(600);
  expect(lists().map((query) => query['limit'])).toEqual(['500', '500', undefined]);
});

test.each([
  ['as an event', () => server.compact()],
  ['as a status', () => server.inject({ on: 'watch', type: 'status', status: 410 })],
])('410 %s makes it list what is not older, after a delay', async (_how, expire) => {
  const run = await startWatching();
  server.freezeWatches(WIDGETS);
  server.remove(WIDGETS, 'default/b');
  expire();
  server.endWatches(WIDGETS);
  expect(await heard(run, 1)).toEqual(['-b']);
  expect(lists()[1]).toEqual({
    labelSelector: '!hidden',
    resourceVersion: watches()[0]?.['resourceVersion'],
    resourceVersionMatch: 'NotOlderThan',
  });
  expect(failures(run).every((failure) => failure.delayMs >= 800)).toBe(true);
});

test.each([504, 410, 400])(
  'a server that answers %i to the version it should not go below is asked for its newest state',
  async (status) => {
    const run = await startWatching();
    server.compact();
    server.remove(WIDGETS, 'default/b');
    server.inject({ on: 'list', type: 'status', status });
    server.inject({ on: 'watch', type: 'status', status: 410 });
    server.endWatches(WIDGETS);
    await heard(run, 1);
    await until(
      'listed anew',
      () => lists().length === 3,
      () => run.clock.pass(),
    );
    const [, named, newest] = lists();
    expect(named?.['resourceVersionMatch']).toBe('NotOlderThan');
    expect(newest).toEqual({ labelSelector: '!hidden', limit: '500' });
  },
);

test('a list in one piece that fails is asked for in one piece again', async () => {
  for (let index = 0; index < 600; index++) server.put(WIDGETS, rawWidget(`w${index}`, 'red'));
  server.inject({ on: 'list', type: 'status', status: 410, continued: true });
  const run = await start();
  await until('expired', () => failures(run).length === 1);
  server.inject({ on: 'list', type: 'status', status: 500 });
  await until(
    'synced',
    () => run.informer.synced,
    () => run.clock.pass(),
  );
  const limits = lists().map((query) => query['limit']);
  expect(limits).toEqual(['500', '500', undefined, undefined]);
});

test('a server that was away and comes back with 410 is listed after the first delay, not the grown one', async () => {
  const run = await startWatching();
  await server.down();
  await until(
    'four failures',
    () => failures(run).length === 4,
    () => run.clock.pass(),
  );
  server.compact();
  await server.up();
  await until(
    'listed again',
    () => lists().length === 2,
    () => run.clock.pass(),
  );
  expect(failures(run).map(({ delayMs }) => delayMs)).toEqual([1_200, 2_400, 4_800, 9_600, 1_200]);
});

test('a server that comes and goes with 410 is listed ever more rarely', async () => {
  for (let count = 0; count < 3; count++) {
    server.inject({ on: 'watch', type: 'end' });
    server.inject({ on: 'watch', type: 'status', status: 410 });
  }
  const run = await start();
  await until(
    'six',
    () => failures(run).length === 6,
    () => run.clock.pass(),
  );
  const delays = failures(run).map(({ delayMs }) => delayMs);
  expect(delays).toEqual([1_200, 1_200, 2_400, 4_800, 9_600, 19_200]);
});

test('a server that answers 410 each time is asked ever more slowly', async () => {
  server.inject({ on: 'watch', type: 'status', status: 410, times: 4 });
  const run = await start();
  await until(
    'four',
    () => failures(run).length === 4,
    () => run.clock.pass(),
  );
  expect(failures(run).map((failure) => failure.delayMs)).toEqual([1_200, 2_400, 4_800, 9_600]);
});

test('an ERROR event makes it list again and loses nothing', async () => {
  const run = await startWatching();
  server.emit(WIDGETS, 'ERROR', { kind: 'Status', code: 500, message: 'etcd is sulking' });
  await until(
    'listed again',
    () => lists().length === 2,
    () => run.clock.pass(),
  );
  server.put(WIDGETS, rawWidget('c', 'green'));
  expect(await heard(run, 1)).toEqual(['+c:green']);
  expect(run.lines.join('\n')).toContain('etcd is sulking');
});

test('a stream cut in the middle of a line, and of a character, goes on where it was', async () => {
  const run = await startWatching();
  const object = rawWidget('c', 'grün', { resourceVersion: String(server.version + 1) });
  const bytes = Buffer.from(JSON.stringify({ type: 'ADDED', object }));
  await server.cutMidLine(WIDGETS, bytes.subarray(0, bytes.indexOf('ü') + 1));
  server.put(WIDGETS, rawWidget('c', 'grün'));
  expect(await heard(run, 1)).toEqual(['+c:grün']);
  expect(lists()).toHaveLength(1);
});

test('an event that comes byte by byte is one event', async () => {
  const run = await startWatching();
  const object = rawWidget('c', '日本語', { resourceVersion: String(server.version + 1) });
  for (const byte of Buffer.from(`${JSON.stringify({ type: 'ADDED', object })}\n`)) {
    server.emitRaw(WIDGETS, Buffer.of(byte));
  }
  expect(await heard(run, 1)).toEqual(['+c:日本語']);
});

test('a watch without a byte for 90 s is given up, and bookmarks keep it alive', async () => {
  const run = await startWatching();
  const last = server.version + 1;
  run.clock.advance(60_000);
  server.bookmark(WIDGETS);
  await until('bookmark', () => changes(run).includes('BOOKMARK'));
  run.clock.advance(60_000);
  server.freezeWatches(WIDGETS);
  server.put(WIDGETS, rawWidget('c', 'green'));
  expect(watches()).toHaveLength(1);
  run.clock.advance(30_000);
  expect(await heard(run, 1)).toEqual(['+c:green']);
  expect(watches().at(-1)?.['resourceVersion']).toBe(String(last));
  expect(run.lines.join('\n')).toContain('no byte for 90 s');
});

test('a clock that is set back does not keep a frozen watch alive', async () => {
  const run = await startWatching();
  run.clock.setBack(3_600_000);
  server.freezeWatches(WIDGETS);
  server.put(WIDGETS, rawWidget('c', 'green'));
  run.clock.advance(90_000);
  expect(await heard(run, 1)).toEqual(['+c:green']);
});

test('a list that freezes is given up after 90 s', async () => {
  server.put(WIDGETS, rawWidget('a', 'red'));
  server.inject({ on: 'list', type: 'freeze' });
  const run = await start();
  await until('asked', () => lists().length === 1);
  await until('answer begun', () => run.clock.slept.includes(90_000));
  run.clock.advance(90_000);
  expect(await heard(run, 2)).toEqual(['+a:red', 'synced']);
});

test('events that come twice, late or after a deletion change nothing', async () => {
  const run = await startWatching();
  const old = server.put(WIDGETS, rawWidget('a', 'black'));
  const late = server.put(WIDGETS, rawWidget('a', 'white'));
  server.remove(WIDGETS, 'default/b');
  expect(await heard(run, 3)).toEqual(['-b', 'a:black>white', 'a:red>black']);
  server.emit(WIDGETS, 'MODIFIED', late);
  server.emit(WIDGETS, 'MODIFIED', old);
  server.emit(WIDGETS, 'DELETED', old);
  server.emit(WIDGETS, 'MODIFIED', rawWidget('b', 'blue', { resourceVersion: '102' }));
  await until('four', () => changes(run).filter((change) => change === 'STALE').length === 4);
  expect(run.told).toHaveLength(3);
  server.endWatches(WIDGETS);
  await until(
    'watching again',
    () => watches().length === 2,
    () => run.clock.pass(),
  );
  expect(watches()[1]?.['resourceVersion']).toBe(String(server.version));
});

test('an object that comes late still counts: only its own versions are compared', async () => {
  const run = await startWatching();
  const early = rawWidget('c', 'green', { resourceVersion: String(server.version + 1) });
  const later = rawWidget('d', 'grey', { resourceVersion: String(server.version + 2) });
  server.emit(WIDGETS, 'ADDED', later);
  server.emit(WIDGETS, 'ADDED', early);
  expect(await heard(run, 2)).toEqual(['+c:green', '+d:grey']);
});

test('a bookmark of an earlier version, as after a restore of etcd, makes it list again', async () => {
  const run = await startWatching();
  server.freezeWatches(WIDGETS);
  server.remove(WIDGETS, 'default/a');
  const [watcher] = watches();
  server.thawWatches(WIDGETS);
  server.bookmark(WIDGETS, Number(watcher?.['resourceVersion']) - 1);
  expect(await heard(run, 1)).toEqual(['-a']);
  expect(lists()).toHaveLength(2);
  expect(run.lines.join('\n')).toContain('as after a restore of etcd');
});

test('a line that is no event is logged, and the list is read again', async () => {
  const run = await startWatching();
  server.freezeWatches(WIDGETS);
  server.remove(WIDGETS, 'default/a');
  await server.cutMidLine(WIDGETS, '{"type":"DELETED","obj\n');
  expect(await heard(run, 1)).toEqual(['-a']);
  expect(lists()).toHaveLength(2);
  expect(run.lines.join('\n')).toContain('a line that is no event: {"type":"DELETED","obj');
});

test('a line without an end is given up, and the list is read again', async () => {
  const run = await startWatching();
  const chunk = Buffer.alloc(1024 * 1024, 'x');
  for (let count = 0; count < 17; count++) server.emitRaw(WIDGETS, chunk);
  await until(
    'listed again',
    () => lists().length === 2,
    () => run.clock.pass(),
  );
  expect(run.lines.join('\n')).toContain('a line that did not end');
});

test('an object that cannot be used is named with its field and stops no other', async () => {
  server.put(WIDGETS, rawWidget('bad', 7));
  server.put(WIDGETS, rawWidget('good', 'red'));
  const run = await start();
  expect(await heard(run, 2)).toEqual(['+good:red', 'synced']);
  run.told.length = 0;
  await until('watch open', () => server.watchers(WIDGETS) === 1);
  server.put(WIDGETS, rawWidget('worse', null));
  server.put(WIDGETS, rawWidget('good', 'blue'));
  expect(await heard(run, 1)).toEqual(['good:red>blue']);
  const log = run.lines.join('\n');
  expect(log).toContain('Widget default/bad: spec.color: must be a string');
  expect(log).toContain('Widget default/worse: spec.color: must be a string');
});

test('403 names the rule that is missing', async () => {
  server.inject({ on: 'list', type: 'status', status: 403 });
  const run = await start();
  await until('refused', () => failures(run).length === 1);
  expect(run.lines.join('\n')).toContain(
    '{apiGroups: [example.com], resources: [widgets], verbs: [list, watch]}',
  );
});

test.each([429, 503])(
  '%i with Retry-After is waited out, and not by all nodes alike',
  async (status) => {
    server.inject({ on: 'list', type: 'status', status, retryAfter: '17' });
    const run = await start();
    await until('refused', () => failures(run).length === 1);
    // half the jitter of up to half the wish
    expect(failures(run)[0]?.delayMs).toBe(17_000 * 1.25);
  },
);

test('a Retry-After that is a date counts from the date of the answer, however wrong our own is', async () => {
  const inTenSeconds = new Date(Math.floor(Date.now() / 1000) * 1000 + 10_000).toUTCString();
  server.inject({ on: 'list', type: 'status', status: 503, retryAfter: inTenSeconds });
  const run = await start();
  await until('refused', () => failures(run).length === 1);
  const delayMs = failures(run)[0]?.delayMs ?? 0;
  expect(delayMs / 1.25).toBeGreaterThan(0);
  expect(delayMs / 1.25).toBeLessThanOrEqual(10_000);
});

test.each([
  ['a day', '86400'],
  ['longer than a timer can be', '999999999999'],
])('a Retry-After of %s is cut to a minute', async (_name, retryAfter) => {
  server.inject({ on: 'list', type: 'status', status: 429, retryAfter });
  const run = await start();
  await until('refused', () => failures(run).length === 1);
  expect(failures(run)[0]?.delayMs).toBe(60_000 * 1.25);
});

test('the wish of an ERROR event is cut to a minute as well', async () => {
  const run = await startWatching();
  const details = { retryAfterSeconds: 1e12 };
  server.emit(WIDGETS, 'ERROR', { kind: 'Status', code: 429, message: 'busy', details });
  await until('ended', () => failures(run).length === 1);
  expect(failures(run)[0]?.delayMs).toBe(60_000 * 1.25);
});

test('watches that end at once are not opened in a tight loop', async () => {
  server.inject({ on: 'watch', type: 'end', times: 3 });
  const run = await start();
  await until(
    'three',
    () => failures(run).length === 3,
    () => run.clock.pass(),
  );
  expect(failures(run).map((failure) => failure.delayMs)).toEqual([1_200, 2_400, 4_800]);
});

test('a watch that ended after a while in good order is opened again at once', async () => {
  const run = await startWatching();
  run.clock.advance(10_000);
  server.endWatches(WIDGETS);
  await until('watching again', () => watches().length === 2);
  expect(failures(run)).toEqual([]);
});

test('when told to stop it ends, in the middle of a watch or of a back-off, and tells nothing more', async () => {
  const run = await startWatching();
  await run.stop();
  server.put(WIDGETS, rawWidget('c', 'green'));
  expect(run.told).toEqual([]);

  server.inject({ on: 'list', type: 'status', status: 500 });
  const second = await start();
  await until('failed', () => failures(second).length === 1);
  await second.stop();
  expect(second.told).toEqual([]);
});

function failures(run: Running): { readonly delayMs: number }[] {
  return run.events.filter((event) => event.type === 'failed');
}

function changes(run: Running): string[] {
  return run.events.flatMap((event) => (event.type === 'change' ? [event.change] : []));
}
