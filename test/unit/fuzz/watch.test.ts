// Lists and watches whose bytes are cut anywhere, torn, repeated and mixed with nonsense: whatever happens on the
// way, the informer ends with what the server holds, and what it told its handlers adds up to that.
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Clock } from '../../../src/clock.ts';
import type { ApiClient, ApiResponse } from '../../../src/informer/api-client.ts';
import { ApiSource } from '../../../src/informer/api-source.ts';
import { Informer } from '../../../src/informer/informer.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { rawWidget, widgetKind } from '../informer/widgets.ts';
import type { Widget } from '../informer/widgets.ts';
import { bounded, fuzzTimeoutMs } from './bounds.ts';

/** One change on the server. Its version is its place in the history. */
type Change =
  | { readonly kind: 'put'; readonly name: string; readonly color: unknown }
  | { readonly kind: 'delete'; readonly name: string };

/** What may stand in a stream between two events. */
type Noise = 'bookmark' | 'repeat' | 'blank' | 'nonsense' | 'nobody' | 'error';

const noises: readonly Noise[] = ['bookmark', 'repeat', 'blank', 'nonsense', 'nobody', 'error'];
const nonsense = [
  'null',
  '[]',
  '7',
  '<html>',
  '{"type":7}',
  '{"type":"ADDED"}',
  '{"type":"X","object":{}}',
  '{"a":',
  '\u0000',
];
const nobodies = [
  'null',
  '{}',
  '[]',
  '"x"',
  '{"metadata":null}',
  '{"metadata":{"name":{}}}',
  '{"metadata":{"name":""}}',
];

const names = ['a', 'b', 'c', '__proto__', 'constructor'];
/** Colours of several bytes a letter, and with what ends lines and texts; of another type they are unusable. */
const colors: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 5, arbitrary: fc.string({ unit: 'grapheme', maxLength: 12 }) },
  {
    weight: 3,
    arbitrary: fc.constantFrom('日本語', '🟥🟦', 'é\n"]}', '\\', '\u2028', 'r'.repeat(70_000)),
  },
  { weight: 2, arbitrary: fc.constantFrom<unknown>(7, null, ['red'], { red: true }) },
);
const change: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('put' as const),
      name: fc.constantFrom(...names),
      color: colors,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('delete' as const), name: fc.constantFrom(...names) }),
  },
);

/** What becomes of one answer: how its bytes come, where they end, and what stands between the events. */
interface Fate {
  /** Share of the bytes that come; 1: all. */
  readonly share: number;
  readonly breaks: boolean;
  /** Sizes of the chunks, again and again. */
  readonly chunks: readonly number[];
  readonly noise: readonly Noise[];
  readonly salt: number;
  readonly status: number;
  /** A list shows this share of what happened since. */
  readonly newer: number;
  readonly pageSize: number;
}

/** Doubles would nearly all be tiny. */
const shares = fc.nat(1000).map((permille) => permille / 1000);

const fate: fc.Arbitrary<Fate> = fc.record({
  share: fc.oneof(fc.constant(1), shares),
  breaks: fc.boolean(),
  chunks: fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constant(4096)), {
    minLength: 1,
    maxLength: 5,
  }),
  noise: fc.array(fc.constantFrom(...noises), { maxLength: 6 }),
  salt: fc.nat(1000),
  status: fc.oneof(
    { weight: 9, arbitrary: fc.constant(200) },
    { weight: 1, arbitrary: fc.constantFrom(410, 429, 500, 504) },
  ),
  newer: shares,
  pageSize: fc.integer({ min: 1, max: 4 }),
});

const calm: Fate = {
  share: 1,
  breaks: false,
  chunks: [1 << 20],
  noise: [],
  salt: 0,
  status: 200,
  newer: 0,
  pageSize: 100,
};
const firstVersion = 9;

/** An API server with a history, whose answers have fates; when these are used up it behaves. */
class FatefulServer implements ApiClient {
  readonly server = 'https://fate.example';
  readonly #history: readonly Change[];
  readonly #over: AbortController;
  readonly #listFates: Fate[];
  readonly #watchFates: Fate[];
  /** Changes that somebody may have seen. */
  #shown = 0;
  #requests = 0;
  #paging: { readonly version: number; rest: unknown[] } | undefined;

  /** `over` is aborted when a watch that behaves has told everything. */
  constructor(
    history: readonly Change[],
    lists: readonly Fate[],
    watches: readonly Fate[],
    over: AbortController,
  ) {
    this.#over = over;
    this.#history = history;
    this.#listFates = [...lists];
    this.#watchFates = [...watches];
  }

  /** What is right in the end. */
  get final(): ReturnType<typeof stateAfter> {
    return stateAfter(this.#history);
  }

  async get(
    _path: string,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<ApiResponse> {
    const fates = query['watch'] === 'true' ? this.#watchFates : this.#listFates;
    const next = fates.shift() ?? calm;
    await setImmediate();
    // Fates are few: who asks so often turns in a circle.
    if (++this.#requests > 200) this.#over.abort();
    signal.throwIfAborted();
    if (next.status !== 200)
      return answer(next.status, Readable.from([Buffer.from('{"message":"no"}')]));
    if (query['watch'] === 'true') return this.#watch(Number(query['resourceVersion']), next);
    return this.#list(query['continue'], next);
  }

  async reloadCredentials(): Promise<void> {}

  async close(): Promise<void> {}

  #list(token: string | undefined, given: Fate): ApiResponse {
    if (token === undefined || this.#paging === undefined) {
      const all = this.#history.length;
      const count = this.#shown + Math.floor((all - this.#shown) * given.newer);
      this.#shown = count;
      const items = [...stateAfter(this.#history.slice(0, count))].map(
        ([name, { color, version }]) =>
          rawWidget(name, color, { resourceVersion: String(version) }),
      );
      this.#paging = { version: firstVersion + count, rest: items };
    }
    const items = this.#paging.rest.splice(0, given.pageSize);
    const more = this.#paging.rest.length > 0 ? { continue: 'more' } : {};
    const metadata = { resourceVersion: String(this.#paging.version), ...more };
    const list = { kind: 'WidgetList', metadata, items };
    const bytes = Buffer.from(JSON.stringify(list, null, given.salt % 3));
    return answer(200, body(bytes, given, undefined));
  }

  #watch(version: number, given: Fate): ApiResponse {
    let text = '';
    const start = version - firstVersion;
    for (let at = start; at < this.#history.length; at++) {
      const noise = given.noise[(at + given.salt) % Math.max(1, given.noise.length)];
      text += this.#noise(noise, at, start, given.salt);
      // Nonsense stands in the place of an event: what that said is lost.
      if (noise !== 'nonsense') text += `${this.#event(at)}\n`;
    }
    const bytes = Buffer.from(text);
    const end = Math.floor(bytes.length * given.share);
    this.#shown = Math.max(
      this.#shown,
      version - firstVersion + bytes.subarray(0, end).toString().split('\n').length - 1,
    );
    this.#shown = Math.min(this.#shown, this.#history.length);
    return answer(200, body(bytes, given, given === calm ? this.#over : undefined));
  }

  #event(at: number): string {
    const { name, kind } = this.#history[at] ?? { name: 'a', kind: 'delete' as const };
    const before = stateAfter(this.#history.slice(0, at)).get(name);
    const now = stateAfter(this.#history.slice(0, at + 1)).get(name);
    const type = kind === 'delete' ? 'DELETED' : before === undefined ? 'ADDED' : 'MODIFIED';
    const color = (kind === 'delete' ? before : now)?.color;
    const object = rawWidget(name, color, { resourceVersion: String(firstVersion + at + 1) });
    return JSON.stringify({ type, object });
  }

  #noise(noise: Noise | undefined, at: number, start: number, salt: number): string {
    const version = String(firstVersion + at);
    switch (noise) {
      case undefined:
        return '';
      case 'bookmark':
        return `{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"${version}"}}}\n`;
      case 'repeat':
        return at === start ? '' : `${this.#event(start + (salt % (at - start)))}\n`;
      case 'blank':
        return '\n \r\n\n';
      case 'nonsense':
        return `${nonsense[salt % nonsense.length]}\n`;
      case 'nobody':
        return `{"type":"MODIFIED","object":${nobodies[salt % nobodies.length]}}\n`;
      case 'error':
        break;
    }
    return salt % 4 === 0 ? '{"type":"ERROR","object":{"code":410,"message":"too old"}}\n' : '';
  }
}

function answer(status: number, stream: Readable): ApiResponse {
  return { status, headers: {}, body: stream };
}

/** Ends after its share of the bytes, well or by a failure; with `open` it stays open, and everything ends. */
function body(
  bytes: Buffer,
  { share, breaks, chunks }: Fate,
  open: AbortController | undefined,
): Readable {
  async function* pieces(): AsyncGenerator<Buffer> {
    const end = Math.floor(bytes.length * share);
    for (let at = 0, turn = 0; at < end; turn++) {
      const size = Math.max(chunks[turn % chunks.length] ?? 1, Math.ceil(bytes.length / 400));
      yield bytes.subarray(at, Math.min(at + size, end));
      at += size;
    }
    if (open !== undefined) {
      // All is said: whoever has not read it all by then never will.
      for (let turn = 0; turn < 50; turn++) await setImmediate();
      open.abort();
    }
    if (breaks) throw new Error('the connection broke');
  }
  return Readable.from(pieces());
}

/** By name: the colour, and the version that gave it. */
function stateAfter(
  history: readonly Change[],
): ReadonlyMap<string, { readonly color: unknown; readonly version: number }> {
  const state = new Map<string, { color: unknown; version: number }>();
  for (const [at, each] of history.entries()) {
    if (each.kind === 'delete') state.delete(each.name);
    else state.set(each.name, { color: each.color, version: firstVersion + at + 1 });
  }
  return state;
}

/** Waiting takes no time, but nobody is silent for long enough to be given up. */
const clock: Clock = {
  now: () => 0,
  monotonic: () => 0,
  sleep: async (ms, signal) => {
    if (ms <= 60_000) return setImmediate();
    await new Promise<void>((resolve) => {
      if (signal?.aborted === true) resolve();
      else signal?.addEventListener('abort', () => resolve(), { once: true });
    });
  },
};

it(
  'an informer ends with what the server holds, wherever its streams are cut',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(change, { maxLength: 12 }),
        fc.array(fate, { maxLength: 4 }),
        fc.array(fate, { maxLength: 6 }),
        async (changes, lists, watches) => {
          const history: readonly Change[] = [
            ...changes,
            { kind: 'put', name: 'last', color: 'seen' },
          ];
          const over = new AbortController();
          const server = new FatefulServer(history, lists, watches, over);
          const told = new Map<string, string>();
          const tell = (object: Widget): void => {
            told.set(object.meta.name, object.color);
          };
          const source = new ApiSource({
            client: server,
            kind: widgetKind,
            clock,
            random: () => 0.5,
            log: silentLog,
          });
          const wrong: string[] = [];
          const check = (isRight: boolean, what: string): void => {
            if (!isRight) wrong.push(what);
          };
          const informer = new Informer({
            source,
            handlers: [
              {
                added: (object) => {
                  check(!told.has(object.meta.name), `${object.meta.name} was added twice`);
                  tell(object);
                },
                updated: (before, object) => {
                  const { name } = before.meta;
                  check(told.get(name) === before.color, `${name} changed from what it was not`);
                  tell(object);
                },
                removed: ({ meta: { name }, color }) => {
                  check(told.get(name) === color, `${name} was removed as what it was not`);
                  told.delete(name);
                },
              },
            ],
            log: { ...silentLog, error: (_fields, message) => wrong.push(message) },
            name: 'widgets',
          });
          await informer.start(over.signal);
          const right = [...server.final].flatMap(([name, { color }]) =>
            typeof color === 'string' ? [[name, color]] : [],
          );
          expect(wrong).toEqual([]);
          const found = [...informer.store.values()].map(({ meta, color }) => [meta.name, color]);
          expect(new Map(found as [string, string][])).toEqual(
            new Map(right as [string, string][]),
          );
        },
      ),
      bounded(150),
    );
  },
  fuzzTimeoutMs,
);
