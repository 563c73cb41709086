// ps, logs, exec and status ask a kubelet at its admin socket: what they send, what they print, how they end.
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../../../src/clock.ts';
import { KubeletClient } from '../../../../src/cli/kubelet-client.ts';
import { FrameReader, dataFrames } from '../../../../src/cli/exec/spdy-frames.ts';
import { main } from '../../../../src/cli/main.ts';
import { serveAdmin } from '../../../../src/host/admin-server.ts';
import { AdminRoutes } from '../../../../src/kubelet/admin/admin-routes.ts';
import { kubeletStatus } from '../../../../src/kubelet/admin/kubelet-status.ts';
import { byName, podEntry } from '../../../../src/kubelet/admin/pod-entry.ts';
import type { PodsDocument } from '../../../../src/kubelet/admin/pods-document.ts';
import { Exchanges } from '../../../../src/kubelet/server/exchanges.ts';
import type { Exchange } from '../../../../src/kubelet/server/routes.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { until } from '../../informer/widgets.ts';
import { pod, running, runningPod } from '../support/pods.ts';

let folder = '';
let path = '';
let stop = new AbortController();
let serving: Promise<void> = Promise.resolve();
let waitsFor: string | null = null;
let problems: readonly string[] = [];
let isStale = false;
const asked: string[] = [];
/** What is done with a connection that was asked for. */
let act: (exchange: Exchange) => Promise<void> = async () => {};

function podsDocument(): PodsDocument {
  const status = runningPod(running({ ready: true }));
  const pods = ['web-n1', 'db-n1'].map((name) =>
    podEntry({ pod: { ...pod({}, { name }), status }, runtime: undefined, isEnding: false }),
  );
  return {
    now: '2026-01-01T00:00:10.000Z',
    node: 'n1',
    waitsFor,
    pods: pods.toSorted(byName),
    sources: [
      {
        name: 'http',
        place: 'http://a/b',
        complete: true,
        stale: isStale,
        refused: [{ what: 'items[0] (default/x)', reason: 'is left out: no' }],
      },
    ],
  };
}

const routes = new AdminRoutes({
  version: '1.2.3',
  pods: podsDocument,
  status: () =>
    kubeletStatus(
      {
        version: '1.2.3',
        pid: 7,
        started: '2026-01-01T00:00:00.000Z',
        runtime: { endpoint: 'unix:///c', version: 'containerd://1.7' },
        addresses: ['10.0.0.1'],
        isAlive: true,
        problems,
      },
      podsDocument(),
    ),
  logs: {
    async answer({ url, response, request }) {
      asked.push(`${url.pathname}${url.search} ${request.socket.timeout}`);
      response.writeHead(200).write('one\n');
      response.end('\u001B[31mtwo\u001B[0m\n');
      return Promise.resolve();
    },
  },
  streams: {
    async answer(verb, exchange) {
      asked.push(`${verb} ${exchange.url.pathname}${exchange.url.search}`);
      await act(exchange);
    },
  },
});

beforeEach(async () => {
  folder = ownFolder('swy-kubelet');
  path = join(folder, 'kubelet.sock');
  stop = new AbortController();
  asked.length = 0;
  waitsFor = null;
  problems = [];
  isStale = false;
  const exchanges = new Exchanges({ routes, log: silentLog });
  stop.signal.addEventListener('abort', () => exchanges.stop());
  const attach: Parameters<typeof serveAdmin>[0]['attach'] = (server) => exchanges.attach(server);
  serving = serveAdmin({ path, attach, log: silentLog, clock: systemClock }, stop.signal);
  let isUp = false;
  const look = async (): Promise<void> => {
    isUp = await new KubeletClient(path).pods().then(
      () => true,
      () => false,
    );
  };
  await until(
    'it answers',
    () => isUp,
    () => void look(),
  );
});

afterEach(async () => {
  stop.abort();
  await serving;
  await rm(folder, { recursive: true, force: true });
});

/** Runs a command, with an input that does not end by itself. */
async function run(...words: readonly string[]) {
  const said = { out: '', err: '' };
  const streams = {
    stdin: new PassThrough(),
    stdout: new PassThrough(),
    stderr: new PassThrough(),
  };
  const [name = '', ...rest] = words;
  streams.stdin.write('input');
  const status = await main(['node', 'main.ts', name, `--admin-socket=${path}`, ...rest], {
    stdout: (text) => void (said.out += text),
    stderr: (text) => void (said.err += text),
    stdin: async () => '',
    streams,
    env: {},
    signal: new AbortController().signal,
  });
  const raw = [streams.stdout, streams.stderr].map((each) => String(each.read() ?? ''));
  return { status, ...said, raw };
}

describe('ps', () => {
  test('lists pods sorted, and what is not run', async () => {
    const { status, out } = await run('ps');
    expect(status).toBe(0);
    expect(out).toMatch(/^NAME +READY[^]*\nshop\/db-n1 +1\/1 +Running[^]*\nshop\/web-n1 /);
    expect(out).toContain('http://a/b: items[0] (default/x) is left out: no\n');
    expect(JSON.parse((await run('ps', '-o', 'json')).out)).toEqual(podsDocument());
  });

  test('ends with 1 where nothing is run yet, and with 2 where nobody answers', async () => {
    waitsFor = 'containerd is away';
    expect(await run('ps')).toMatchObject({
      status: 1,
      out: expect.stringContaining('no pods are run yet: containerd is away') as string,
    });
    path = join(folder, 'none.sock');
    const { status, err } = await run('ps');
    expect([status, err]).toEqual([2, expect.stringContaining('start it (switchyard kubelet)')]);
    path = join(folder, 'kubelet.sock');
  });
});

describe('what is asked of the other half of a node', () => {
  test.for([['explain', 'pod', 'default/web:80'], ['diff']] as const)(
    '%s says that it is the kubelet that answers',
    async (words) => {
      const { status, err } = await run(...words);
      expect(status).toBe(2);
      expect(err).toContain(`the kubelet answers at ${path}, and the proxy is asked`);
      expect(err).toContain("name the proxy's own socket by --admin-socket");
    },
  );

  test.for([['ps'], ['logs', 'web'], ['exec', 'web', '--', 'true']] as const)(
    '%s says that it is the proxy that answers',
    async (words) => {
      path = join(folder, 'proxy.sock');
      const proxy = createServer((request, response) => {
        response.statusCode = request.url === '/v1/status' ? 200 : 404;
        const error = { code: 'missing', message: 'expected GET of something else' };
        response.end(JSON.stringify(request.url === '/v1/status' ? { families: [] } : { error }));
      });
      await once(proxy.listen(path), 'listening');
      try {
        const { err } = await run(...words);
        expect(err).toContain(`the proxy answers at ${path}, and the kubelet is asked`);
      } finally {
        proxy.close();
        await once(proxy, 'close');
      }
    },
  );
});

describe('logs', () => {
  test('prints what is said as it is, and asks as it is asked', async () => {
    const { status, raw } = await run(
      'logs',
      'web',
      '-f',
      '--tail=3',
      '--since=90500ms',
      '--timestamps',
    );
    expect([status, raw[0]]).toEqual([0, 'one\n\u001B[31mtwo\u001B[0m\n']);
    // Whoever follows may be silent for long: no time-out of the socket holds.
    expect(asked).toEqual([
      '/logs/shop/web-n1/app?follow=true&timestamps=true&tailLines=3&sinceSeconds=91 0',
    ]);
  });
});

/** As a runtime that says something, and ends with a code. */
function ends(code: string): typeof act {
  return async ({ take, request }) => {
    asked.push(String(request.headers['x-stream-protocol-version']));
    if (take === undefined) throw new Error('no upgrade');
    const { socket } = take();
    const head = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n';
    socket.write(`${head}X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n`);
    const reader = new FrameReader();
    let input = '';
    await new Promise<void>((resolve) => {
      socket.on('data', (chunk: Buffer) => {
        for (const frame of reader.read(chunk))
          if (frame.kind === 'data') input += frame.data.toString();
        if (input === 'input') resolve();
      });
    });
    const failure = {
      reason: 'NonZeroExitCode',
      details: { causes: [{ reason: 'ExitCode', message: code }] },
    };
    for (const [stream, text] of [
      [5, 'out'],
      [7, 'err'],
      [1, JSON.stringify(failure)],
    ] as const)
      for (const part of dataFrames(stream, Buffer.from(text), true)) socket.write(part);
  };
}

describe('exec', () => {
  test('passes words on as they are, and the exit code back', async () => {
    act = ends('42');
    const { status, raw } = await run('exec', '-i', 'shop/web-n1', '--', 'sh', '-c', 'a b & c=-d');
    expect([status, raw]).toEqual([42, ['out', 'err']]);
    const query = new URLSearchParams(asked[0]?.split('?')[1]);
    expect(asked[0]?.split('?')[0]).toBe('exec /exec/shop/web-n1/app');
    expect(asked[1]).toContain('v4.channel.k8s.io');
    expect(query.getAll('command')).toEqual(['sh', '-c', 'a b & c=-d']);
    expect(Object.fromEntries(query)).toMatchObject({ input: '1', output: '1', error: '1' });
  });

  test('says what the agent says where it is refused', async () => {
    act = async ({ response }) => void response.writeHead(500).end('container not found ("app")');
    const { status, err } = await run('exec', 'web', '--', 'true');
    expect([status, err]).toEqual([1, 'error: the agent says: container not found ("app")\n']);
  });
});

describe('status', () => {
  test('tells of the kubelet, in words and in JSON', async () => {
    const { status, out } = await run('status');
    expect(status).toBe(0);
    expect(out).toBe(`\
kubelet
  state    healthy
  agent    Switchyard 1.2.3, process 7, up 10 s
  node     n1 (10.0.0.1)
  runtime  containerd://1.7 (unix:///c)
  pods     2 of 2 ready
  from     http://a/b (URL), 1 not run: switchyard ps says why
`);
    const { kubelet } = JSON.parse((await run('status', '-o', 'json')).out) as { kubelet: object };
    expect(kubelet).toMatchObject({
      state: 'healthy',
      pods: { total: 2, byStatus: { Running: 2 } },
    });
  });

  test('ends with 1 where it is not as it should be', async () => {
    problems = ['container runtime is down'];
    const { status, out } = await run('status');
    expect([status, out]).toEqual([
      1,
      expect.stringContaining('unhealthy: container runtime is down'),
    ]);
    problems = [];
    isStale = true;
    expect((await run('status')).status).toBe(1);
  });
});

test('what it does not know is refused with its version', async () => {
  await expect(new KubeletClient(path).get('/v1/explain')).rejects.toThrow(
    'the agent (version 1.2.3) does not know /v1/explain',
  );
});
