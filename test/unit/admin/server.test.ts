import { lstat, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Server as HttpServer } from 'node:http';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NoAgentError } from '../../../src/cli/admin-client.ts';
import { AgentClient } from '../../../src/cli/agent-client.ts';
import type { AskedFamily } from '../../../src/graph/journey.ts';
import { compileAll } from '../../../src/graph/compile.ts';
import { serveAdmin } from '../../../src/host/admin-server.ts';
import { AdminEndpoint } from '../../../src/proxy/admin/endpoint.ts';
import { adminHandler } from '../../../src/proxy/admin/handler.ts';
import type { AdminView } from '../../../src/proxy/admin/handler.ts';
import { desiredLines, readDesired } from '../../../src/proxy/admin/desired.ts';
import type { DesiredAnswer } from '../../../src/proxy/admin/desired.ts';
import type { StatusDocument } from '../../../src/proxy/admin/status-document.ts';
import { lowerAll } from '../../../src/backends/iptables/lower.ts';
import type { HttpHandler } from '../../../src/telemetry/http-server.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { ownFolder } from '../../support/own-folder.ts';
import { byKey, endpoint, nodeContext, servicePort } from '../../support/service-ports.ts';
import { VirtualClock } from '../proxy/virtual-clock.ts';

function answering(handler: HttpHandler): (server: HttpServer) => void {
  return (server) => void server.on('request', handler);
}

/** Job: what is asked at the admin socket is answered, refused in words, and holds nobody up. */
describe('the admin socket of an agent', () => {
  let folder: string;
  let path: string;
  let stop: AbortController;
  let running: Promise<void>;
  const warnings: string[] = [];
  const clock = new VirtualClock();
  const log = { ...silentLog, warn: (_: object, text: string) => void warnings.push(text) };
  const client = () => new AgentClient(path);
  const serve = async (view: AdminView): Promise<void> =>
    serveAdmin({ path, attach: answering(adminHandler(view)), log, clock }, stop.signal);

  beforeEach(() => {
    folder = ownFolder('swy-admin');
    path = join(folder, 'admin.sock');
    stop = new AbortController();
    warnings.length = 0;
    running = serve(fakeView);
  });
  afterEach(async () => {
    stop.abort();
    await running;
    await rm(folder, { recursive: true, force: true });
  });

  it('tells the status', async () => {
    await up(client());
    expect(await client().status()).toEqual(status);
  });

  it('explains, and passes on what is wrong with a question', async () => {
    await up(client());
    const query = { from: 'outside', to: 'web:80', output: 'text' };
    const { answer } = JSON.parse(await client().get('/v1/explain', query)) as { answer: string };
    expect(answer).toContain('10.96.0.10:80/TCP is the cluster IP of default/web');
    await expect(
      client().get('/v1/explain', { ...query, to: 'default/other:80' }),
    ).rejects.toMatchObject({
      code: 'usage',
      message: 'no Service default/other with a cluster IP is known to the agent',
    });
  });

  it('tells what is wanted whole, and that there is nothing', async () => {
    await up(client());
    const answer = readDesired(await client().get('/v1/desired', { family: 'ipv4' }));
    expect(answer).toMatchObject({ syncs: 3, isSettled: true });
    expect(textsOf(answer)).toEqual(textsOf(desired));
    await expect(client().get('/v1/desired', { family: 'ipv6' })).rejects.toThrow(
      'no rules are wanted for IPv6',
    );
  });

  it('names the version of an agent that does not know a question', async () => {
    await up(client());
    await expect(client().get('/v9/future')).rejects.toThrow(
      'the agent (version 1.2.3) does not know /v9/future',
    );
  });

  it('is made again where somebody removes it', async () => {
    await up(client());
    await rm(path);
    await clock.advance(5000);
    await up(client());
    expect(await client().status()).toEqual(status);
    expect(warnings).toEqual([]);
  });

  it('refuses what is no path at once', async () => {
    await up(client());
    const curl = connect(path);
    let answer = '';
    curl.setEncoding('utf8').on('data', (text: string) => (answer += text));
    curl.write('GET // HTTP/1.1\r\nHost: a\r\n\r\n');
    await expect.poll(() => answer).toContain('404 Not Found');
    curl.destroy();
  });

  it('lives on where one client cannot be let in', async () => {
    stop.abort();
    await running;
    stop = new AbortController();
    let server: Server | undefined;
    const answer = adminHandler(fakeView);
    const handler: HttpHandler = (request, response) => {
      ({ server } = request.socket as Socket & { readonly server: Server });
      answer(request, response);
    };
    running = serveAdmin({ path, attach: answering(handler), log, clock }, stop.signal);
    await up(client());
    for (const error of ['accept EMFILE', 'accept ENFILE']) server?.emit('error', new Error(error));
    await clock.advance(5000);
    expect(await client().status()).toEqual(status);
    expect(warnings).toEqual(['admin socket: accept EMFILE', 'admin socket: accept ENFILE']);
  });

  it('answers others while somebody does not read what he asked for', async () => {
    await up(client());
    const stuck = connect(path);
    await new Promise<void>((resolve) => void stuck.once('connect', resolve));
    stuck.pause();
    // far more answers than fit between the two
    stuck.write('GET /v1/desired?family=ipv4 HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(1000));
    expect(await client().status()).toEqual(status);
    expect(textsOf(readDesired(await client().get('/v1/desired', { family: 'ipv4' })))).not.toEqual(
      [],
    );
    stuck.destroy();
  });

  it('is had by one agent at a time, and by the next when that has ended', async () => {
    await up(client());
    const later = new AbortController();
    const second = serveAdmin(
      {
        path,
        attach: answering(adminHandler({ ...fakeView, status: () => ({ ...status, pid: 2 }) })),
        log,
        clock,
      },
      later.signal,
    );
    await expect.poll(() => warnings).toHaveLength(1);
    expect(warnings[0]).toContain('another process listens');
    await clock.advance(5000);
    expect((await client().status()).pid).toBe(1);
    expect(warnings).toHaveLength(1);
    stop.abort();
    await running;
    await expect(client().status()).rejects.toThrow(NoAgentError);
    await expect
      .poll(async () => {
        await clock.advance(5000);
        return client()
          .status()
          .then(
            ({ pid }) => pid,
            () => 0,
          );
      })
      .toBe(2);
    later.abort();
    await second;
  });
});

describe('where a process is asked', () => {
  it('outlasts the agent that answers', async () => {
    const folder = ownFolder('swy-admin');
    const path = join(folder, 'admin.sock');
    const socket = new AdminEndpoint({ clock: new VirtualClock(), log: silentLog });
    const client = new AgentClient(path);
    try {
      socket.answerFor(fakeView);
      socket.open(path);
      await up(client);
      const { ino } = await lstat(path);
      socket.answerFor({ ...fakeView, status: () => ({ ...status, pid: 2 }) });
      socket.open(path);
      expect((await client.status()).pid).toBe(2);
      expect((await lstat(path)).ino).toBe(ino);
    } finally {
      await socket.close();
      await rm(folder, { recursive: true, force: true });
    }
    await expect(client.status()).rejects.toThrow(NoAgentError);
  });

  it('is nowhere without a path', async () => {
    const socket = new AdminEndpoint({ clock: new VirtualClock(), log: silentLog });
    socket.open('');
    await expect(socket.close()).resolves.toBeUndefined();
  });
});

describe('what an agent wants, as lines', () => {
  it('is refused where it breaks off', () => {
    const lines = [...desiredLines(desired)];
    expect(() => readDesired(lines.slice(0, -1).join('\n'))).toThrow('breaks off');
  });
});

const ports = byKey([servicePort({ endpoints: [endpoint('10.244.1.5:8080')] })]);
const graph = compileAll(ports, nodeContext());
const asked: AskedFamily = { graph, servicePorts: ports, skipped: new Map() };
const desired: DesiredAnswer = {
  syncs: 3,
  isSettled: true,
  state: {
    variant: 'nft',
    rules: lowerAll(graph, {
      features: { hairpin: 'bpf', affinity: 'ipset', randomFully: true, comments: 'all' },
      masqueradeMark: 0x4000,
      localhostNodePorts: true,
      conntrackBeLiberal: false,
    }),
  },
};
const status = {
  version: '1.2.3',
  pid: 1,
  families: [],
} as Partial<StatusDocument> as StatusDocument;
const fakeView: AdminView = {
  version: '1.2.3',
  status: () => status,
  asked: (family) => (family === 'ipv4' ? asked : undefined),
  desired: (family) => (family === 'ipv4' ? desired : undefined),
};

function textsOf({ state: { rules } }: DesiredAnswer): readonly string[] {
  return [...rules.tables.nat.values()].flatMap(({ name, rules: list }) =>
    list.map(({ args, origin }) => `${name} ${args} ${origin?.name ?? ''}`),
  );
}

async function up(client: AgentClient): Promise<void> {
  await expect
    .poll(async () =>
      client.status().then(
        () => true,
        () => false,
      ),
    )
    .toBe(true);
}
