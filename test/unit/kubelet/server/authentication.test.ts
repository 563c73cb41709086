// Tokens are looked up at the API server: so many at a time, and what strangers come with takes nothing from those who are known.
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import type { ApiWriter } from '../../../../src/informer/api-client.ts';
import {
  Authentication,
  TooManyReviewsError,
} from '../../../../src/kubelet/server/authentication.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';

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
  const user = async (token: string): Promise<string | undefined> => {
    const request = { socket: {}, headers: { authorization: `Bearer ${token}` } };
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
  const waiting = many(50).map(async (token) => user(token));
  await expect(user('good')).rejects.toBeInstanceOf(TooManyReviewsError);
  const again = user('t7');
  expect(api.asked).toHaveLength(50);
  resolve();
  expect(await Promise.all([...waiting, again])).toEqual(many(51).map(() => undefined));
  expect(await user('good')).toBe('ann');
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
