import { Code } from '@connectrpc/connect';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttp2 } from 'node:http2';
import { createServer as createTcp } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { CriError } from '../../../../src/kubelet/cri/cri-error.ts';
import type { Probe } from '../../../../src/kubelet/pod/container.ts';
import type { ExecSync } from '../../../../src/kubelet/probes/exec-probe.ts';
import { probeHandlers } from '../../../../src/kubelet/probes/handlers.ts';
import type { ProbeOutcome } from '../../../../src/kubelet/probes/outcome.ts';
import { container, pod, probe, running, runningPod } from '../support/pods.ts';

/** What each handler asks for, and what it makes of the answers. */

const open: (() => void)[] = [];

afterEach(() => {
  for (const close of open.splice(0)) close();
});

const noExec: ExecSync = async () => Promise.reject(new Error('not asked for'));

async function run(
  handler: Partial<Probe>,
  { execSync = noExec, port = 0 }: { execSync?: ExecSync; port?: number } = {},
): Promise<ProbeOutcome> {
  const execute = probeHandlers({ execSync, userAgent: 'kube-probe/1.37' });
  const app = container({
    ports: [{ name: 'web', containerPort: port, protocol: 'TCP' }],
    env: [
      { name: 'FILE', value: '/tmp/x' },
      { name: 'LATER', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
    ],
  });
  const status = { ...runningPod(running()), podIP: '127.0.0.1' };
  const at = {
    pod: pod({ containers: [app] }),
    status,
    container: app,
    containerId: 'containerd://one',
  };
  return execute(probe(handler), at, new AbortController().signal);
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  open.push(() => void server.close());
  return (server.address() as AddressInfo).port;
}

async function web(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<number> {
  const server = createServer(answer);
  open.push(() => {
    server.closeAllConnections();
  });
  return listening(server);
}

const http = (path = '/', more: object = {}): Partial<Probe> => ({
  httpGet: { path, port: 'web', scheme: 'HTTP', ...more },
});

test.each([200, 204, 304, 399])('http: %i is a success', async (status) => {
  const port = await web((_, response) => void response.writeHead(status).end());
  expect(await run(http(), { port })).toMatchObject({ kind: 'success' });
});

test.each([400, 404, 500])('http: %i is a failure', async (status) => {
  const port = await web((_, response) => void response.writeHead(status).end('why'));
  const output = `HTTP probe failed with statuscode: ${status}`;
  expect(await run(http(), { port })).toEqual({ kind: 'failure', output });
});

test('http: the path may have a query, and the request says who asks', async () => {
  let seen: IncomingMessage | undefined;
  const port = await web((request, response) => {
    seen = request;
    response.end();
  });
  await run(http('/healthz?full=1'), { port });
  expect(seen?.url).toBe('/healthz?full=1');
  expect(seen?.headers).toEqual({
    host: `127.0.0.1:${port}`,
    'user-agent': 'kube-probe/1.37',
    accept: '*/*',
    connection: 'close',
  });
});

test("http: a pod's headers win, and an empty Accept is none", async () => {
  let seen: IncomingMessage | undefined;
  const port = await web((request, response) => {
    seen = request;
    response.end();
  });
  const httpHeaders = [
    { name: 'Host', value: 'shop.example' },
    { name: 'Accept', value: '' },
    { name: 'X-One', value: 'a' },
    { name: 'X-One', value: 'b' },
    { name: 'User-Agent', value: 'mine' },
  ];
  await run(http('/', { httpHeaders }), { port });
  expect(seen?.headers).toEqual({
    host: 'shop.example',
    'user-agent': 'mine',
    'x-one': 'a, b',
    connection: 'close',
  });
});

test('http: a redirect on the host is followed, ten times at most', async () => {
  let asked = 0;
  const port = await web((request, response) => {
    asked += 1;
    const left = Number(request.url?.slice(1));
    if (left === 0) response.end('there');
    else response.writeHead(302, { location: `/${left - 1}` }).end();
  });
  expect(await run(http('/10'), { port })).toEqual({ kind: 'success', output: 'there' });
  expect(asked).toBe(11);
  const tooFar = await run(http('/11'), { port });
  expect(tooFar.kind).toBe('failure');
  expect(tooFar.output).toContain('stopped after 10 redirects');
});

test('http: a redirect to another host is not followed, and is a warning', async () => {
  const port = await web(
    (_, response) =>
      void response.writeHead(302, { location: 'http://elsewhere.invalid/' }).end('go'),
  );
  expect(await run(http(), { port })).toEqual({
    kind: 'warning',
    output: 'Probe terminated redirects, Response body: go',
  });
});

test('http: of a long body ten kilobytes are read', async () => {
  const port = await web((_, response) => void response.end('x'.repeat(1_000_000)));
  const { kind, output } = await run(http(), { port });
  expect([kind, output.length]).toEqual(['success', 10_240]);
});

test('http: no answer in time is a failure', async () => {
  const port = await web(() => {});
  expect(await run({ ...http(), timeoutSeconds: 0.05 }, { port })).toEqual({
    kind: 'failure',
    output: `Get "http://127.0.0.1:${port}/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
  });
});

test('http: a body that does not end in time is a failure, too', async () => {
  const port = await web((_, response) => void response.write('begun'));
  expect(await run({ ...http(), timeoutSeconds: 0.05 }, { port })).toMatchObject({
    kind: 'failure',
  });
});

test('http: nobody there is a failure', async () => {
  const port = await closedPort();
  expect(await run(http(), { port })).toEqual({
    kind: 'failure',
    output: `Get "http://127.0.0.1:${port}/": dial tcp 127.0.0.1:${port}: connect: connection refused`,
  });
});

test('http: a port name that the container does not have cannot be probed', async () => {
  const outcome = await run({ httpGet: { path: '/', port: 'admin', scheme: 'HTTP' } });
  expect(outcome).toMatchObject({ kind: 'error' });
  expect(outcome.output).toContain('"admin"');
});

test('tcp: a port that accepts is a success, another a failure', async () => {
  const port = await listening(createTcp());
  expect(await run({ tcpSocket: { port } })).toEqual({ kind: 'success', output: '' });
  const closed = await closedPort();
  expect(await run({ tcpSocket: { port: closed } })).toEqual({
    kind: 'failure',
    output: `dial tcp 127.0.0.1:${closed}: connect: connection refused`,
  });
});

async function closedPort(): Promise<number> {
  const server = createTcp();
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>(
    (resolve) =>
      void server.close(() => {
        resolve();
      }),
  );
  return port;
}

interface Asked {
  readonly path: string;
  readonly type: string;
  readonly body: string;
}

async function health(state: number | undefined, code = '0'): Promise<[number, Asked[]]> {
  const server = createHttp2();
  const asked: Asked[] = [];
  server.on('stream', (stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      const body = Buffer.concat(chunks).toString('hex');
      asked.push({ path: String(headers[':path']), type: String(headers['content-type']), body });
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc' },
        { waitForTrailers: true },
      );
      stream.on('wantTrailers', () => {
        stream.sendTrailers({ 'grpc-status': code, 'grpc-message': 'so it says' });
      });
      stream.end(state === undefined ? Buffer.alloc(0) : Buffer.from([0, 0, 0, 0, 2, 8, state]));
    });
  });
  return [await listening(server), asked];
}

const states = [
  { state: 1, code: '0', expected: 'success', output: 'service healthy' },
  {
    state: 2,
    code: '0',
    expected: 'failure',
    output: 'service unhealthy (responded with "NOT_SERVING")',
  },
  { state: undefined, code: '12', expected: 'failure', output: 'does not implement' },
  { state: undefined, code: '5', expected: 'failure', output: 'so it says' },
] as const;

test.each(states)('grpc: state $state with code $code is a $expected', async (row) => {
  const [port, asked] = await health(row.state, row.code);
  const outcome = await run({ grpc: { port, service: 'db' } });
  expect(outcome.kind).toBe(row.expected);
  expect(outcome.output).toContain(row.output);
  expect(asked).toEqual([
    { path: '/grpc.health.v1.Health/Check', type: 'application/grpc', body: '00000000040a026462' },
  ]);
});

test('grpc: nobody there is a failure', async () => {
  const port = await closedPort();
  const outcome = await run({ grpc: { port } });
  expect(outcome.kind).toBe('failure');
  expect(outcome.output).toContain(`failed to connect service "127.0.0.1:${port}" within 1s`);
});

function failing(code: Code): ExecSync {
  return async () => Promise.reject(new CriError('ExecSync', code, 'it failed', undefined));
}

const bytes = (text: string): Uint8Array => Buffer.from(text);

test.each([
  { exitCode: 0, kind: 'success' },
  { exitCode: 3, kind: 'failure' },
] as const)('exec: exit code $exitCode is a $kind', async ({ exitCode, kind }) => {
  const asked: unknown[] = [];
  const execSync: ExecSync = async ({ containerId, cmd, timeout }) => {
    asked.push([containerId, cmd, timeout]);
    return Promise.resolve({ stdout: bytes('out'), stderr: bytes('err'), exitCode });
  };
  const command = ['cat', '$(FILE)', '$(LATER)', '$$(FILE)', '$(NONE)'];
  const outcome = await run({ exec: { command } }, { execSync });
  expect(outcome).toEqual({ kind, output: 'outerr' });
  expect(asked).toEqual([['one', ['cat', '/tmp/x', '$(LATER)', '$(FILE)', '$(NONE)'], 1n]]);
});

test('exec: a command that takes too long is a failure', async () => {
  const execSync = failing(Code.DeadlineExceeded);
  const outcome = await run({ exec: { command: ['sleep', '9'] } }, { execSync });
  expect(outcome).toEqual({
    kind: 'failure',
    output: 'command timed out: "sleep 9" timed out after 1s',
  });
});

test('exec: a command that cannot be run is an error', async () => {
  const execSync = failing(Code.NotFound);
  expect(await run({ exec: { command: ['x'] } }, { execSync })).toMatchObject({ kind: 'error' });
});
