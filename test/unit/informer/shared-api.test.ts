// One connection for several parts of a process: what is asked of the server for all of them, and who is told what.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runProgram } from '../../../src/host/run-program.ts';
import { connectDirectly } from '../../../src/informer/api-connection.ts';
import type { ApiConnection, ConnectApi } from '../../../src/informer/api-connection.ts';
import { Informer } from '../../../src/informer/informer.ts';
import { within } from '../../../src/informer/kind.ts';
import type { Kind } from '../../../src/informer/kind.ts';
import { SharedApi } from '../../../src/informer/shared-api.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { startFakeApiServer } from '../../support/fake-api-server.ts';
import type { FakeApiServer } from '../../support/fake-api-server.ts';
import { ManualClock, rawWidget, recorder, until, widgetKind, WIDGETS } from './widgets.ts';
import type { Widget } from './widgets.ts';

const { labelSelector: _none, within: _wider, ...others } = widgetKind;
/** Of whatever label. */
const anyKind: Kind<Widget & { readonly hidden: boolean }> = {
  ...others,
  slim: (raw) => {
    const { object, problems } = widgetKind.slim(raw);
    const hidden = widgetKind.selects?.(raw) === false;
    return { object: object && { ...object, hidden }, problems };
  },
};
const shownKind: Kind<Widget> = {
  ...widgetKind,
  within: within(anyKind, (each) => (each.hidden ? undefined : each)),
};
const allKind: Kind<Widget> = { ...anyKind, within: within(anyKind, (each: Widget) => each) };

let server: FakeApiServer;
let folder: string;
let kubeconfig: string;
let direct: ConnectApi;
let connects: number;
let ends: (() => Promise<unknown>)[];

beforeEach(async () => {
  server = await startFakeApiServer();
  folder = mkdtempSync(join(tmpdir(), 'switchyard-shared-api-'));
  kubeconfig = writeKubeconfig('one');
  connects = 0;
  ends = [];
  const clock = new ManualClock();
  const connect = connectDirectly({ clock, random: () => 0.5, env: {}, runProgram });
  direct = async (...given) => {
    connects++;
    return connect(...given);
  };
});

afterEach(async () => {
  for (const end of ends.toReversed()) await end();
  await server.close();
  rmSync(folder, { recursive: true });
});

function writeKubeconfig(name: string): string {
  const file = join(folder, `${name}.json`);
  const value = {
    'current-context': 'x',
    clusters: [{ name: 'x', cluster: { server: server.url } }],
    users: [{ name: 'x', user: {} }],
    contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
  };
  writeFileSync(file, JSON.stringify(value));
  return file;
}

async function connected(
  connect: ConnectApi,
  settings: Parameters<ConnectApi>[0] = { kubeconfig },
  onRequest?: () => void,
): Promise<ApiConnection> {
  const use = { log: silentLog, ...(onRequest && { onRequest }) };
  const connection = await connect(settings, use);
  ends.push(async () => connection.close());
  return connection;
}

function watch(connection: ApiConnection, kind: Kind<Widget>) {
  const { told, handler } = recorder();
  const source = connection.source(kind);
  const informer = new Informer({ source, handlers: [handler], log: silentLog, name: 'widgets' });
  const stop = new AbortController();
  const done = informer.start(stop.signal);
  const end = async (): Promise<void> => {
    stop.abort();
    await done;
  };
  ends.push(end);
  return { told, end };
}

const asked = (): string[] =>
  server.requests.map(({ query }) => `${query['watch'] ?? 'list'} ${query['labelSelector'] ?? ''}`);

describe('parts of one kind, over a connection that is shared', () => {
  it('are listed and watched once, and each is told its part', async () => {
    server.put(WIDGETS, rawWidget('a', 'red'));
    server.put(WIDGETS, rawWidget('b', 'blue', { labels: { hidden: '' } }));
    const shared = new SharedApi({ kubeconfig }, direct);
    const shown = watch(await connected(shared.connect), shownKind);
    const all = watch(await connected(shared.connect), allKind);
    await until('both are told', () => shown.told.length === 2 && all.told.length === 3);
    expect(shown.told).toEqual(['+a:red', 'synced']);
    expect(all.told).toEqual(['+a:red', '+b:blue', 'synced']);
    await until('it is watched', () => server.watchers(WIDGETS) === 1);
    server.put(WIDGETS, rawWidget('a', 'red', { labels: { hidden: '' } }));
    server.put(WIDGETS, rawWidget('b', 'green'));
    await until('both are told', () => shown.told.length === 4 && all.told.length === 5);
    expect(shown.told.slice(2)).toEqual(['-a', '+b:green']);
    expect(all.told.slice(3)).toEqual(['a:red>red', 'b:blue>green']);
    expect([asked(), connects]).toEqual([['list ', 'true '], 1]);
  });

  it('are still known to a part that comes again while the server is away', async () => {
    server.put(WIDGETS, rawWidget('a', 'red'));
    const shared = new SharedApi({ kubeconfig }, direct);
    const lasting = watch(await connected(shared.connect), allKind);
    const first = watch(await connected(shared.connect), shownKind);
    await until('both are told', () => first.told.length === 2 && lasting.told.length === 2);
    await first.end();
    await server.down();
    const again = watch(await connected(shared.connect), shownKind);
    expect(again.told).toEqual(['+a:red', 'synced']);
    await server.up();
  });

  it('are not watched in a wider way by one who is alone', async () => {
    const shown = watch(await connected(direct), shownKind);
    await until('it is listed', () => shown.told.length === 1);
    expect(asked()[0]).toBe('list !hidden');
  });
});

describe('a connection that is shared', () => {
  it('is another one for other credentials', async () => {
    const shared = new SharedApi({ kubeconfig }, direct);
    await connected(shared.connect);
    const other = await connected(shared.connect, { kubeconfig: writeKubeconfig('other') });
    const shown = watch(other, shownKind);
    await until('it is listed', () => shown.told.length === 1);
    expect([connects, asked()[0]]).toEqual([2, 'list !hidden']);
  });

  it('tells each part of each request, and once', async () => {
    const told: string[] = [];
    const [a, b] = ['a', 'b'].map((name) => () => void told.push(name));
    const shared = new SharedApi({ kubeconfig }, direct);
    const connection = await connected(shared.connect, { kubeconfig }, a);
    const again = await shared.connect(
      { kubeconfig },
      { log: silentLog, ...(a && { onRequest: a }) },
    );
    await connected(shared.connect, { kubeconfig }, b);
    const get = async (): Promise<void> => {
      const { body } = await connection.client.get(WIDGETS, {}, AbortSignal.timeout(4000));
      body.resume();
    };
    await get();
    expect(told.toSorted()).toEqual(['a', 'b']);
    await again.close();
    await get();
    expect(told.toSorted()).toEqual(['a', 'a', 'b', 'b']);
  });

  it('is there until the last part leaves it, and made anew then', async () => {
    const shared = new SharedApi({ kubeconfig }, direct);
    const settings = { kubeconfig: join(folder, '.', 'one.json') };
    const a = await shared.connect(settings, { log: silentLog });
    const b = await connected(shared.connect);
    expect(a.client).toBe(b.client);
    await a.close();
    const shown = watch(b, shownKind);
    await until('it answers', () => shown.told.length === 1);
    await shown.end();
    await b.close();
    const c = await connected(shared.connect);
    expect([c.client === b.client, connects]).toEqual([false, 2]);
  });

  it('fails for all who ask while it does, and can be asked for again', async () => {
    const missing = join(folder, 'later.json');
    const shared = new SharedApi({ kubeconfig: missing }, direct);
    const ask = async (): Promise<unknown> => connected(shared.connect, { kubeconfig: missing });
    const answers = await Promise.allSettled([ask(), ask()]);
    expect(answers.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    writeKubeconfig('later');
    await ask();
    expect(connects).toBe(2);
  });
});
