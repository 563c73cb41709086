// What is sent to a URL that is polled, and to whom: what it said of its document, headers, passwords, redirects.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PolledUrl } from '../../../src/informer/polled-url.ts';
import type { PolledUrlOptions } from '../../../src/informer/polled-url.ts';

interface Given {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** A server that answers by path, and what it was asked. */
class Host {
  readonly asked: { readonly path: string; readonly headers: IncomingHttpHeaders }[] = [];
  readonly answers = new Map<string, Given>();
  readonly #server: Server = createServer((request, response) => {
    const path = request.url ?? '';
    this.asked.push({ path, headers: request.headers });
    const { status = 200, headers = {}, body = '' } = this.answers.get(path) ?? { status: 404 };
    response.writeHead(status, headers).end(body);
  });

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }
}

let host: Host;
let other: Host;
let polled: PolledUrl | undefined;

beforeEach(async () => {
  host = new Host();
  other = new Host();
  await Promise.all([host.start(), other.start()]);
});

afterEach(async () => {
  await polled?.close();
  await Promise.all([host.stop(), other.stop()]);
});

function poll(path: string, more: Partial<PolledUrlOptions> = {}): PolledUrl {
  polled = new PolledUrl({ url: `${host.origin}${path}`, maxBytes: 1000, env: {}, ...more });
  return polled;
}

async function ask(url: PolledUrl): Promise<unknown> {
  return url.ask(new AbortController().signal, () => {});
}

test('an entity tag and a date are sent back, until the document could not be used', async () => {
  const headers = { etag: '"1"', 'last-modified': 'Mon, 02 Jan 2023 03:04:05 GMT' };
  host.answers.set('/', { headers, body: 'a' });
  const url = poll('/');
  expect(await ask(url)).toEqual({ kind: 'document', text: 'a' });
  host.answers.set('/', { status: 304 });
  expect(await ask(url)).toEqual({ kind: 'unchanged' });
  expect(host.asked[1]?.headers).toMatchObject({
    'if-none-match': '"1"',
    'if-modified-since': headers['last-modified'],
  });
  url.forget();
  await expect(ask(url)).rejects.toThrow('answered 304, expected 200');
  expect(host.asked[2]?.headers).not.toHaveProperty('if-none-match');
});

test('headers are sent with all their values, in place of those that are usual', async () => {
  host.answers.set('/', { body: 'a' });
  await ask(poll('/', { headers: { 'X-Token': ['one', 'two'], Accept: 'text/plain' } }));
  expect(host.asked[0]?.headers).toMatchObject({ 'x-token': 'one, two', accept: 'text/plain' });
});

test('redirects are followed; another host is told no header of ours and no password', async () => {
  host.answers.set('/', { status: 302, headers: { location: '/here' } });
  host.answers.set('/here', { status: 307, headers: { location: `${other.origin}/there` } });
  other.answers.set('/there', { headers: { etag: '"2"' }, body: 'b' });
  const url = poll('/', {
    url: `${host.origin.replace('//', '//me:secret@')}/`,
    headers: { 'X-Token': 'secret' },
  });
  expect(await ask(url)).toEqual({ kind: 'document', text: 'b' });
  for (const { headers } of host.asked) {
    expect(headers).toMatchObject({
      'x-token': 'secret',
      authorization: `Basic ${Buffer.from('me:secret').toString('base64')}`,
    });
  }
  expect(host.asked.map(({ path }) => path)).toEqual(['/', '/here']);
  expect(JSON.stringify(other.asked[0]?.headers)).not.toMatch(/secret|authorization|x-token/);
  // What it said of its document is for it alone.
  await ask(url);
  expect(host.asked[2]?.headers).not.toHaveProperty('if-none-match');
  expect(other.asked[1]?.headers).toMatchObject({ 'if-none-match': '"2"' });
});

test.each<[string, Given, string]>([
  ['without end', { status: 301, headers: { location: '/' } }, 'redirects more than 10 times'],
  ['to nowhere', { status: 301 }, 'answered 301 without saying where to go'],
  [
    'to a file',
    { status: 301, headers: { location: 'file:///etc/shadow' } },
    'answered 301 without saying where to go',
  ],
])('a redirect %s is none', async (_what, answer, message) => {
  host.answers.set('/', answer);
  await expect(ask(poll('/'))).rejects.toThrow(message);
});

test('a longer answer than is allowed is not read to its end', async () => {
  host.answers.set('/', { body: 'x'.repeat(1001) });
  await expect(ask(poll('/'))).rejects.toThrow('longer than 1000 bytes');
});

test('what is no URL is refused without its password', () => {
  expect(() => poll('/', { url: 'ftp://me:secret@host' })).toThrow('ftp://…@host is no http');
});

test('its name for messages has neither its password nor its query, which is asked with', async () => {
  host.answers.set('/pods?token=secret', { body: 'a' });
  const origin = host.origin.replace('//', '//me:secret@');
  const url = poll('/', { url: `${origin}/pods?token=secret` });
  expect(url.name).toBe(`${host.origin}/pods?…`);
  expect(await ask(url)).toEqual({ kind: 'document', text: 'a' });
  expect(() => poll('/', { url: 'ftp://host/?token=secret' })).toThrow('ftp://host/?… is no http');
});
