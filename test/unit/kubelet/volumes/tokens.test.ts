/** Tokens of service accounts: asked for once, refreshed in time, kept while there is no newer one. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { runProgram } from '../../../../src/host/run-program.ts';
import { loadApiClient } from '../../../../src/informer/api-client.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { tokenRequester } from '../../../../src/kubelet/volumes/token-request.ts';
import { Tokens } from '../../../../src/kubelet/volumes/tokens.ts';
import type { TokenWish } from '../../../../src/kubelet/volumes/tokens.ts';
import { startFakeApiServer } from '../../../support/fake-api-server.ts';
import { ManualClock, recordingLog, until } from '../../informer/widgets.ts';
import { pod } from '../support/pods.ts';

const { signal } = new AbortController();
const hourMs = 3_600_000;

let clock: ManualClock;
let asked: TokenWish[];
let lifeMs: number;
let problem: string | undefined;
let lines: readonly string[];
let tokens: Tokens;

beforeEach(() => {
  clock = new ManualClock();
  asked = [];
  lifeMs = hourMs;
  problem = undefined;
  const recording = recordingLog();
  ({ lines } = recording);
  tokens = new Tokens({
    request: async (wish) => {
      asked.push(wish);
      if (problem !== undefined) throw new Error(problem);
      return { token: `geheim-${asked.length}`, lifeMs };
    },
    clock,
    random: () => 0,
    log: recording.log,
  });
});

const robot = pod({ serviceAccountName: 'robot' });
const wish = { audience: 'vault', expirationSeconds: 3600 };

async function token(of = robot, which = wish): Promise<string> {
  return tokens.token(of, which, signal);
}

describe('a token', () => {
  it('is bound to its pod and kept for it', async () => {
    expect(await token()).toBe('geheim-1');
    expect(await token()).toBe('geheim-1');
    expect(asked).toEqual([
      {
        namespace: 'shop',
        serviceAccount: 'robot',
        audience: 'vault',
        expirationSeconds: 3600,
        pod: { name: 'web', uid: 'uid-1' },
      },
    ]);
    expect(await token(robot, { ...wish, audience: '' })).toBe('geheim-2');
    expect(await token(pod({ serviceAccountName: 'robot' }, { uid: 'uid-2' }))).toBe('geheim-3');
    tokens.forget('uid-1');
    expect(await token()).toBe('geheim-4');
    expect(await token(pod({ serviceAccountName: 'robot' }, { uid: 'uid-2' }))).toBe('geheim-3');
  });

  it('is asked for once by two at the same time', async () => {
    expect(await Promise.all([token(), token()])).toEqual(['geheim-1', 'geheim-1']);
  });

  it('is refreshed after 80 % of its life', async () => {
    await token();
    clock.advance(0.8 * hourMs - 1);
    expect(await token()).toBe('geheim-1');
    clock.advance(1);
    expect(await token()).toBe('geheim-2');
  });

  it('is refreshed after a day, however long it is good', async () => {
    lifeMs = 365 * 24 * hourMs;
    await token();
    clock.advance(24 * hourMs - 1);
    expect(await token()).toBe('geheim-1');
    clock.advance(1);
    expect(await token()).toBe('geheim-2');
  });

  it('serves on while no new one can be had, until it is over', async () => {
    await token();
    problem = 'the server is away';
    clock.advance(0.9 * hourMs);
    expect(await token()).toBe('geheim-1');
    expect(lines).toEqual([
      'warn: token of shop/web (uid-1) not refreshed, the old one is used on: the server is away',
    ]);
    clock.advance(0.1 * hourMs);
    await expect(token()).rejects.toThrow('the server is away');
    problem = undefined;
    expect(await token()).toMatch(/^geheim-/);
    expect(lines.join('\n')).not.toContain('geheim');
  });
});

describe('a TokenRequest', () => {
  let server: Awaited<ReturnType<typeof startFakeApiServer>>;
  const path = '/api/v1/namespaces/shop/serviceaccounts/robot/token';
  const robotWish = {
    namespace: 'shop',
    serviceAccount: 'robot',
    audience: 'vault',
    expirationSeconds: 3600,
    pod: { name: 'web', uid: 'uid-1' },
  };

  beforeEach(async () => {
    server = await startFakeApiServer();
  });

  afterEach(async () => {
    await server.close();
  });

  async function request(which: TokenWish = robotWish): Promise<unknown> {
    const options = { master: server.url, log: silentLog, clock, env: {}, runProgram };
    const client = await loadApiClient(options);
    try {
      return await tokenRequester(client, clock)(which, signal);
    } finally {
      await client.close();
    }
  }

  it('is posted as the API has it, and an answer without a token is none', async () => {
    // the fake server answers with what it was sent
    await expect(request()).rejects.toThrow('the answer to a TokenRequest has no token');
    expect(server.requests).toMatchObject([
      {
        method: 'POST',
        path,
        body: {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenRequest',
          spec: {
            audiences: ['vault'],
            expirationSeconds: 3600,
            boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'web', uid: 'uid-1' },
          },
        },
      },
    ]);
    await expect(request({ ...robotWish, audience: '' })).rejects.toThrow('has no token');
    expect(server.requests[1]?.body).not.toHaveProperty('spec.audiences');
  });

  it('says why it was refused, after a while of 403 too', async () => {
    server.inject({ on: 'create', type: 'status', status: 404 });
    await expect(request()).rejects.toThrow(
      'cannot create serviceaccounts/token: answered 404: injected 404',
    );
    server.inject({ on: 'create', type: 'status', status: 403, times: 6 });
    const refused = request().then(() => 'granted', String);
    await until(
      'all tries are over',
      () => server.requests.length === 7,
      () => clock.pass(),
    );
    expect(await refused).toContain('answered 403');
    expect(clock.slept).toEqual([50, 100, 200, 400, 800]);
  });

  it('is sent for eight pods at a time, the rest in turn', async () => {
    const answers: (() => void)[] = [];
    let sent = 0;
    const ask = tokenRequester(
      {
        server: 'https://api.example',
        send: async () => {
          sent++;
          await new Promise<void>((resolve) => answers.push(resolve));
          throw new Error('refused');
        },
        reloadCredentials: async () => {},
      },
      clock,
    );
    const all = Array.from({ length: 20 }, async () => ask(robotWish, signal).catch(String));
    await until('eight are on their way', () => sent === 8);
    answers[0]?.();
    await until('the next one is', () => sent === 9);
    while (answers.length > 0) {
      answers.shift()?.();
      await Promise.resolve();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await Promise.all(all)).toHaveLength(20);
    expect(sent).toBe(20);
  });
});
