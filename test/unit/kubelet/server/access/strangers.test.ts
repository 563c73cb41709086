// Who has not shown yet that he may ask for something has little time and little room at a port, and is in nobody's way but his own.
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { connect as connectPlainly } from 'node:net';
import type { Socket } from 'node:net';
import { connect } from 'node:tls';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TooManyReviewsError } from '../../../../../src/kubelet/server/access/authentication.ts';
import type { User } from '../../../../../src/kubelet/server/access/authentication.ts';
import { KubeletListener } from '../../../../../src/kubelet/server/listener.ts';
import type { Guarded } from '../../../../../src/kubelet/server/listener.ts';
import { sayText } from '../../../../../src/kubelet/server/say.ts';
import type { StrangerLimits } from '../../../../../src/kubelet/server/access/strangers.ts';
import { silentLog } from '../../../../../src/telemetry/log.ts';
import { certificates } from '../../../informer/certificates.ts';
import { until } from '../../../informer/widgets.ts';
import { VirtualClock } from '../../../proxy/virtual-clock.ts';
import { byCertificate } from '../server-lab.ts';

const askMs = 10_000;

let clock: VirtualClock;
let listener: KubeletListener | undefined;
let refused: string[];
/** Tokens whose reviews have no answer yet, and what gives it. */
let reviews: Map<string, () => void>;
const clients: Socket[] = [];

beforeEach(() => {
  clock = new VirtualClock();
  refused = [];
  reviews = new Map();
});

afterEach(async () => {
  for (const each of clients.splice(0)) each.destroy();
  await listener?.stop();
});

const anonymous: User = { name: 'system:anonymous', groups: ['system:unauthenticated'] };

/** `good` and a certificate are known, `slow…` is looked up until a test answers, `busy` comes while too many are. */
async function user({ headers, socket }: IncomingMessage): Promise<User | undefined> {
  if ('authorized' in socket && socket.authorized === true) return { name: 'cert', groups: [] };
  const token = (headers.authorization ?? '').replace('Bearer ', '');
  if (token === 'busy') throw new TooManyReviewsError();
  if (token.startsWith('slow')) await new Promise<void>((answer) => reviews.set(token, answer));
  if (token === 'anonymous') return anonymous;
  return token === 'good' ? { name: 'ann', groups: [] } : undefined;
}

async function serve(limits: Partial<StrangerLimits>, isGuarded = true): Promise<void> {
  const guarded: Guarded = {
    pair: certificates.first,
    clientCa: certificates.first.cert,
    minVersion: 'TLSv1.2',
    ciphers: [],
    authentication: { user } as never,
    authorization: {
      decide: async (_user: User, _method: string, path: string) =>
        Promise.resolve(
          path === '/no' ? { kind: 'denied', text: 'Forbidden' } : { kind: 'allowed' },
        ),
    } as never,
  };
  listener = new KubeletListener({
    address: '127.0.0.1',
    port: 0,
    routes: {
      upgrades: () => false,
      answer: async ({ response }) => {
        sayText(response, 200, 'answered');
        return Promise.resolve();
      },
    },
    log: silentLog,
    clock,
    onRequest: () => {},
    onRefused: (reason, address) => void refused.push(`${reason} ${address}`),
    limits: { most: 100, mostInAll: 100, askMs, ...limits },
    ...(isGuarded ? { guarded } : {}),
  });
  await listener.start();
}

/** A connection of a client, which hears what it is told. */
class Client {
  readonly socket: Socket;
  #heard = '';

  constructor(socket: Socket) {
    this.socket = socket;
    clients.push(socket);
    socket.on('error', () => {}).on('data', (bytes: Buffer) => void (this.#heard += String(bytes)));
  }

  get isOpen(): boolean {
    return !this.socket.destroyed && !this.socket.readableEnded;
  }

  /** Status lines of the answers so far. */
  get statuses(): readonly string[] {
    return [...this.#heard.matchAll(/HTTP\/1.1 (\d+) /g)].map(([, status]) => status ?? '');
  }

  get heard(): string {
    return this.#heard;
  }

  write(path = '/healthz', token?: string): void {
    const authorization = token === undefined ? '' : `Authorization: Bearer ${token}\r\n`;
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: n1\r\n${authorization}\r\n`);
  }

  async ask(token?: string, path = '/healthz'): Promise<string> {
    const before = this.statuses.length;
    this.write(path, token);
    await until('it is answered', () => this.statuses.length > before);
    return this.statuses.at(-1) ?? '';
  }

  async ended(): Promise<void> {
    await until('it is ended', () => !this.isOpen);
  }
}

async function tcp(localAddress = '127.0.0.1'): Promise<Client> {
  const target = { host: '127.0.0.1', port: listener?.port ?? 0, localAddress };
  const socket = connectPlainly(target);
  const client = new Client(socket);
  await once(socket, 'connect');
  return client;
}

async function tls(localAddress = '127.0.0.1', options: object = {}): Promise<Client> {
  const target = { host: '127.0.0.1', port: listener?.port ?? 0, localAddress };
  const socket = connect({ ...target, rejectUnauthorized: false, ...options });
  const client = new Client(socket);
  await once(socket, 'secureConnect');
  return client;
}

/** So many are known to the port and so many are not. */
async function are(known: number, strangers: number): Promise<void> {
  await until(`${known} are known and ${strangers} are not`, () => {
    const now = listener?.connections;
    return now?.known === known && now.strangers === strangers;
  });
}

const flooding = '127.0.0.2';
const many = (count: number): readonly number[] => Array.from({ length: count }, (_, at) => at);

test.for([
  ['says nothing', async () => tcp()],
  ['speaks TLS and asks nothing', async () => tls()],
  [
    'never ends the head of its request',
    async () => {
      const client = await tls();
      client.socket.write('GET /healthz HTTP/1.1\r\nHost: n1\r\nX-Slow: ');
      return client;
    },
  ],
] as const)('who %s has no more time than it takes to ask', async ([, come]) => {
  await serve({});
  const client = await come();
  await are(0, 1);
  await clock.advance(askMs - 1);
  expect(refused).toEqual([]);
  await clock.advance(1);
  await client.ended();
  expect(refused).toEqual(['too_slow 127.0.0.1']);
  expect(listener?.connections.strangers).toBe(0);
});

test('who is known keeps a connection that is used no more, or has not been used yet', async () => {
  await serve({});
  const byToken = await tls();
  expect(await byToken.ask('good')).toBe('200');
  const certified = await tls('127.0.0.1', byCertificate);
  const other = await tls();
  await are(2, 1);
  await clock.advance(askMs);
  await other.ended();
  expect(await byToken.ask('good')).toBe('200');
  expect(await certified.ask()).toBe('200');
  expect(listener?.connections).toEqual({ known: 2, strangers: 0 });
  expect(refused).toEqual(['too_slow 127.0.0.1']);
});

test('the time to ask does not count while it is looked up who asks', async () => {
  await serve({});
  const slow = await tls();
  slow.write('/healthz', 'slow');
  await until('it is looked up', () => reviews.has('slow'));
  await clock.advance(10 * askMs);
  expect(slow.isOpen).toBe(true);
  reviews.get('slow')?.();
  await until('it is answered', () => slow.statuses.length > 0);
  expect(slow.statuses).toEqual(['401']);
});

test('who floods the port makes room for himself, and stands in nobody else’s way', async () => {
  await serve({ most: 5 });
  const other = await tls();
  const first = await tls(flooding);
  for (const _ of many(20)) await tls(flooding);
  await first.ended();
  await are(0, 5);
  expect(refused).toEqual(many(17).map(() => `too_many ${flooding}`));
  expect(await other.ask('good')).toBe('200');
});

test('a burst of those whose certificates are good ends none of them while they shake hands', async () => {
  await serve({ most: 5 });
  const other = await tls('127.0.0.1');
  const comers = await Promise.all(many(20).map(async () => tcp(flooding)));
  await are(0, 21);
  for (const { socket } of comers) {
    const secured = connect({ socket, rejectUnauthorized: false, ...byCertificate });
    clients.push(secured);
    await once(secured, 'secureConnect');
  }
  await are(20, 1);
  expect(await other.ask('good')).toBe('200');
  expect(refused).toEqual([]);
});

test('connections that do not even speak TLS make room as well, where there are many more', async () => {
  await serve({ mostInAll: 5 });
  const other = await tls();
  const first = await tcp(flooding);
  for (const _ of many(20)) await tcp(flooding);
  await first.ended();
  await until('room was made', () => refused.length === 17);
  await are(0, 5);
  expect(refused).toEqual(many(17).map(() => `too_many ${flooding}`));
  expect(await other.ask('good')).toBe('200');
});

test('who has asked goes after those who have not, and not before a later one', async () => {
  await serve({ most: 3 });
  const asking = [await tls(), await tls()];
  for (const [at, client] of asking.entries()) client.write('/healthz', `slow${at}`);
  await until('both are looked up', () => reviews.size === 2);
  const idle = await tls();
  const latest = await tls();
  await idle.ended();
  latest.write('/healthz', 'slow2');
  await until('three are looked up', () => reviews.size === 3);
  await tls();
  await asking[0]?.ended();
  expect(asking[1]?.isOpen && latest.isOpen).toBe(true);
});

test('those who are known are as many as they are', async () => {
  await serve({ most: 2 });
  const known: Client[] = [];
  for (const _ of many(10)) known.push(await tls('127.0.0.1', byCertificate));
  for (const _ of many(10)) await tls(flooding);
  for (const client of known) expect(await client.ask()).toBe('200');
  await are(10, 2);
});

test.for([
  ['of nobody', '401', undefined, '/healthz'],
  ['for what its user may not', '403', 'good', '/no'],
  ['that nobody has time to look up', '429', 'busy', '/healthz'],
] as const)('a request %s is the last of its connection', async ([, status, token, path]) => {
  await serve({});
  const client = await tls();
  expect(await client.ask(token, path)).toBe(status);
  await client.ended();
  expect(client.heard).toMatch(/connection: close/i);
});

test('who comes while too many tokens are looked up is told when to come again', async () => {
  await serve({});
  const client = await tls();
  expect(await client.ask('busy')).toBe('429');
  expect(client.heard).toMatch(/retry-after: 1\r/i);
  expect(refused).toEqual(['too_many_reviews 127.0.0.1']);
});

test('who was let in once may ask again after a refusal', async () => {
  await serve({});
  const client = await tls();
  expect(await client.ask('good')).toBe('200');
  expect(await client.ask('good', '/no')).toBe('403');
  expect(await client.ask('good')).toBe('200');
});

test('that anybody is let in makes nobody known', async () => {
  await serve({ most: 3 });
  const client = await tls();
  expect(await client.ask('anonymous')).toBe('200');
  expect(await client.ask('anonymous')).toBe('200');
  expect(listener?.connections).toEqual({ known: 0, strangers: 1 });
  for (const _ of many(3)) await tls();
  await client.ended();
});

test('requests that do not wait for answers are few', async () => {
  await serve({ atOnce: 2 });
  const client = await tls();
  for (const at of many(3)) client.write('/healthz', `slow${at}`);
  await client.ended();
  expect(refused).toEqual(['at_once 127.0.0.1']);
  expect([...reviews.keys()]).toEqual(['slow0', 'slow1']);
});

test('a port that asks nobody who he is has as little room', async () => {
  await serve({ most: 3 }, false);
  const silent = await tcp();
  const client = await tcp();
  expect(await client.ask()).toBe('200');
  await are(0, 2);
  await clock.advance(askMs);
  await silent.ended();
  expect(await client.ask()).toBe('200');
  for (const _ of many(3)) await tcp();
  await client.ended();
  expect(refused).toEqual(['too_slow 127.0.0.1', 'too_many 127.0.0.1']);
});

test('stopping waits for nobody who does not speak', async () => {
  await serve({});
  const client = await tcp();
  await listener?.stop();
  await client.ended();
  expect(refused).toEqual([]);
});
