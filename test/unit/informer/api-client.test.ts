import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttpsServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { loadApiClient, type ApiClient } from '../../../src/informer/api-client.ts';
import { ApiSource } from '../../../src/informer/api-source.ts';
import { Informer } from '../../../src/informer/informer.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { startFakeApiServer, type FakeApiServer } from '../../support/fake-api-server.ts';
import { certificates } from './certificates.ts';
import {
  ManualClock,
  rawWidget,
  recorder,
  recordingLog,
  until,
  widgetKind,
  WIDGETS,
} from './widgets.ts';

let server: FakeApiServer;
let directory: string;
let clock: ManualClock;
const clients: ApiClient[] = [];

beforeEach(async () => {
  server = await startFakeApiServer();
  directory = await mkdtemp(join(tmpdir(), 'api-client-'));
  clock = new ManualClock();
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map(async (client) => client.close()));
  await server.close();
  await rm(directory, { recursive: true });
});

interface Given {
  readonly kubeconfig?: string;
  readonly master?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly serviceAccountDirectory?: string;
}

async function load(given: Given): Promise<ApiClient> {
  const client = await loadApiClient({ log: silentLog, clock, env: {}, ...given });
  clients.push(client);
  return client;
}

/** A kubeconfig for `user`, written as JSON, which is YAML. */
async function kubeconfig(user: object, cluster: object = {}): Promise<string> {
  const path = join(directory, 'kubeconfig');
  const config = {
    'current-context': 'here',
    contexts: [{ name: 'here', context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster: { server: server.url, ...cluster } }],
    users: [{ name: 'u', user }],
  };
  await writeFile(path, JSON.stringify(config));
  return path;
}

async function status(client: ApiClient): Promise<number> {
  const response = await client.get(WIDGETS, {}, new AbortController().signal);
  response.body.resume();
  await once(response.body, 'close');
  return response.status;
}

/** The Authorization header that a client sends. */
async function authorization(client: ApiClient): Promise<string | undefined> {
  await status(client);
  return server.requests.at(-1)?.headers.authorization;
}

test('--master alone is an anonymous connection, over plain http too', async () => {
  expect(await authorization(await load({ master: server.url }))).toBeUndefined();
  const hostAndPort = await load({ master: server.url.replace('http://', '') });
  expect(hostAndPort.server).toBe(server.url);
});

test('--master overrides the server of the kubeconfig and keeps its credentials', async () => {
  const path = await kubeconfig({ token: 't1' }, { server: 'https://192.0.2.1:6443' });
  const client = await load({ kubeconfig: path, master: server.url });
  expect(client.server).toBe(server.url);
  expect(await authorization(client)).toBe('Bearer t1');
});

const basic = Buffer.from('me:secret').toString('base64');
test.each([
  ['a token', { token: 't1\n' }, 'Bearer t1'],
  ['a user name and password', { username: 'me', password: 'secret' }, `Basic ${basic}`],
  ['nothing', {}, undefined],
])('a kubeconfig with %s', async (_name, user, expected) => {
  expect(await authorization(await load({ kubeconfig: await kubeconfig(user) }))).toBe(expected);
});

test('tokenFile is found beside the kubeconfig, comes before a token, is trimmed and followed', async () => {
  await writeFile(join(directory, 'token'), 'one\n');
  const client = await load({ kubeconfig: await kubeconfig({ tokenFile: 'token', token: 'old' }) });
  expect(await authorization(client)).toBe('Bearer one');
  await writeFile(join(directory, 'token'), 'two\n');
  expect(await authorization(client)).toBe('Bearer two');
  await rm(join(directory, 'token'));
  expect(await authorization(client)).toBe('Bearer two');
});

test('a token file that was never there is named', async () => {
  const client = await load({ kubeconfig: await kubeconfig({ tokenFile: 'token' }) });
  await expect(status(client)).rejects.toThrow(`token file ${join(directory, 'token')}`);
});

test('in a pod the service account is used', async () => {
  await mkdir(join(directory, 'account'));
  await writeFile(join(directory, 'account', 'token'), 'pod\n');
  await writeFile(join(directory, 'account', 'ca.crt'), certificates.first.cert);
  const tls = await startTls(certificates.first);
  const { port } = tls.address() as AddressInfo;
  const client = await load({
    env: { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(port) },
    serviceAccountDirectory: join(directory, 'account'),
  });
  expect(await status(client)).toBe(200);
  expect(lastTlsRequest?.headers.authorization).toBe('Bearer pod');
  tls.closeAllConnections();
  tls.close();
});

test('an IPv6 API server is addressed in brackets', async () => {
  const client = await load({
    env: { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' },
  });
  expect(client.server).toBe('https://[fd00::1]:6443');
});

const plugin = `#!/bin/sh
echo run >> "$(dirname "$0")/runs"
printf %s "$KUBERNETES_EXEC_INFO" > "$(dirname "$0")/info"
printf '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"from-plugin"}}'
`;

test('an exec plugin is run once, beside the kubeconfig, and told which cluster it is for', async () => {
  await writeFile(join(directory, 'plugin.sh'), plugin);
  await chmod(join(directory, 'plugin.sh'), 0o755);
  const apiVersion = 'client.authentication.k8s.io/v1';
  const exec = { apiVersion, command: './plugin.sh', provideClusterInfo: true };
  const extension = { name: 'client.authentication.k8s.io/exec', extension: { audience: 'us' } };
  const path = await kubeconfig({ exec }, { extensions: [extension] });
  const client = await load({ kubeconfig: path });
  await Promise.all([status(client), status(client), status(client)]);
  expect(server.requests.map((request) => request.headers.authorization)).toEqual(
    Array.from({ length: 3 }, () => 'Bearer from-plugin'),
  );
  expect(await readFile(join(directory, 'runs'), 'utf8')).toBe('run\n');
  expect(JSON.parse(await readFile(join(directory, 'info'), 'utf8'))).toMatchObject({
    kind: 'ExecCredential',
    apiVersion,
    spec: { interactive: false, cluster: { server: server.url, config: { audience: 'us' } } },
  });
  await client.reloadCredentials();
  expect(await authorization(client)).toBe('Bearer from-plugin');
  expect(await readFile(join(directory, 'runs'), 'utf8')).toBe('run\nrun\n');
});

const refused: readonly (readonly [string, () => Promise<Given>, string])[] = [
  ['no server at all', async () => Promise.resolve({}), '--kubeconfig nor --master'],
  [
    'a kubeconfig that is not there',
    async () => Promise.resolve({ kubeconfig: '/nowhere/config' }),
    'kubeconfig /nowhere/config: ENOENT',
  ],
  [
    'a kubeconfig that is no YAML',
    async () => {
      const path = join(directory, 'broken');
      await writeFile(path, 'users: [');
      return { kubeconfig: path };
    },
    'broken: ',
  ],
  [
    'a current-context that does not exist',
    async () => {
      const path = join(directory, 'config');
      await writeFile(path, 'current-context: gone\nclusters: []\nusers: []\ncontexts: []\n');
      return { kubeconfig: path };
    },
    'current-context "gone" names no context',
  ],
  ['a server that is no URL', async () => Promise.resolve({ master: 'ftp://x' }), 'http or https'],
];

test.each(refused)('%s is refused with the reason', async (_name, given, message) => {
  await expect(load(await given())).rejects.toThrow(message);
});

test('requests share connections, and one that is given up ends', async () => {
  const client = await load({ master: server.url });
  server.inject({ on: 'list', type: 'hold', until: new Promise(() => undefined) });
  const giveUp = new AbortController();
  const pending = client.get(WIDGETS, {}, giveUp.signal);
  await until('asked', () => server.requests.length === 1);
  giveUp.abort(new Error('enough'));
  await expect(pending).rejects.toThrow('enough');
});

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

let lastTlsRequest: IncomingMessage | undefined;

async function startTls(own: { readonly cert: string; readonly key: string }): Promise<Server> {
  const tls = createHttpsServer(
    { ...own, requestCert: true, rejectUnauthorized: false },
    (request: IncomingMessage, response: ServerResponse) => {
      lastTlsRequest = request;
      response.end('{}');
    },
  );
  tls.listen(0, '127.0.0.1');
  await once(tls, 'listening');
  return tls;
}

test('one TLS connection serves until certificates change; then a new one is made', async () => {
  const tls = await startTls(certificates.first);
  let connections = 0;
  tls.on('secureConnection', () => connections++);
  const ca = join(directory, 'ca.crt');
  const cluster = {
    server: `https://127.0.0.1:${(tls.address() as AddressInfo).port}`,
    'certificate-authority': 'ca.crt',
  };
  await writeFile(ca, certificates.first.cert);
  const client = await load({ kubeconfig: await kubeconfig({ token: 't1' }, cluster) });
  expect([await status(client), await status(client), connections]).toEqual([200, 200, 1]);

  await writeFile(ca, certificates.second.cert);
  await expect(status(client)).rejects.toThrow(/certificate/);
  await writeFile(ca, certificates.first.cert + certificates.second.cert);
  tls.setSecureContext(certificates.second);
  connections = 0;
  expect([await status(client), await status(client), connections]).toEqual([200, 200, 1]);
  tls.closeAllConnections();
  tls.close();
});

test('a context without a user is anonymous and still trusts the CA of its cluster', async () => {
  const tls = await startTls(certificates.first);
  const path = join(directory, 'kubeconfig');
  const address = `https://127.0.0.1:${(tls.address() as AddressInfo).port}`;
  const data = base64(certificates.first.cert);
  const config = {
    'current-context': 'here',
    contexts: [{ name: 'here', context: { cluster: 'c' } }],
    clusters: [{ name: 'c', cluster: { server: address, 'certificate-authority-data': data } }],
  };
  await writeFile(path, JSON.stringify(config));
  expect(await status(await load({ kubeconfig: path }))).toBe(200);
  expect(lastTlsRequest?.headers.authorization).toBeUndefined();
  tls.closeAllConnections();
  tls.close();
});

test('a client certificate is presented', async () => {
  const tls = await startTls(certificates.first);
  const user = {
    'client-certificate-data': base64(certificates.second.cert),
    'client-key-data': base64(certificates.second.key),
  };
  const cluster = {
    server: `https://127.0.0.1:${(tls.address() as AddressInfo).port}`,
    'insecure-skip-tls-verify': true,
  };
  let subject: string | undefined;
  tls.on('secureConnection', (socket: TLSSocket) => {
    const { CN } = socket.getPeerCertificate().subject;
    subject = String(CN);
  });
  expect(await status(await load({ kubeconfig: await kubeconfig(user, cluster) }))).toBe(200);
  expect(subject).toBe('second');
  tls.closeAllConnections();
  tls.close();
});

test('a token that rotates is followed by a running informer, refusals included', async () => {
  server.put(WIDGETS, rawWidget('a', 'red'));
  server.requireToken('one');
  await writeFile(join(directory, 'token'), 'one\n');
  const { lines, log } = recordingLog();
  const client = await load({ kubeconfig: await kubeconfig({ tokenFile: 'token' }) });
  const { told, handler } = recorder();
  const source = new ApiSource({ client, kind: widgetKind, clock, random: () => 0.5, log });
  const informer = new Informer({ source, handlers: [handler], log, name: 'widgets' });
  const stopping = new AbortController();
  const done = informer.start(stopping.signal);
  await until('watching', () => server.watchers(WIDGETS) === 1);

  server.requireToken('two');
  server.endWatches(WIDGETS);
  const refusals = (): number => lines.filter((line) => line.includes('answered 401')).length;
  await until(
    'refused',
    () => refusals() > 1,
    () => clock.pass(),
  );
  expect(told).toEqual(['+a:red', 'synced']);
  await writeFile(join(directory, 'token'), 'two\n');
  await until(
    'watching again',
    () => server.watchers(WIDGETS) === 1,
    () => clock.pass(),
  );
  server.put(WIDGETS, rawWidget('a', 'blue'));
  await until('told', () => told.includes('a:red>blue'));
  stopping.abort();
  await done;
});
