import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { Informer } from '../../../src/informer/informer.ts';
import { UrlWatch } from '../../../src/informer/url-watch.ts';
import { ManualClock, rawWidget, recorder, recordingLog, until, widgetKind } from './widgets.ts';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

let answer: Answer;
let requests: IncomingMessage['headers'][];
let url: string;
let stop: (() => Promise<void>) | undefined;
const server = createServer((request, response) => {
  requests.push(request.headers);
  answer(request, response);
});

beforeEach(async () => {
  requests = [];
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/manifests`;
});

afterEach(async () => {
  await stop?.();
  stop = undefined;
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
});

interface Given {
  readonly url?: string;
  readonly maxBytes?: number;
  readonly env?: Readonly<Record<string, string>>;
}

function start(options: Given = {}) {
  const clock = new ManualClock();
  const { lines, log } = recordingLog();
  const { told, handler } = recorder();
  const watch = new UrlWatch({
    url,
    intervalMs: 20_000,
    kinds: [widgetKind],
    clock,
    log,
    env: {},
    ...options,
  });
  const source = watch.source(widgetKind);
  const informer = new Informer({ source, handlers: [handler], log, name: 'widgets' });
  const stopping = new AbortController();
  const done = informer.start(stopping.signal);
  stop = async () => {
    stopping.abort();
    await done;
  };
  const polls = (): number => clock.slept.filter((ms) => ms === 20_000).length;
  /** Lets the time pass until the next poll is over. */
  const poll = async (): Promise<void> => {
    const before = polls();
    clock.pass();
    await until('polled', () => polls() > before);
  };
  const firstPoll = async (): Promise<void> => until('polled', () => polls() === 1);
  return { told, lines, clock, poll, firstPoll };
}

function gives(...objects: readonly object[]): Answer {
  const text = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
  const etag = `"${text.length}-${objects.length}"`;
  return (request, response) => {
    response.setHeader('etag', etag);
    if (request.headers['if-none-match'] === etag) response.statusCode = 304;
    response.end(response.statusCode === 304 ? '' : text);
  };
}

test('what the URL gives is followed; its entity tag is sent back', async () => {
  answer = gives(rawWidget('a', 'red'));
  const { told, poll, firstPoll } = start();
  await firstPoll();
  expect(told).toEqual(['+a:red', 'synced']);
  await poll();
  answer = gives(rawWidget('a', 'blue'), rawWidget('b', 'red'));
  await poll();
  expect(told).toEqual(['+a:red', 'synced', 'a:red>blue', '+b:red']);
  const tags = requests.map((headers) => headers['if-none-match'] !== undefined);
  expect(tags).toEqual([false, true, true]);
});

const badAnswers: readonly (readonly [string, Answer, string])[] = [
  [
    'an error status',
    (_request, response) => {
      response.statusCode = 503;
      response.end();
    },
    'answered 503',
  ],
  ['no answer', (_request, response) => response.destroy(), 'cannot be used'],
  ['a login page', (_request, response) => response.end('<html> <p'), 'not an object with'],
  ['an empty document', (_request, response) => response.end('\n'), 'empty document'],
  ['null', (_request, response) => response.end('null'), 'without an object of the kinds Widget'],
  ['a comment', (_request, response) => response.end('# soon'), 'are an empty List'],
  [
    'a Status',
    (_request, response) => response.end('{"apiVersion":"v1","kind":"Status","code":200}'),
    'without an object',
  ],
  [
    'a list of another kind',
    (_request, response) => response.end('{"apiVersion":"v1","kind":"SecretList","items":[]}'),
    'without an object',
  ],
  ['broken YAML', (_request, response) => response.end('kind: ['), 'not valid YAML'],
  ['an answer too long', (_request, response) => response.end('#'.repeat(5_000)), 'longer than'],
];

test.each(badAnswers)('%s keeps what was there', async (_name, bad, message) => {
  answer = gives(rawWidget('a', 'red'));
  const { told, lines, poll, firstPoll } = start({ maxBytes: 4_000 });
  await firstPoll();
  answer = bad;
  await poll();
  await poll();
  expect(told).toEqual(['+a:red', 'synced']);
  expect(lines.filter((line) => line.startsWith('warn') && line.includes(message))).toHaveLength(1);
  answer = gives(rawWidget('a', 'blue'));
  await poll();
  expect(told.at(-1)).toBe('a:red>blue');
});

test.each(badAnswers)('%s at the start tells nothing', async (_name, bad) => {
  answer = bad;
  const { told, poll, firstPoll } = start({ maxBytes: 4_000 });
  await firstPoll();
  expect(told).toEqual([]);
  answer = gives();
  await poll();
  expect(told).toEqual(['synced']);
});

test.each([
  ['an empty List', { apiVersion: 'v1', kind: 'List', items: [] }],
  ['an empty list of the kind', { apiVersion: 'example.com/v1', kind: 'WidgetList', items: null }],
  ['objects that are not selected', rawWidget('a', 'red', { labels: { hidden: '' } })],
])('%s removes what was there', async (_name, object) => {
  answer = gives(rawWidget('a', 'red'));
  const { told, poll, firstPoll } = start();
  await firstPoll();
  answer = (_request, response) => response.end(JSON.stringify(object));
  await poll();
  expect(told).toEqual(['+a:red', 'synced', '-a']);
});

test('a server that never finishes its answer is given up', async () => {
  answer = (_request, response) => {
    response.write('kind: ');
  };
  const { told, lines, clock, firstPoll } = start();
  await until('asked', () => requests.length === 1);
  await until(
    'given up',
    () => lines.some((line) => line.includes('no byte for 30 s')),
    () => clock.pass(),
  );
  await firstPoll();
  expect(told).toEqual([]);
});

test('a password in the URL is sent and never logged', async () => {
  answer = (_request, response) => {
    response.statusCode = 500;
    response.end();
  };
  const { lines, firstPoll } = start({ url: url.replace('//', '//me:s%40cret@') });
  await firstPoll();
  const expected = `Basic ${Buffer.from('me:s@cret').toString('base64')}`;
  expect(requests[0]?.authorization).toBe(expected);
  expect(lines.join('\n')).not.toContain('cret');
});

test('a proxy of the environment is asked', async () => {
  const asked: (string | undefined)[] = [];
  answer = (request, response) => {
    asked.push(request.url);
    gives(rawWidget('a', 'red'))(request, response);
  };
  const env = { HTTP_PROXY: new URL(url).origin };
  const { told, firstPoll } = start({ url: 'http://manifests.example/all', env });
  await firstPoll();
  expect(asked).toEqual(['http://manifests.example/all']);
  expect(told).toEqual(['+a:red', 'synced']);
});

test('what is no http URL is refused', () => {
  expect(() => start({ url: 'ftp://example.com' })).toThrow('no http or https URL');
});
