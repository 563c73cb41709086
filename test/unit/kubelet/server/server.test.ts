import { Code } from '@connectrpc/connect';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { request } from 'node:https';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { connect } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../../../src/clock.ts';
import type { KubeletServerConfig } from '../../../../src/config/kubelet-config.ts';
import type { BindConfig } from '../../../../src/config/proxy-config.ts';
import type { ApiWriter } from '../../../../src/informer/api-client.ts';
import type { Address } from '../../../../src/ip/address.ts';
import { CriError } from '../../../../src/kubelet/cri/cri-error.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { KubeletServer } from '../../../../src/kubelet/server/server.ts';
import type { KubeletServerOptions } from '../../../../src/kubelet/server/server.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { certificates } from '../../informer/certificates.ts';
import { container, pod, running, runningPod } from '../support/pods.ts';
import { runtimePod } from '../support/runtime-pods.ts';

/** Who is let in, and what each path answers, over real TLS and sockets (spec 10). */

let folder = '';
let stops: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-server-'));
  await writeFile(join(folder, 'ca.crt'), certificates.first.cert);
});

afterEach(async () => {
  for (const stop of stops.toReversed()) await stop();
  stops = [];
  await rm(folder, { recursive: true });
});

interface Review {
  readonly kind: string;
  readonly spec: {
    readonly token?: string;
    readonly user?: string;
    readonly groups?: readonly string[];
    readonly resourceAttributes?: { readonly verb: string; readonly subresource: string };
  };
}

/** An API server that knows the token `good`, and lets its user read metrics and pods, and the certificate's user do anything. */
class Reviews implements ApiWriter {
  readonly server = 'https://api.test';
  readonly asked: Review[] = [];
  isAway = false;

  async send(_verb: string, _path: string, value: unknown): ReturnType<ApiWriter['send']> {
    const review = value as Review;
    this.asked.push(review);
    if (this.isAway) throw new Error('the API server is away');
    const body = Readable.from([JSON.stringify({ ...review, status: statusOf(review) })]);
    return Promise.resolve({ status: 201, headers: {}, body });
  }

  async reloadCredentials(): Promise<void> {
    return Promise.resolve();
  }
}

function statusOf({ kind, spec }: Review): object {
  if (kind === 'TokenReview') {
    const user = { username: 'ann', groups: ['readers'] };
    return spec.token === 'good' ? { authenticated: true, user } : { authenticated: false };
  }
  const { user, resourceAttributes } = spec;
  const readable = ['metrics', 'pods'].includes(resourceAttributes?.subresource ?? '');
  return { allowed: user === 'first' || (user === 'ann' && readable) };
}

const here = (port: number): BindConfig => ({ address: '127.0.0.1' as Address, port });

const usual: KubeletServerConfig = {
  bind: here(0),
  readOnly: undefined,
  healthz: undefined,
  certFile: '',
  keyFile: '',
  minVersion: 'TLSv1.2',
  cipherSuites: ['TLS_AES_128_GCM_SHA256', 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256'],
  clientCaFile: '',
  anonymous: false,
  tokenReview: true,
  tokenTtlMs: 120_000,
  authorization: 'Webhook',
  allowedTtlMs: 300_000,
  deniedTtlMs: 30_000,
  debuggingHandlers: true,
  streamIdleMs: 60_000,
};

const refuse = async (): Promise<never> => Promise.reject(new Error('not asked for'));

interface Served {
  readonly server: KubeletServer;
  readonly reviews: Reviews;
  readonly port: number;
}

async function served(
  changes: Partial<KubeletServerConfig> = {},
  options: Partial<KubeletServerOptions> = {},
): Promise<Served> {
  const reviews = new Reviews();
  const web = webPod();
  const server = new KubeletServer({
    config: { ...usual, clientCaFile: join(folder, 'ca.crt'), ...changes },
    certFolder: join(folder, 'pki'),
    nodeName: 'n1',
    api: reviews,
    log: silentLog,
    clock: systemClock,
    onRequest: () => {},
    runtime: { containerStatus: refuse, exec: refuse, execSync: refuse },
    findPod: (namespace, name) => (namespace === 'shop' && name === 'web' ? web : undefined),
    listPods: () => [web],
    runtimePod: (uid) => (uid === 'uid-1' ? runtimePod() : undefined),
    runtimePods: () => [runtimePod()],
    ownAddresses: () => [],
    health: () => ({ isAlive: true, waitsFor: undefined }),
    usage: async () => ({
      node: { cpuSeconds: 1.5, memoryBytes: 1024, atMs: 5 },
      containers: [],
    }),
    metrics: new Registry(),
    probeMetrics: new Registry(),
    ...options,
  });
  await server.start();
  stops.push(async () => server.stop());
  return { server, reviews, port: server.port ?? 0 };
}

function webPod(): Pod {
  const app = container();
  return { ...pod({ containers: [app] }), status: runningPod(running()) };
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type: string | undefined;
}

const byCertificate = { cert: certificates.first.cert, key: certificates.first.key };
const byToken = (token: string): { headers: Record<string, string> } => ({
  headers: { authorization: `Bearer ${token}` },
});

async function ask(port: number, path: string, options: object = byCertificate): Promise<Answer> {
  const asked = request({
    host: '127.0.0.1',
    port,
    path,
    rejectUnauthorized: false,
    agent: false,
    ...options,
  });
  asked.end();
  const [response] = await once(asked, 'response');
  const { statusCode = 0, headers } = response as {
    statusCode?: number;
    headers: Record<string, string>;
  };
  return {
    status: statusCode,
    body: await text(response as Readable),
    type: headers['content-type'],
  };
}

test('who shows nothing, an unknown token, or a certificate of somebody else, is not known', async () => {
  const { port } = await served();
  const { cert, key } = certificates.second;
  for (const options of [{}, byToken('bad'), { cert, key }]) {
    expect(await ask(port, '/pods', options)).toMatchObject({ status: 401, body: 'Unauthorized' });
  }
});

test('the user of a certificate is its common name', async () => {
  const { port, reviews } = await served();
  expect(await ask(port, '/containerLogs/shop/nobody/app')).toMatchObject({ status: 404 });
  expect(reviews.asked.map(({ spec }) => spec)).toEqual([
    {
      user: 'first',
      groups: ['system:authenticated'],
      resourceAttributes: {
        verb: 'get',
        version: 'v1',
        resource: 'nodes',
        subresource: 'proxy',
        name: 'n1',
      },
    },
  ]);
});

test('a token and what its user may do are asked for once', async () => {
  const { port, reviews } = await served();
  for (let i = 0; i < 3; i++) {
    expect(await ask(port, '/pods', byToken('good'))).toMatchObject({ status: 200 });
  }
  expect(reviews.asked.map(({ kind }) => kind)).toEqual(['TokenReview', 'SubjectAccessReview']);
});

test('what is not allowed is refused with what it would have needed', async () => {
  const { port, reviews } = await served();
  expect(await ask(port, '/healthz', byToken('good'))).toMatchObject({
    status: 403,
    body: 'Forbidden (user=ann, verb=get, resource=nodes, subresource(s)=[healthz proxy])',
  });
  const needed = reviews.asked.map(({ spec }) => spec.resourceAttributes?.subresource);
  expect(needed).toEqual([undefined, 'healthz', 'proxy']);
  expect(
    await ask(port, '/run/shop/web/app', { method: 'POST', ...byToken('good') }),
  ).toMatchObject({
    status: 403,
    body: 'Forbidden (user=ann, verb=create, resource=nodes, subresource(s)=[proxy])',
  });
});

test('while the API server is away nobody new is let in, and what failed is not kept', async () => {
  const { port, reviews } = await served();
  reviews.isAway = true;
  expect(await ask(port, '/pods', byToken('good'))).toMatchObject({ status: 401 });
  expect(await ask(port, '/pods')).toMatchObject({ status: 500 });
  reviews.isAway = false;
  expect(await ask(port, '/pods', byToken('good'))).toMatchObject({ status: 200 });
});

test('anonymous requests are let in where that is configured, as far as they are allowed', async () => {
  const { port } = await served({ anonymous: true });
  const refused = await ask(port, '/pods', {});
  expect([refused.status, refused.body]).toEqual([
    403,
    'Forbidden (user=system:anonymous, verb=get, resource=nodes, subresource(s)=[pods proxy])',
  ]);
  const open = await served({ anonymous: true, authorization: 'AlwaysAllow' });
  expect(await ask(open.port, '/pods', {})).toMatchObject({ status: 200 });
});

test('without an API server, Webhook cannot be meant', async () => {
  await expect(served({}, { api: undefined })).rejects.toThrow('needs an API server');
});

test.each([
  ['/healthz', 200, 'ok'],
  ['/healthz/ping', 200, 'ok'],
  ['/healthz/syncloop', 200, 'ok'],
  ['/healthz/runtime', 200, 'ok'],
  ['/healthz/nothing', 404, '404 page not found\n'],
  ['/nothing', 404, '404 page not found\n'],
  ['/metrics/nothing', 404, '404 page not found\n'],
  ['/attach/shop/web/app', 404, '404 page not found\n'],
])('%s answers %i', async (path, status, body) => {
  const { port } = await served();
  expect(await ask(port, path)).toMatchObject({ status, body });
});

test('a main loop that stands still is seen at 10250, and not at the port for /healthz', async () => {
  const { port } = await served(
    { healthz: here(await freePort()) },
    { health: () => ({ isAlive: false, waitsFor: undefined }) },
  );
  expect(await ask(port, '/healthz/syncloop')).toMatchObject({ status: 500 });
  expect(await ask(port, '/healthz')).toMatchObject({ status: 500 });
  expect(await ask(port, '/healthz/ping')).toMatchObject({ status: 200 });
});

test('what the node and its containers use is at a path of its own', async () => {
  const { port } = await served();
  const { status, body } = await ask(port, '/metrics/resource');
  expect(status).toBe(200);
  expect(body).toContain('\nnode_cpu_usage_seconds_total 1.5 5\n');
  expect(body).toContain('\nresource_scrape_error 0\n');
  const silent = await served({}, { usage: async () => Promise.reject(new Error('away')) });
  const answer = await ask(silent.port, '/metrics/resource');
  expect(answer.body).toMatch(
    /^# HELP resource_scrape_error [^\n]+\n[^\n]+\nresource_scrape_error 1\n$/,
  );
});

test('while the runtime is waited for both ports for health say so, and pods are not known', async () => {
  let waitsFor: string | undefined = 'the container runtime is waited for';
  const { server, port } = await served(
    { healthz: here(await freePort()) },
    { health: () => ({ isAlive: true, waitsFor }) },
  );
  const plain = server.healthzPort ?? 0;
  const said = `[-]runtime ${waitsFor}\nhealthz check failed\n`;
  expect(await askPlainly(plain, '/healthz')).toEqual([500, `[+]ping ok\n${said}`]);
  expect(await askPlainly(plain, '/healthz/ping')).toEqual([200, 'ok']);
  expect(await ask(port, '/healthz')).toMatchObject({
    status: 500,
    body: `[+]ping ok\n[+]log ok\n[+]syncloop ok\n${said}`,
  });
  for (const path of ['/pods', '/containerLogs/shop/web/app', '/runningpods']) {
    expect(await ask(port, path)).toMatchObject({
      status: 503,
      body: `no pods are known yet: ${waitsFor}\n`,
    });
  }
  expect(await ask(port, '/metrics')).toMatchObject({ status: 200 });
  waitsFor = undefined;
  expect(await askPlainly(plain, '/healthz')).toEqual([200, 'ok']);
  expect(await ask(port, '/pods')).toMatchObject({ status: 200 });
});

test('/healthz has a port of its own, without TLS and for anybody, and nothing else is there', async () => {
  const { server } = await served({ healthz: here(await freePort()) });
  const port = server.healthzPort ?? 0;
  expect(await askPlainly(port, '/healthz')).toEqual([200, 'ok']);
  expect(await askPlainly(port, '/pods')).toEqual([404, '404 page not found\n']);
});

test('the read-only port shows pods, and neither logs nor commands', async () => {
  const readOnlyPort = await freePort();
  await served({ readOnly: here(readOnlyPort) });
  expect((await askPlainly(readOnlyPort, '/pods'))[0]).toBe(200);
  expect((await askPlainly(readOnlyPort, '/containerLogs/shop/web/app'))[0]).toBe(404);
  expect((await askPlainly(readOnlyPort, '/exec/shop/web/app?command=id&output=1'))[0]).toBe(404);
});

test('pods come as a list of the API', async () => {
  const { port } = await served();
  const { body, type } = await ask(port, '/pods');
  const list = JSON.parse(body) as { kind: string; items: Pod[] };
  expect([type, list.kind]).toEqual(['application/json', 'PodList']);
  expect(list.items.map(({ metadata, status }) => [metadata.name, status.phase])).toEqual([
    ['web', 'Running'],
  ]);
  const inRuntime = JSON.parse((await ask(port, '/runningpods/')).body) as { items: Pod[] };
  expect(inRuntime.items.map(({ spec }) => spec.containers)).toEqual([
    [{ name: 'app', image: 'local/app:1', resources: {} }],
  ]);
});

test.each([
  '/exec/shop/web/app?command=id&output=1',
  '/run/shop/web/app',
  '/containerLogs/shop/web/app',
  '/runningpods/',
])('with debugging off, %s is not there', async (path) => {
  const { port } = await served({ debuggingHandlers: false });
  expect(await ask(port, path)).toMatchObject({
    status: 405,
    body: 'Debug endpoints are disabled.',
  });
  expect(await ask(port, '/pods')).toMatchObject({ status: 200 });
});

function logged(path: string): Partial<KubeletServerOptions> {
  const containerStatus = async (): Promise<never> =>
    Promise.resolve({ status: { logPath: path, state: 2 } } as never);
  return { runtime: { containerStatus, exec: refuse, execSync: refuse } };
}

test('a log is sent; before its first byte all that is wrong is said', async () => {
  const path = join(folder, '0.log');
  await writeFile(path, '2026-01-02T03:04:05Z stdout F hello\n');
  const { port } = await served({}, logged(path));
  const log = '/containerLogs/shop/web/app';
  expect(await ask(port, log)).toMatchObject({ status: 200, body: 'hello\n', type: 'text/plain' });
  expect(await ask(port, `${log}?follow=true`)).toMatchObject({ status: 200, body: 'hello\n' });
  expect(await ask(port, `${log}?tailLines=x`)).toMatchObject({ status: 400 });
  expect(await ask(port, `${log}?tailLines=-1`)).toMatchObject({ status: 422 });
  expect(await ask(port, `${log}?previous=true`)).toMatchObject({
    status: 400,
    body: 'previous terminated container "app" in pod "web" not found',
  });
  expect(await ask(port, '/containerLogs/shop/web/none')).toMatchObject({
    status: 404,
    body: 'container "none" not found in pod "web"\n',
  });
  await rm(path);
  expect(await ask(port, log)).toMatchObject({ status: 400 });
});

test('a reader that does not read holds nothing up but its own log', async () => {
  const path = join(folder, '0.log');
  const line = `2026-01-02T03:04:05Z stdout F ${'x'.repeat(16_000)}\n`;
  await writeFile(path, line.repeat(4_000));
  const { port } = await served({}, logged(path));
  const asked = request({
    host: '127.0.0.1',
    port,
    path: '/containerLogs/shop/web/app',
    rejectUnauthorized: false,
    agent: false,
    ...byCertificate,
  });
  asked.end();
  const [response] = (await once(asked, 'response')) as [Readable];
  expect((await ask(port, '/healthz')).status).toBe(200);
  expect((await buffer(response)).length).toBe(4_000 * 16_001);
});

interface Streaming {
  readonly url: string;
  readonly heads: string[];
}

/** Answers an upgrade, says what it was sent once that has ended, and ends. */
async function streaming(answer = 'HTTP/1.1 101 Switching Protocols\r\n\r\n'): Promise<Streaming> {
  const heads: string[] = [];
  const runtime = createServer({ allowHalfOpen: true }, (socket) => {
    let received = '';
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString();
      const end = received.indexOf('\r\n\r\n');
      if (end < 0 || heads.length > 0) return;
      heads.push(received.slice(0, end));
      received = received.slice(end + 4);
      socket.write(answer);
    });
    socket.on('end', () => socket.end(`got ${received}, bye`));
    socket.on('error', () => {});
  });
  return { url: `http://127.0.0.1:${await listening(runtime)}/exec/token-1`, heads };
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  stops.push(async () => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listening(server);
  await stops.pop()?.();
  return port;
}

async function askPlainly(port: number, path: string): Promise<[number, string]> {
  const asked = httpRequest({ host: '127.0.0.1', port, path, agent: false }).end();
  const [response] = await once(asked, 'response');
  const { statusCode = 0 } = response as { statusCode?: number };
  return [statusCode, await text(response as Readable)];
}

function executed(url: string, asked: object[] = []): Partial<KubeletServerOptions> {
  const exec = async (call: object): Promise<never> => {
    asked.push(call);
    return Promise.resolve({ url } as never);
  };
  return { runtime: { containerStatus: refuse, exec, execSync: refuse } };
}

const upgrade =
  'Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n';

async function upgraded(port: number, path: string, headers = upgrade): Promise<TLSSocket> {
  const socket = connect({
    host: '127.0.0.1',
    port,
    rejectUnauthorized: false,
    ...byCertificate,
  });
  await once(socket, 'secureConnect');
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: n1\r\nAuthorization: Bearer secret\r\n${headers}\r\n`,
  );
  return socket;
}

test('a command speaks with the runtime through a tunnel, each direction with its own end', async () => {
  const runtime = await streaming();
  const calls: object[] = [];
  const { port } = await served({}, executed(runtime.url, calls));
  const socket = await upgraded(
    port,
    '/exec/shop/web/app?command=sh&command=-c&input=1&output=1&tty=1&error=1',
  );
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1.1 101/);
  socket.end('some bytes');
  expect((await buffer(socket)).toString()).toBe('got some bytes, bye');
  expect(calls).toEqual([
    { containerId: 'one', cmd: ['sh', '-c'], stdin: true, stdout: true, stderr: false, tty: true },
  ]);
  const lines = runtime.heads[0]?.split('\r\n');
  expect(lines?.[0]).toBe('POST /exec/token-1 HTTP/1.1');
  expect(lines).toContain('Upgrade: SPDY/3.1');
  expect(lines).toContain('X-Stream-Protocol-Version: v4.channel.k8s.io');
  expect(lines?.filter((line) => line.startsWith('Authorization'))).toEqual([]);
});

test("what the runtime refuses reaches the client in the runtime's words", async () => {
  const runtime = await streaming('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
  const { port } = await served({}, executed(runtime.url));
  const socket = await upgraded(port, '/exec/shop/web/app?command=id&output=1');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1.1 403 Forbidden/);
  socket.destroy();
});

test('a streaming server on another machine is not spoken to', async () => {
  const { port } = await served({}, executed('http://10.9.8.7:80/exec/token'));
  const socket = await upgraded(port, '/exec/shop/web/app?command=id&output=1');
  const answer = (await buffer(socket)).toString();
  expect(answer).toMatch(/^HTTP\/1.1 500 /);
  expect(answer).toContain('not an address of this node');
});

const upgradeFailures: [string, number, string][] = [
  ['/exec/shop/web/app?command=id', 400, 'at least 1 of stdin, stdout, stderr'],
  ['/exec/shop/other/app?command=id&output=1', 404, 'pod does not exist'],
  ['/exec/shop/web/uid-9/app?command=id&output=1', 404, 'pod does not exist'],
  ['/exec/shop/web/none?command=id&output=1', 500, 'container not found ("none")'],
];

test.each(upgradeFailures)('an upgrade of %s is answered with %i', async (path, status, words) => {
  const { port } = await served();
  const answer = (await buffer(await upgraded(port, path))).toString();
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expect(answer).toContain(words);
});

test('exec without an upgrade is a bad request; elsewhere an upgrade is none', async () => {
  const { port } = await served();
  expect(await ask(port, '/exec/shop/web/app?command=id&output=1')).toMatchObject({ status: 400 });
  const socket = await upgraded(port, '/pods');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1.1 200 /);
  socket.destroy();
});

test('nobody gets an upgrade who is not known', async () => {
  const { port } = await served();
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  socket.write(
    `POST /exec/shop/web/app?command=id&output=1 HTTP/1.1\r\nHost: n1\r\n${upgrade}\r\n`,
  );
  expect((await buffer(socket)).toString()).toMatch(/^HTTP\/1.1 401 /);
});

test.each([
  [Code.NotFound, 404],
  [Code.ResourceExhausted, 429],
  [Code.Internal, 500],
])('a command that the runtime refuses with code %i is answered with %i', async (code, status) => {
  const execSync = async (): Promise<never> =>
    Promise.reject(new CriError('ExecSync', code, 'no', undefined));
  const { port } = await served(
    {},
    { runtime: { containerStatus: refuse, exec: refuse, execSync } },
  );
  const options = { method: 'POST', ...byCertificate };
  expect(await ask(port, '/run/shop/web/app?cmd=ls', options)).toMatchObject({ status });
});

test('run gives all that a command said', async () => {
  const asked: object[] = [];
  const execSync = async (call: object): Promise<never> => {
    asked.push(call);
    return Promise.resolve({
      stdout: Buffer.from('out'),
      stderr: Buffer.from('err'),
      exitCode: 0,
    } as never);
  };
  const { port } = await served(
    {},
    { runtime: { containerStatus: refuse, exec: refuse, execSync } },
  );
  const options = { method: 'POST', ...byCertificate };
  expect(await ask(port, '/run/shop/web/uid-1/app?cmd=ls%20-l', options)).toMatchObject({
    status: 200,
    body: 'outerr',
  });
  expect(asked).toEqual([{ containerId: 'one', cmd: ['ls', '-l'], timeout: 0n }]);
  expect(await ask(port, '/run/shop/web/app?cmd=ls')).toMatchObject({ status: 405 });
});

test('stopping ends what is open, and frees the port', async () => {
  const runtime = await streaming();
  const { port, server } = await served({}, executed(runtime.url));
  const socket = await upgraded(port, '/exec/shop/web/app?command=sh&input=1&output=1');
  socket.on('error', () => {});
  await once(socket, 'data');
  const closed = once(socket, 'close');
  await server.stop();
  socket.end();
  await closed;
  await expect(ask(port, '/healthz')).rejects.toThrow('ECONNREFUSED');
});
