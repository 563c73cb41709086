// What is written to the API server, each verb as the server has to understand it.
import { json } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runProgram } from '../../../src/host/run-program.ts';
import { loadApiClient } from '../../../src/informer/api-client.ts';
import type { ApiClient, ApiWriter, WriteVerb } from '../../../src/informer/api-client.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { startFakeApiServer } from '../../support/fake-api-server.ts';
import type { FakeApiServer } from '../../support/fake-api-server.ts';
import { VirtualClock } from '../proxy/virtual-clock.ts';

let server: FakeApiServer;
let client: ApiClient & ApiWriter;
const pods = '/api/v1/namespaces/shop/pods';
const { signal } = new AbortController();

beforeEach(async () => {
  server = await startFakeApiServer();
  const clock = new VirtualClock();
  client = await loadApiClient({ master: server.url, log: silentLog, clock, env: {}, runProgram });
});

afterEach(async () => {
  await client.close();
  await server.close();
});

async function send(verb: WriteVerb, path: string, value: unknown): Promise<unknown> {
  const { status, body } = await client.send(verb, path, value, signal);
  return { status, body: await json(body) };
}

describe('a write to the API server', () => {
  const cases: readonly (readonly [WriteVerb, string, string])[] = [
    ['create', 'POST', 'application/json'],
    ['merge', 'PATCH', 'application/merge-patch+json'],
    ['strategicMerge', 'PATCH', 'application/strategic-merge-patch+json'],
    ['replace', 'PUT', 'application/json'],
    ['delete', 'DELETE', 'application/json'],
  ];

  it.each(cases)('to %s is a %s of %s', async (verb, method, type) => {
    await send(verb, `${pods}/web`, { metadata: {} });
    const [request] = server.requests;
    expect(request).toMatchObject({ method, path: `${pods}/web`, body: { metadata: {} } });
    expect(request?.headers['content-type']).toBe(type);
  });

  it('by merge keys leaves the elements alone that it does not name', async () => {
    const [ready, other] = [
      { type: 'Ready', status: 'False' },
      { type: 'shop/Paid', status: 'True' },
    ];
    server.put(pods, { metadata: { name: 'web' }, status: { conditions: [ready, other] } });
    const conditions = [{ type: 'Ready', status: 'True' }];
    await send('strategicMerge', `${pods}/web/status`, { status: { conditions } });
    expect(server.object(`${pods}/web`)).toMatchObject({
      status: { conditions: [{ type: 'Ready', status: 'True' }, other] },
    });
  });

  it('that replaces or deletes another object of the same name is a conflict', async () => {
    server.put(pods, { metadata: { name: 'web', uid: 'old' } });
    const replaced = await send('replace', `${pods}/web`, {
      metadata: { name: 'web', uid: 'new' },
    });
    expect(replaced).toMatchObject({ status: 409 });
    const deletion = { gracePeriodSeconds: 0, preconditions: { uid: 'new' } };
    expect(await send('delete', `${pods}/web`, deletion)).toMatchObject({ status: 409 });
    expect(server.objects(pods)).toHaveLength(1);
    await send('delete', `${pods}/web`, { ...deletion, preconditions: { uid: 'old' } });
    expect(server.objects('/api/v1/pods')).toEqual([]);
  });
});
