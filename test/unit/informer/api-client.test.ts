import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { runProgram } from '../../../src/host/run-program.ts';
import { loadApiClient, loadApiClients, type ApiClient } from '../../../src/informer/api-client.ts';
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
  const client = await loadApiClient({ log: silentLog, clock, env: {}, runProgram, ...given });
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

test('an exec plugin is run once for both forms of connection', async () => {
  await writeFile(join(directory, 'plugin.sh'), plugin);
  await chmod(join(directory, 'plugin.sh'), 0o755);
  const apiVersion = 'client.authentication.k8s.io/v1';
  const path = await kubeconfig({ exec: { apiVersion, command: './plugin.sh' } });
  const both = await loadApiClients({
    log: silentLog,
    clock,
    env: {},
    runProgram,
    kubeconfig: path,
  });
  clients.push(both.client, both.sharing);
  await Promise.all([status(both.client), status(both.sharing)]);
  expect(await authorization(both.sharing)).toBe('Bearer from-plugin');
  expect(await readFile(join(directory, 'runs'), 'utf8')).toBe('run\n');
  await both.client.reloadCredentials();
  expect(await authorization(both.sharing)).toBe('Bearer from-plugin');
  expect(await readFile(join(directory, 'runs'), 'utf8')).toBe('run\nrun\n');
});

async function withPlugin(script: string, exec: object = {}): Promise<ApiClient> {
  await writeFile(join(directory, 'plugin.sh'), `#!/bin/sh\n${script}\n`);
  await chmod(join(directory, 'plugin.sh'), 0o755);
  return load({ kubeconfig: await kubeconfig({ exec: { command: './plugin.sh', ...exec } }) });
}

const installHint = 'Get it from example.com';

test.each([
  ['that says nothing', 'exit 3', {}, 'plugin.sh: ended with 3 and said nothing'],
  ['that complains', 'echo no login >&2; exit 1', {}, 'plugin.sh: ended with 1 and said: no login'],
  ['that prints no credential', "echo '{}'", {}, 'plugin.sh: printed JSON without credentials'],
  [
    'that prints no JSON',
    'echo hello',
    {},
    'plugin.sh: printed no JSON; expected an ExecCredential',
  ],
  ['that is not installed', '', { command: 'no-such-plugin' }, 'no-such-plugin: spawn'],
])('a plugin %s is named, with its hint', async (_name, script, exec, message) => {
  const client = await withPlugin(script, { installHint, ...exec });
  await expect(status(client)).rejects.toThrow(message);
  await expect(status(client)).rejects.toThrow(installHint);
});

function credential(token: string, expirationTimestamp: string): string {
  return JSON.stringify({ status: { token, expirationTimestamp } });
}

test('a plugin is asked again when what it gave expires', async () => {
  const client = await withPlugin('cat "$(dirname "$0")/credential"');
  // the clock of these tests starts at 1,000 s
  await writeFile(join(directory, 'credential'), credential('one', '1970-01-01T01:00:00Z'));
  expect(await authorization(client)).toBe('Bearer one');
  await writeFile(join(directory, 'credential'), credential('two', '1970-01-01T02:00:00Z'));
  expect(await authorization(client)).toBe('Bearer one');
  clock.advance(3_600_000);
  expect(await authorization(client)).toBe('Bearer two');
});

/** Its child would outlive it if only the plugin itself were ended; the child's id is in `pid`. */
const hanging = `cd "$(dirname "$0")"
sleep 600 &
echo $! > pid.tmp
mv pid.tmp pid
wait`;

async function startHanging() {
  const pidFile = join(directory, 'pid');
  const client = await withPlugin(hanging);
  const giveUp = new AbortController();
  const asking = client.get(WIDGETS, {}, giveUp.signal);
  const outcome = asking.then(
    () => 'answered',
    (error: unknown) => String(error),
  );
  await until('running', () => existsSync(pidFile));
  const pid = Number(await readFile(pidFile, 'utf8'));
  return { client, outcome, ended: async () => until('ended', () => !isRunning(pid)) };
}

function isRunning(pid: number): boolean {
  try {
    // an ended process nobody has waited for yet still has an entry
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test('a plugin that hangs is ended after 45 s, and the next request runs it again', async () => {
  const { client, outcome, ended } = await startHanging();
  clock.advance(45_000);
  expect(await outcome).toContain('plugin.sh: gave no answer for 45 s');
  await ended();
  await writeFile(join(directory, 'plugin.sh'), plugin);
  expect(await authorization(client)).toBe('Bearer from-plugin');
});

test('a plugin that hangs ends when the client is closed', async () => {
  const { client, outcome, ended } = await startHanging();
  await client.close();
  expect(await outcome).toContain('the client is closed');
  await ended();
});

test('a plugin that hangs ends when the credentials are read anew', async () => {
  const { client, outcome, ended } = await startHanging();
  await writeFile(join(directory, 'plugin.sh'), plugin);
  await client.reloadCredentials();
  expect(await outcome).toContain('the credentials are read anew');
  await ended();
  expect(await authorization(client)).toBe('Bearer from-plugin');
});

test('the proxy of the environment is used, but that of the kubeconfig comes first', async () => {
  const asked: (string | undefined)[] = [];
  const proxy = createServer((request, response) => {
    asked.push(request.url);
    response.end('{}');
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const HTTP_PROXY = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const there = await load({ master: 'http://api.example:6443', env: { HTTP_PROXY } });
  expect(await status(there)).toBe(200);
  expect(asked).toEqual([`http://api.example:6443${WIDGETS}`]);
  const path = await kubeconfig({}, { server: 'http://api.example:6443', 'proxy-url': HTTP_PROXY });
  expect(
    await status(await load({ kubeconfig: path, env: { HTTP_PROXY: 'http://192.0.2.1' } })),
  ).toBe(200);
  proxy.closeAllConnections();
  proxy.close();
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
  [
    'a context whose user does not exist',
    async () => {
      const kubeconfigPath = await kubeconfig({ token: 't1' });
      const config = await readFile(kubeconfigPath, 'utf8');
      await writeFile(kubeconfigPath, config.replace('"user":"u"', '"user":"gone"'));
      return { kubeconfig: kubeconfigPath };
    },
    'context "here" names the user "gone", which is not there',
  ],
  [
    'groups of nobody',
    async () => ({ kubeconfig: await kubeconfig({ 'as-groups': ['system:masters'] }) }),
    'need the user to impersonate in "as"',
  ],
  [
    'a provider that kubectl no longer has',
    async () => ({ kubeconfig: await kubeconfig({ 'auth-provider': { name: 'oidc' } }) }),
    'auth-provider "oidc" is not supported',
  ],
  ['a server that is no URL', async () => Promise.resolve({ master: 'ftp://x' }), 'http or https'],
];

test.each(refused)('%s is refused with the reason', async (_name, given, message) => {
  await expect(load(await given())).rejects.toThrow(message);
});

test('what stands in a kubeconfig that is no YAML is never repeated', async () => {
  const path = join(directory, 'broken');
  await writeFile(path, 'users:\n- name: a\n  user:\n    token: geheim: geheim\n');
  const error = await load({ kubeconfig: path }).catch((thrown: unknown) => thrown);
  const { message, cause } = error as Error;
  expect(message).toMatch(/^kubeconfig .*broken: .* at line 4, column \d+$/);
  expect(cause).toBeUndefined();
});

test('no proxy on the way is left to choose an encoding', async () => {
  const client = await load({ master: server.url });
  await client.get(WIDGETS, {}, new AbortController().signal);
  expect(server.requests[0]?.headers['accept-encoding']).toBe('identity');
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

/** The subject of the certificate that a server whose own is the first one is shown. */
async function presented(user: object, trust: object): Promise<string | undefined> {
  const tls = await startTls(certificates.first);
  const url = `https://127.0.0.1:${(tls.address() as AddressInfo).port}`;
  let subject: string | undefined;
  tls.on('secureConnection', (socket: TLSSocket) => {
    const { CN } = socket.getPeerCertificate().subject;
    subject = String(CN);
  });
  const client = await load({ kubeconfig: await kubeconfig(user, { server: url, ...trust }) });
  expect(await status(client)).toBe(200);
  tls.closeAllConnections();
  tls.close();
  return subject;
}

const secondAsData = {
  'client-certificate-data': base64(certificates.second.cert),
  'client-key-data': base64(certificates.second.key),
};

test('a client certificate is presented', async () => {
  expect(await presented(secondAsData, { 'insecure-skip-tls-verify': true })).toBe('second');
});

test('certificates that stand in the kubeconfig come before those in files', async () => {
  const user = {
    ...secondAsData,
    'client-certificate': 'absent.crt',
    'client-key': 'absent.key',
  };
  const trust = {
    'certificate-authority-data': base64(certificates.first.cert),
    'certificate-authority': 'absent-ca.crt',
  };
  expect(await presented(user, trust)).toBe('second');
});

test('a client certificate that is gone for a moment of its rotation is still presented', async () => {
  const tls = await startTls(certificates.first);
  const user = { 'client-certificate': 'client.crt', 'client-key': 'client.key' };
  const cluster = {
    server: `https://127.0.0.1:${(tls.address() as AddressInfo).port}`,
    'insecure-skip-tls-verify': true,
  };
  const client = await load({ kubeconfig: await kubeconfig(user, cluster) });
  await writeFile(join(directory, 'client.key'), certificates.second.key);
  const certificate = join(directory, 'client.crt');
  await expect(status(client)).rejects.toThrow(`client certificate ${certificate}: ENOENT`);
  await writeFile(certificate, certificates.second.cert);
  expect(await status(client)).toBe(200);
  await writeFile(join(directory, 'client.key'), certificates.first.key);
  await rm(certificate);
  expect(await status(client)).toBe(200);
  tls.closeAllConnections();
  tls.close();
});

test('a file with a certificate and its key counts instead of what the kubeconfig says, from when it is named until it is not', async () => {
  const tls = await startTls(certificates.first);
  const shown: string[] = [];
  tls.on('secureConnection', (socket: TLSSocket) => {
    shown.push(String(socket.getPeerCertificate().subject?.CN));
  });
  const cluster = {
    server: `https://127.0.0.1:${(tls.address() as AddressInfo).port}`,
    'insecure-skip-tls-verify': true,
  };
  const path = await kubeconfig({ ...secondAsData, token: 't' }, cluster);
  const { client, sharing, useClientFile } = await loadApiClients({
    kubeconfig: path,
    log: silentLog,
    clock,
    env: {},
    runProgram,
  });
  clients.push(client, sharing);
  expect(await status(client)).toBe(200);
  const own = join(directory, 'own.pem');
  await writeFile(own, certificates.first.cert + certificates.first.key);
  await useClientFile(own);
  expect(await status(client)).toBe(200);
  expect(lastTlsRequest?.headers.authorization).toBeUndefined();
  await writeFile(own, certificates.second.cert + certificates.second.key);
  expect(await status(client)).toBe(200);
  expect(shown).toEqual(['second', 'first', 'second']);
  const { first } = certificates;
  const firstAsData = {
    'client-certificate-data': base64(first.cert),
    'client-key-data': base64(first.key),
  };
  expect(await kubeconfig({ ...firstAsData, token: 'u' }, cluster)).toBe(path);
  await useClientFile(undefined);
  expect(await status(client)).toBe(200);
  expect(lastTlsRequest?.headers.authorization).toBe('Bearer u');
  expect(shown).toEqual(['second', 'first', 'second', 'first']);
  tls.closeAllConnections();
  tls.close();
});

test('a CA file that was never there is named', async () => {
  const path = await kubeconfig({}, { 'certificate-authority': 'ca.crt' });
  const expected = `certificate authority ${join(directory, 'ca.crt')}: ENOENT`;
  const client = await load({ kubeconfig: path });
  await expect(status(client)).rejects.toThrow(expected);
  await expect(status(client)).rejects.not.toThrow('API server');
});

const garbled = base64('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
test.each<[string, object, object]>([
  ['certificate-authority-data', {}, { 'certificate-authority-data': base64('no PEM') }],
  ['certificate-authority-data', {}, { 'certificate-authority-data': garbled }],
  ['client-certificate-data', { 'client-certificate-data': garbled }, {}],
  ['client-key-data', { 'client-key-data': base64(certificates.first.cert) }, {}],
  ['proxy-url', {}, { 'proxy-url': 'proxy.example:3128' }],
])('a %s that cannot be used is named with its file', async (field, user, cluster) => {
  const path = await kubeconfig(user, cluster);
  await expect(load({ kubeconfig: path })).rejects.toThrow(`kubeconfig ${path}: ${field}`);
});

test('a file that holds no certificate is named, and a rotation that is half done waits for its end', async () => {
  const tls = await startTls(certificates.first);
  const user = { 'client-certificate': 'client.crt', 'client-key': 'client.key' };
  const cluster = {
    server: `https://127.0.0.1:${(tls.address() as AddressInfo).port}`,
    'certificate-authority': 'ca.crt',
  };
  const client = await load({ kubeconfig: await kubeconfig(user, cluster) });
  const [ca = '', certificate = '', key = ''] = ['ca.crt', 'client.crt', 'client.key'].map((name) =>
    join(directory, name),
  );
  await writeFile(ca, 'garbage');
  await expect(status(client)).rejects.toThrow(`certificate authority ${ca}: holds no certificate`);
  await writeFile(ca, `# ours\n${certificates.first.cert}`);
  await writeFile(certificate, certificates.second.cert);
  await writeFile(key, certificates.first.key);
  await expect(status(client)).rejects.toThrow(`client key ${key}: is not of this certificate`);
  await writeFile(key, certificates.second.key);
  expect(await status(client)).toBe(200);
  await writeFile(certificate, certificates.second.cert.slice(0, 300));
  expect(await status(client)).toBe(200);
  await writeFile(certificate, certificates.first.cert);
  expect(await status(client)).toBe(200);
  tls.closeAllConnections();
  tls.close();
});

test('impersonation is sent whole', async () => {
  const user = {
    as: 'jane',
    'as-uid': '7',
    'as-groups': ['a', 'b'],
    'as-user-extra': { 'example.com/scope': ['x', 'y'] },
  };
  await status(await load({ kubeconfig: await kubeconfig(user) }));
  expect(server.requests.at(-1)?.headers).toMatchObject({
    'impersonate-user': 'jane',
    'impersonate-uid': '7',
    'impersonate-group': 'a, b',
    'impersonate-extra-example.com%2fscope': 'x, y',
  });
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
