// Static pods of a URL: what is taken from an answer, what keeps those that were there, and what is said of it.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { UrlSource } from '../../../../src/kubelet/sources/url-source.ts';
import { ManualClock, recordingLog, until } from '../../informer/widgets.ts';

type Answer = (response: ServerResponse) => void;

let answer: Answer = (response) => void response.end();
let stop = new AbortController();
let running: Promise<void> = Promise.resolve();
const asked: (string | undefined)[] = [];
const server = createServer((request, response) => {
  asked.push(request.headers['if-none-match']);
  answer(response);
});

beforeEach(async () => {
  asked.length = 0;
  stop = new AbortController();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(async () => {
  stop.abort();
  await running;
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
});

/** The source at work: what it told, and a way to its next poll. */
async function start() {
  const clock = new ManualClock();
  const { lines, log } = recordingLog();
  const sets: string[][] = [];
  const uids: string[] = [];
  const url = `http://me:secret@127.0.0.1:${(server.address() as AddressInfo).port}/pods`;
  const headers = { 'X-Token': ['secret'] };
  const source = new UrlSource({
    url,
    headers,
    pollMs: 20_000,
    nodeName: 'N1',
    clock,
    log,
    env: {},
  });
  running = source.run((pods) => {
    sets.push(pods.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`));
    uids.push(...pods.map(({ metadata }) => metadata.uid));
  }, stop.signal);
  const polls = (): number => clock.slept.filter((ms) => ms === 20_000).length;
  const poll = async (): Promise<void> => {
    const before = polls();
    clock.pass();
    await until('polled', () => polls() > before);
  };
  await until('polled', () => polls() === 1);
  const errors = (): string[] => lines.filter((line) => line.startsWith('error'));
  return { source, sets, uids, lines, errors, clock, poll };
}

function pod(name: string, more: object = {}): object {
  const spec = { containers: [{ name: 'app', image: 'busybox:1' }], ...more };
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec };
}

function says(value: unknown): Answer {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return (response) => void response.end(text);
}

function saysList(...items: readonly unknown[]): Answer {
  return says({ apiVersion: 'v1', kind: 'PodList', items });
}

describe('an answer may be', () => {
  const yaml = `
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop }
spec: { containers: [{ name: app, image: 'busybox:1' }] }
`;
  test.each<[string, unknown, string[]]>([
    ['a Pod', pod('a'), ['default/a-n1']],
    ['a Pod as YAML', yaml, ['shop/web-n1']],
    [
      'a PodList, whose items need not say what they are',
      { apiVersion: 'v1', kind: 'PodList', items: [{ ...pod('a'), kind: undefined }, pod('b')] },
      ['default/a-n1', 'default/b-n1'],
    ],
    ['a List', { apiVersion: 'v1', kind: 'List', items: [pod('a')] }, ['default/a-n1']],
    ['a List of none', { apiVersion: 'v1', kind: 'List', items: [] }, []],
    [
      'several documents',
      `${yaml}---\n${JSON.stringify(pod('a'))}`,
      ['shop/web-n1', 'default/a-n1'],
    ],
  ])('%s', async (_what, value, names) => {
    answer = says(value);
    const { sets, errors } = await start();
    expect(sets).toEqual([names]);
    expect(errors()).toEqual([]);
  });
});

test('pods have UIDs of their own, each by what it says', async () => {
  answer = says({ apiVersion: 'v1', kind: 'PodList', items: [pod('a'), pod('b')] });
  const { uids, poll } = await start();
  answer = says({
    apiVersion: 'v1',
    kind: 'PodList',
    items: [pod('b'), pod('a', { hostPID: true })],
  });
  await poll();
  expect(new Set(uids).size).toBe(3);
  expect(uids[1]).toBe(uids[2]);
});

test('a pod with which something is wrong is left out and told of, and the others run', async () => {
  const secret = { volumes: [{ name: 'v', secret: { secretName: 'x' } }] };
  const other = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'm' } };
  answer = says({ apiVersion: 'v1', kind: 'List', items: [pod('a', secret), pod('b'), other, 7] });
  const { source, sets, errors, poll } = await start();
  expect(sets).toEqual([['default/b-n1']]);
  expect(source.state.complaints).toEqual([
    {
      what: 'items[0] (default/a)',
      reason:
        'is left out: spec.volumes[0].secret: a static pod cannot refer to objects of the API server',
    },
    { what: 'items[2] (default/m)', reason: 'is left out: expected a v1 Pod, got v1 ConfigMap' },
    { what: 'items[3] (default/?)', reason: 'is left out: expected a v1 Pod, got something else' },
  ]);
  expect(errors()).toHaveLength(3);
  answer = says({ apiVersion: 'v1', kind: 'List', items: [pod('a'), pod('b')] });
  await poll();
  expect(sets.at(-1)).toEqual(['default/a-n1', 'default/b-n1']);
  expect(source.state.complaints).toEqual([]);
});

describe('a pod that is spoilt', () => {
  const named = (metadata: object): object => ({ ...pod('a', { containers: 7 }), metadata });

  test('stays as it was while it is, and that is told of', async () => {
    answer = saysList(pod('a'), pod('b'));
    const { source, sets, uids, poll } = await start();
    answer = saysList(pod('a', { containers: 7 }), pod('b'));
    await poll();
    answer = saysList(pod('c'), pod('a', { hostPID: 'yes' }));
    await poll();
    expect(sets.slice(1)).toEqual([
      ['default/b-n1', 'default/a-n1'],
      ['default/c-n1', 'default/a-n1'],
    ]);
    expect([uids[3], uids[5]]).toEqual([uids[0], uids[0]]);
    expect(source.state.complaints).toEqual([
      {
        what: 'items[1] (default/a)',
        reason: expect.stringContaining('stays as it was: spec.hostPID') as string,
      },
    ]);
    answer = saysList(pod('c'));
    await poll();
    expect(sets.at(-1)).toEqual(['default/c-n1']);
    expect(source.state.complaints).toEqual([]);
  });

  test.each<[string, readonly unknown[], string[]]>([
    ['another namespace', [named({ name: 'a', namespace: 'shop' })], []],
    ['no name', [named({})], []],
    ['a namespace that is none', [named({ name: 'a', namespace: 7 })], []],
    ['another kind', [{ ...pod('a'), kind: 'ConfigMap' }], []],
    ['a good one of its name', [pod('a', { containers: 7 }), pod('a')], ['default/a-n1']],
    ['itself once more', [named({ name: 'a' }), named({ name: 'a' })], ['default/a-n1']],
  ])('with %s', async (_what, items, names) => {
    answer = saysList(pod('a'));
    const { sets, poll } = await start();
    answer = saysList(...items);
    await poll();
    expect(sets.at(-1)).toEqual(names);
    expect(sets).toHaveLength(2);
  });
});

test('the same document is told once, whether or not its server knows what it gave', async () => {
  answer = says(pod('a'));
  const { sets, poll } = await start();
  await poll();
  answer = (response) => void response.setHeader('etag', '"1"').end(JSON.stringify(pod('a')));
  await poll();
  answer = (response) => void response.writeHead(304).end();
  await poll();
  expect(asked).toEqual([undefined, undefined, undefined, '"1"']);
  expect(sets).toHaveLength(1);
});

describe('what was there stays, and that is told once, and that it is over, after', () => {
  test.each<[string, Answer, string]>([
    [
      'an error',
      (response) => void response.writeHead(500).end('no'),
      'answered 500, expected 200',
    ],
    ['no answer', (response) => void response.destroy(), 'fetch failed: other side closed'],
    ['a page', says('<html><p'), 'expected a v1 Pod, PodList or List, got something else'],
    ['another object', says({ apiVersion: 'v1', kind: 'Status' }), 'got v1 Status'],
    ['broken YAML', says('kind: ['), 'not valid YAML'],
    ['white space', says('\n'), 'is empty; no pods at all are a List without items'],
    ['items that are none', says({ apiVersion: 'v1', kind: 'List', items: {} }), 'expected a list'],
    ['an answer without end', says('#'.repeat(11 * 1024 * 1024)), 'longer than 10485760 bytes'],
    [
      'half an answer',
      (response) => {
        response.writeHead(200, { 'content-length': 1000 });
        response.write('apiVersion: v1\n', () => response.destroy());
      },
      'terminated',
    ],
  ])('%s', async (_what, bad, message) => {
    answer = says(pod('a'));
    const { source, sets, lines, errors, poll } = await start();
    answer = bad;
    await poll();
    await poll();
    expect(sets).toEqual([['default/a-n1']]);
    expect(source.state.isStale).toBe(true);
    expect(errors()).toEqual([expect.stringContaining(message)]);
    expect(source.state.complaints).toEqual([
      {
        what: source.state.place,
        reason: expect.stringContaining('its pods stay as they are') as string,
      },
    ]);
    answer = says(pod('b'));
    await poll();
    expect(sets.at(-1)).toEqual(['default/b-n1']);
    expect(lines.at(-1)).toContain('answers again');
    expect(source.state.isStale).toBe(false);
    expect(source.state.complaints).toEqual([]);
    expect(lines.join('\n')).not.toContain('secret');
  });

  test('an answer that does not come to its end', async () => {
    answer = says(pod('a'));
    const { sets, errors, clock } = await start();
    answer = (response) => void response.write('kind: ');
    clock.pass();
    await until('asked again', () => asked.length === 2);
    await until(
      'given up',
      () => errors().length > 0,
      () => clock.pass(),
    );
    expect(errors()[0]).toContain('no whole answer within 10 s');
    expect(sets).toHaveLength(1);
  });
});

test('at first nothing is told of pods while there is no answer', async () => {
  answer = (response) => void response.writeHead(503).end();
  const { sets, poll } = await start();
  await poll();
  expect(sets).toEqual([]);
});

test('not a single byte says that there are no pods, and is told of', async () => {
  answer = says(pod('a'));
  const { source, sets, errors, poll } = await start();
  answer = says('');
  await poll();
  expect(sets).toEqual([['default/a-n1'], []]);
  expect(errors()).toEqual([expect.stringContaining('answers with nothing: there are no pods')]);
  answer = says(pod('a'));
  await poll();
  expect(sets.at(-1)).toEqual(['default/a-n1']);
  expect(source.state.complaints).toEqual([]);
});
