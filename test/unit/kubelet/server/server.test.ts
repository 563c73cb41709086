import { Code } from '@connectrpc/connect';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CriError } from '../../../../src/kubelet/cri/cri-error.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import type { KubeletServerOptions } from '../../../../src/kubelet/server/server.ts';
import { certificates } from '../../informer/certificates.ts';
import { container, pod } from '../support/pods.ts';
import { runtimePod, runtimeSandbox } from '../support/runtime-pods.ts';
import {
  ask,
  askPlainly,
  byCertificate,
  byToken,
  executed,
  here,
  runtimeWith,
  ServerLab,
  upgrade,
  upgraded,
} from './server-lab.ts';

/** Who is let in, and what each path answers, over real TLS and sockets. */

let lab: ServerLab;

beforeEach(async () => {
  lab = await ServerLab.open();
});

afterEach(async () => {
  await lab.close();
});

test('who shows nothing, an unknown token, or a certificate of somebody else, is not known', async () => {
  const { port } = await lab.served();
  const { cert, key } = certificates.second;
  for (const options of [{}, byToken('bad'), { cert, key }]) {
    expect(await ask(port, '/pods', options)).toMatchObject({ status: 401, body: 'Unauthorized' });
  }
});

test('the user of a certificate is its common name', async () => {
  const { port, reviews } = await lab.served();
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
  const { port, reviews } = await lab.served();
  for (let i = 0; i < 3; i++) {
    expect(await ask(port, '/pods', byToken('good'))).toMatchObject({ status: 200 });
  }
  expect(reviews.asked.map(({ kind }) => kind)).toEqual(['TokenReview', 'SubjectAccessReview']);
});

test('what is not allowed is refused with what it would have needed', async () => {
  const { port, reviews } = await lab.served();
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
  const { port, reviews } = await lab.served();
  reviews.isAway = true;
  expect(await ask(port, '/pods', byToken('good'))).toMatchObject({ status: 401 });
  expect(await ask(port, '/pods')).toMatchObject({ status: 500 });
  reviews.isAway = false;
  expect(await ask(port, '/pods', byToken('good'))).toMatchObject({ status: 200 });
});

test('anonymous requests are let in where that is configured, as far as they are allowed', async () => {
  const { port } = await lab.served({ anonymous: true });
  const refused = await ask(port, '/pods', {});
  expect([refused.status, refused.body]).toEqual([
    403,
    'Forbidden (user=system:anonymous, verb=get, resource=nodes, subresource(s)=[pods proxy])',
  ]);
  const open = await lab.served({ anonymous: true, authorization: 'AlwaysAllow' });
  expect(await ask(open.port, '/pods', {})).toMatchObject({ status: 200 });
});

test('without an API server, Webhook cannot be meant', async () => {
  await expect(lab.served({}, { api: undefined })).rejects.toThrow('needs an API server');
});

test.each([
  ['/healthz', 200, 'ok'],
  ['/healthz/ping', 200, 'ok'],
  ['/healthz/syncloop', 200, 'ok'],
  ['/healthz/runtime', 200, 'ok'],
  ['/healthz/nothing', 404, '404 page not found\n'],
  ['/nothing', 404, '404 page not found\n'],
  ['/metrics/nothing', 404, '404 page not found\n'],
])('%s answers %i', async (path, status, body) => {
  const { port } = await lab.served();
  expect(await ask(port, path)).toMatchObject({ status, body });
});

test('a main loop that stands still is seen at 10250, and not at the port for /healthz', async () => {
  const { port } = await lab.served(
    { healthz: here(await lab.freePort()) },
    { health: () => ({ isAlive: false, waitsFor: undefined }) },
  );
  expect(await ask(port, '/healthz/syncloop')).toMatchObject({ status: 500 });
  expect(await ask(port, '/healthz')).toMatchObject({ status: 500 });
  expect(await ask(port, '/healthz/ping')).toMatchObject({ status: 200 });
});

test('while the runtime is waited for both ports for health say so, and pods are not known', async () => {
  let waitsFor: string | undefined = 'the container runtime is waited for';
  const { server, port } = await lab.served(
    { healthz: here(await lab.freePort()) },
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
  const { server } = await lab.served({ healthz: here(await lab.freePort()) });
  const port = server.healthzPort ?? 0;
  expect(await askPlainly(port, '/healthz')).toEqual([200, 'ok']);
  expect(await askPlainly(port, '/pods')).toEqual([404, '404 page not found\n']);
});

test('the read-only port shows pods, and neither logs nor commands', async () => {
  const readOnlyPort = await lab.freePort();
  await lab.served({ readOnly: here(readOnlyPort) });
  expect((await askPlainly(readOnlyPort, '/pods'))[0]).toBe(200);
  expect((await askPlainly(readOnlyPort, '/containerLogs/shop/web/app'))[0]).toBe(404);
  expect((await askPlainly(readOnlyPort, '/exec/shop/web/app?command=id&output=1'))[0]).toBe(404);
});

test('pods come as a list of the API', async () => {
  const { port } = await lab.served();
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
  '/attach/shop/web/app?output=1',
  '/portForward/shop/web',
  '/run/shop/web/app',
  '/containerLogs/shop/web/app',
  '/runningpods/',
])('with debugging off, %s is not there', async (path) => {
  const { port } = await lab.served({ debuggingHandlers: false });
  expect(await ask(port, path)).toMatchObject({
    status: 405,
    body: 'Debug endpoints are disabled.',
  });
  expect(await ask(port, '/pods')).toMatchObject({ status: 200 });
});

function logged(path: string): Partial<KubeletServerOptions> {
  const containerStatus = async (): Promise<never> =>
    Promise.resolve({ status: { logPath: path, state: 2 } } as never);
  return { runtime: runtimeWith({ containerStatus }) };
}

test('a log is sent; before its first byte all that is wrong is said', async () => {
  const path = join(lab.folder, '0.log');
  await writeFile(path, '2026-01-02T03:04:05Z stdout F hello\n');
  const { port } = await lab.served({}, logged(path));
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
  const path = join(lab.folder, '0.log');
  const line = `2026-01-02T03:04:05Z stdout F ${'x'.repeat(16_000)}\n`;
  await writeFile(path, line.repeat(4_000));
  const { port } = await lab.served({}, logged(path));
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

test('a command speaks with the runtime through a tunnel, each direction with its own end', async () => {
  const runtime = await lab.streaming();
  const calls: object[] = [];
  const { port } = await lab.served({}, executed(runtime.url, calls));
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
  const runtime = await lab.streaming('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
  const { port } = await lab.served({}, executed(runtime.url));
  const socket = await upgraded(port, '/exec/shop/web/app?command=id&output=1');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1.1 403 Forbidden/);
  socket.destroy();
});

test('a streaming server on another machine is not spoken to', async () => {
  const { port } = await lab.served({}, executed('http://10.9.8.7:80/exec/token'));
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
  ['/attach/shop/web/app', 400, 'at least 1 of stdin, stdout, stderr'],
  ['/attach/shop/web/none?output=1', 500, 'container not found ("none")'],
  ['/portForward/shop/other', 404, 'pod does not exist'],
  ['/portForward/shop/web/uid-9', 404, 'pod does not exist'],
  ['/portForward/shop', 404, 'pod does not exist'],
  ['/portForward/shop/web?port=0', 400, 'numbers from 1 to 65535'],
  ['/portForward/shop/web?port=80,70000', 400, 'numbers from 1 to 65535'],
];

test.each(upgradeFailures)('an upgrade of %s is answered with %i', async (path, status, words) => {
  const { port } = await lab.served();
  const answer = (await buffer(await upgraded(port, path))).toString();
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expect(answer).toContain(words);
});

/** Answers with the runtime's address, and notes what was asked. */
function answering(name: 'attach' | 'portForward', url: string, asked: object[]) {
  const answer = async (call: object): Promise<object> => {
    asked.push(call);
    return Promise.resolve({ url });
  };
  return { runtime: runtimeWith({ [name]: answer }) };
}

test.each([
  [false, { stdin: true, stdout: true, stderr: true, tty: false }],
  [true, { stdin: true, stdout: true, stderr: false, tty: true }],
])('who attaches gets the streams of a container whose terminal is %s', async (tty, streams) => {
  const runtime = await lab.streaming();
  const asked: object[] = [];
  const web = { ...pod({ containers: [container({ tty })] }), status: {} };
  const { port } = await lab.served(
    {},
    { ...answering('attach', runtime.url, asked), findPod: () => web },
  );
  const socket = await upgraded(port, '/attach/shop/web/app?input=1&output=1&error=1');
  await once(socket, 'data');
  socket.end('bytes');
  expect((await buffer(socket)).toString()).toBe('got bytes, bye');
  expect(asked).toEqual([{ containerId: 'one', ...streams }]);
});

test.each([
  ['/portForward/shop/web', []],
  ['/portForward/shop/web/uid-1?port=80&port=443', [80, 443]],
])('%s reaches into the sandbox', async (path, port) => {
  const runtime = await lab.streaming();
  const asked: object[] = [];
  const served = await lab.served({}, answering('portForward', runtime.url, asked));
  const socket = await upgraded(served.port, path);
  await once(socket, 'data');
  socket.end('bytes');
  expect((await buffer(socket)).toString()).toBe('got bytes, bye');
  expect(asked).toEqual([{ podSandboxId: 'box', port }]);
});

test('the ports of a pod without a sandbox that is up are not reached', async () => {
  const gone = runtimePod({ sandboxes: [runtimeSandbox({ state: 'notReady' })] });
  const { port } = await lab.served({}, { runtimePod: async () => Promise.resolve(gone) });
  const answer = (await buffer(await upgraded(port, '/portForward/shop/web'))).toString();
  expect(answer).toMatch(/^HTTP\/1.1 500 /);
  expect(answer).toContain('pod "web" is not running');
});

test('a runtime that does not answer who asks for a pod’s container is told of', async () => {
  const away = new CriError('ListContainers', Code.Unavailable, 'away', undefined);
  const runtimeGone = async (): Promise<never> => Promise.reject(away);
  const { port } = await lab.served({}, { runtimePod: runtimeGone });
  for (const path of ['/exec/shop/web/app?command=id&output=1', '/portForward/shop/web']) {
    const answer = (await buffer(await upgraded(port, path))).toString();
    expect(answer).toMatch(/^HTTP\/1.1 500 /);
    expect(answer).toContain('away');
  }
});

test('exec without an upgrade is a bad request; elsewhere an upgrade is none', async () => {
  const { port } = await lab.served();
  for (const path of ['/exec/shop/web/app?command=id&output=1', '/portForward/shop/web']) {
    expect(await ask(port, path)).toMatchObject({ status: 400, body: 'Upgrade request required' });
  }
  const socket = await upgraded(port, '/pods');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1.1 200 /);
  socket.destroy();
});

test('nobody gets an upgrade who is not known', async () => {
  const { port } = await lab.served();
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
  const { port } = await lab.served({}, { runtime: runtimeWith({ execSync }) });
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
  const { port } = await lab.served({}, { runtime: runtimeWith({ execSync }) });
  const options = { method: 'POST', ...byCertificate };
  expect(await ask(port, '/run/shop/web/uid-1/app?cmd=ls%20-l', options)).toMatchObject({
    status: 200,
    body: 'outerr',
  });
  expect(asked).toEqual([{ containerId: 'one', cmd: ['ls', '-l'], timeout: 0n }]);
  expect(await ask(port, '/run/shop/web/app?cmd=ls')).toMatchObject({ status: 405 });
});

test('stopping ends what is open, and frees the port', async () => {
  const runtime = await lab.streaming();
  const { port, server } = await lab.served({}, executed(runtime.url));
  const socket = await upgraded(port, '/exec/shop/web/app?command=sh&input=1&output=1');
  socket.on('error', () => {});
  await once(socket, 'data');
  const closed = once(socket, 'close');
  await server.stop();
  socket.end();
  await closed;
  await expect(ask(port, '/healthz')).rejects.toThrow('ECONNREFUSED');
});
