/** Many watches on few connections: HTTP/2 where the server speaks it, one connection each where it does not. */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createSecureServer } from 'node:http2';
import type { Http2SecureServer, ServerHttp2Session } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';

import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, describe, expect, it } from 'vitest';

import { runProgram } from '../../../src/host/run-program.ts';
import { loadApiClients } from '../../../src/informer/api-client.ts';
import type { ApiClient, ApiResponse } from '../../../src/informer/api-client.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { startFakeApiServer } from '../../support/fake-api-server.ts';
import { certificates } from './certificates.ts';
import { ManualClock, until } from './widgets.ts';

const { signal } = new AbortController();
const ended: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

async function clientOf(server: string): Promise<ApiClient> {
  const kubeconfig = {
    'current-context': 'c',
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'u', user: {} }],
  };
  const directory = await mkdtemp(join(tmpdir(), 'shared-connections-'));
  ended.push(async () => rm(directory, { recursive: true }));
  const path = join(directory, 'kubeconfig');
  await writeFile(path, JSON.stringify(kubeconfig));
  const { sharing: client } = await loadApiClients({
    kubeconfig: path,
    log: silentLog,
    clock: new ManualClock(),
    env: {},
    runProgram,
  });
  ended.push(async () => client.close());
  return client;
}

/** Answers each request with a line, and leaves it open. */
function answer(response: { write(text: string): boolean }): void {
  response.write('{}\n');
}

async function listening(server: Http2SecureServer | Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ended.push(async () => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function sharing(): Promise<{
  readonly url: string;
  readonly sessions: readonly ServerHttp2Session[];
}> {
  const sessions: ServerHttp2Session[] = [];
  const server = createSecureServer(certificates.first, (_request, response) => answer(response));
  server.on('session', (session) => sessions.push(session));
  return { url: await listening(server), sessions };
}

async function watches(client: ApiClient, count: number): Promise<readonly ApiResponse[]> {
  const open = async (i: number): Promise<ApiResponse> =>
    client.get(`/api/v1/namespaces/shop/secrets`, { watch: 'true', i: String(i) }, signal);
  const responses = await Promise.all(Array.from({ length: count }, async (_none, i) => open(i)));
  for (const { body } of responses) body.on('error', () => undefined);
  return responses;
}

describe('a client that shares connections', () => {
  it('has hundreds of watches open at once on a few of them', async () => {
    const { url, sessions } = await sharing();
    const client = await clientOf(url);
    const responses = await watches(client, 300);
    expect(responses.every(({ status }) => status === 200)).toBe(true);
    expect(sessions.length).toBeGreaterThan(0);
    expect(sessions.length).toBeLessThanOrEqual(6);
    // those that come later find room
    await watches(client, 100);
    expect(sessions.length).toBeLessThanOrEqual(8);
  });

  it('goes on with a new connection where one is cut', async () => {
    const { url, sessions } = await sharing();
    const client = await clientOf(url);
    const [first] = await watches(client, 10);
    const broken = new Promise<string>((resolve) => {
      first?.body.on('error', () => resolve('broken')).on('end', () => resolve('ended'));
      first?.body.resume();
    });
    for (const session of sessions) session.destroy();
    await broken;
    // one that was on its way may be lost with it, and is asked again, as all sources do
    const again = await watches(client, 10).catch(async () => watches(client, 10));
    expect(again).toHaveLength(10);
    expect(sessions.length).toBeGreaterThan(1);
  });

  it('gives each watch a connection where the server speaks HTTP/1.1 alone', async () => {
    let connections = 0;
    const server = createHttpsServer(certificates.first, (_request, response) => answer(response));
    server.on('secureConnection', () => connections++);
    const client = await clientOf(await listening(server));
    expect(await watches(client, 20)).toHaveLength(20);
    expect(connections).toBeGreaterThanOrEqual(20);
  });

  it('does so without TLS, too', async () => {
    const server = await startFakeApiServer();
    ended.push(async () => server.close());
    const client = await clientOf(server.url);
    const path = '/api/v1/secrets';
    const query = { watch: 'true', resourceVersion: '0' };
    await Promise.all(Array.from({ length: 20 }, async () => client.get(path, query, signal)));
    await until('all are there', () => server.watchers(path) === 20);
    expect(server.watchers(path)).toBe(20);
  });
});
