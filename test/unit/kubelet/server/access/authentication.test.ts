// Tokens are looked up at the API server: so many at a time, and what strangers come with takes nothing from those who are known.
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import type { ApiWriter } from '../../../../../src/informer/api-client.ts';
import {
  Authentication,
  TooManyReviewsError,
} from '../../../../../src/kubelet/server/access/authentication.ts';
import { VirtualClock } from '../../../proxy/virtual-clock.ts';

/** Knows the token `good`, and answers when it is told to. */
class SlowReviews implements ApiWriter {
  readonly server = 'https://api.test';
  readonly asked: string[] = [];
  gate: Promise<void> = Promise.resolve();

  async send(_verb: string, _path: string, value: unknown): ReturnType<ApiWriter['send']> {
    const { token } = (value as { readonly spec: { readonly token: string } }).spec;
    this.asked.push(token);
    await this.gate;
    const user = { username: 'ann', groups: [] };
    const status = token === 'good' ? { authenticated: true, user } : { authenticated: false };
    return { status: 201, headers: {}, body: Readable.from([JSON.stringify({ status })]) };
  }

  async reloadCredentials(): Promise<void> {
    return Promise.resolve();
  }
}

function lab() {
  const api = new SlowReviews();
  const clock = new VirtualClock();
  const webhook = { api, cacheTtlMs: 120_000 };
  const authentication = new Authentication({ anonymous: false, clock, webhook });
  const user = async (token: string, remoteAddress = '10.0.0.1'): Promise<string | undefined> => {
    const headers = { authorization: `Bearer ${token}` };
    const request = { socket: { remoteAddress }, headers };
    return (await authentication.user(request as IncomingMessage))?.name;
  };
  return { api, clock, user };
}

const many = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, at) => `t${at}`);

test('so many tokens are looked up at a time, and those beyond are told at once', async () => {
  const { api, user } = lab();
  const { promise, resolve } = Promise.withResolvers<void>();
  api.gate = promise;
  const waiting = many(50).map(async (token, at) => user(token, `10.0.1.${at % 5}`));
  await expect(user('good')).rejects.toBeInstanceOf(TooManyReviewsError);
  const again = user('t7');
  expect(api.asked).toHaveLength(50);
  resolve();
  expect(await Promise.all([...waiting, again])).toEqual(many(51).map(() => undefined));
  expect(await user('good')).toBe('ann');
});

test('so many of them for one address, so that another has its own looked up', async () => {
  const { api, user } = lab();
  const { promise, resolve } = Promise.withResolvers<void>();
  api.gate = promise;
  const waiting = many(10).map(async (token) => user(token, '10.0.0.2'));
  await expect(user('t10', '10.0.0.2')).rejects.toThrow('10 tokens of 10.0.0.2 are being looked');
  const other = user('good', '10.0.0.3');
  resolve();
  expect(await other).toBe('ann');
  await Promise.all(waiting);
  expect(await user('t10', '10.0.0.2')).toBeUndefined();
});

test('a token that was good is looked up again whoever else comes, from its own address too', async () => {
  const { api, clock, user } = lab();
  await user('good');
  await user('bad');
  await clock.advance(120_000);
  const { promise, resolve } = Promise.withResolvers<void>();
  api.gate = promise;
  const waiting = many(10).map(async (token) => user(token));
  const again = user('good');
  await expect(user('bad')).rejects.toBeInstanceOf(TooManyReviewsError);
  resolve();
  expect(await again).toBe('ann');
  await Promise.all(waiting);
});

test('ever new tokens that are not good do not crowd out one that is', async () => {
  const { api, user } = lab();
  expect(await user('good')).toBe('ann');
  for (const token of many(2_000)) expect(await user(token)).toBeUndefined();
  expect(await user('good')).toBe('ann');
  expect(api.asked.filter((token) => token === 'good')).toHaveLength(1);
  await user('t1999');
  expect(api.asked.filter((token) => token === 't1999')).toHaveLength(1);
});

test('what was found out holds for its time', async () => {
  const { api, clock, user } = lab();
  await user('good');
  await clock.advance(119_999);
  await user('good');
  expect(api.asked).toHaveLength(1);
  await clock.advance(1);
  await user('good');
  expect(api.asked).toHaveLength(2);
});
