// Events over real sockets: what is sent, and what each answer of the API server means.
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runProgram } from '../../../src/host/run-program.ts';
import { loadApiClient } from '../../../src/informer/api-client.ts';
import type { ApiClient } from '../../../src/informer/api-client.ts';
import { ApiEventSink } from '../../../src/informer/api-events.ts';
import type { WireEvent } from '../../../src/telemetry/events.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { startFakeApiServer } from '../../support/fake-api-server.ts';
import type { FakeApiServer } from '../../support/fake-api-server.ts';
import { ManualClock, until } from './widgets.ts';

const path = '/apis/events.k8s.io/v1/namespaces/ns1/events';
const { signal } = new AbortController();
const metadata = { namespace: 'ns1', name: 'web.0123' };
const event: WireEvent = {
  apiVersion: 'events.k8s.io/v1',
  kind: 'Event',
  metadata,
  eventTime: '2026-01-02T03:04:05.006000Z',
  reportingController: 'switchyard.io/proxy',
  reportingInstance: 'node-a',
  action: 'Bind',
  reason: 'AddressRefused',
  regarding: { apiVersion: 'v1', kind: 'Service', namespace: 'ns1', name: 'web', uid: '1' },
  note: 'ä "note"',
  type: 'Warning',
};
const series = { count: 2, lastObservedTime: '2026-01-02T03:05:05.006000Z' };

let server: FakeApiServer;
let clock: ManualClock;
let client: ApiClient;
let sink: ApiEventSink;

beforeEach(async () => {
  server = await startFakeApiServer();
  clock = new ManualClock();
  const ports = { log: silentLog, clock, env: {}, runProgram };
  const opened = await loadApiClient({ master: server.url, ...ports });
  client = opened;
  sink = new ApiEventSink(opened, clock);
});

afterEach(async () => {
  await client.close();
  await server.close();
});

describe('an Event', () => {
  it('is created, and its series merged into it', async () => {
    expect(await sink.create(event, signal)).toEqual({ kind: 'written' });
    expect(await sink.patchSeries(metadata, series, signal)).toEqual({ kind: 'written' });
    const [stored] = server.objects(path);
    expect(stored).toEqual({
      ...event,
      metadata: expect.objectContaining(metadata),
      series,
    });
    const sent = server.requests.map((each) => [
      each.method,
      each.path,
      each.headers['content-type'],
    ]);
    expect(sent).toEqual([
      ['POST', path, 'application/json'],
      ['PATCH', `${path}/web.0123`, 'application/merge-patch+json'],
    ]);
  });

  it('is known to be there already, or to be gone', async () => {
    expect(await sink.patchSeries(metadata, series, signal)).toEqual({ kind: 'gone' });
    await sink.create(event, signal);
    expect(await sink.create(event, signal)).toEqual({ kind: 'exists' });
  });
});

describe('a refusal', () => {
  it.each([
    [400, false],
    [403, false],
    [404, false],
    [422, false],
    [401, true],
    [429, true],
    [500, true],
    [503, true],
  ])('with %i is tried again: %j', async (status, retryable) => {
    server.inject({ on: 'create', type: 'status', status });
    expect(await sink.create(event, signal)).toMatchObject({ kind: 'failed', retryable });
  });

  it('names the rule that is missing', async () => {
    server.inject({ on: 'create', type: 'status', status: 403 });
    expect(await sink.create(event, signal)).toMatchObject({
      reason:
        'cannot create events: answered 403: injected 403; its ClusterRole needs the rule {apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}',
    });
  });

  it('says how long to wait', async () => {
    server.inject({ on: 'patch', type: 'status', status: 429, retryAfter: '7' });
    expect(await sink.patchSeries(metadata, series, signal)).toMatchObject({ retryAfterMs: 7000 });
  });

  it('of the credentials has them read again', async () => {
    const reloaded: string[] = [];
    const reloading = {
      server: server.url,
      send: async () => ({ status: 401, headers: {}, body: Readable.from([Buffer.from('{}')]) }),
      reloadCredentials: async () => void reloaded.push('again'),
    };
    await new ApiEventSink(reloading, clock).create(event, signal);
    expect(reloaded).toEqual(['again']);
  });
});

describe('silence', () => {
  it('of a server that is away is tried again', async () => {
    await server.down();
    expect(await sink.create(event, signal)).toMatchObject({ kind: 'failed', retryable: true });
  });

  it('is waited for ten seconds', async () => {
    server.inject({ on: 'create', type: 'freeze' });
    const answer = sink.create(event, signal);
    await until('asked', () => server.requests.length === 1);
    clock.advance(10_000);
    expect(await answer).toMatchObject({ kind: 'failed', retryable: true });
  });

  it('ends with the signal', async () => {
    server.inject({ on: 'create', type: 'freeze' });
    const stop = new AbortController();
    const answer = sink.create(event, stop.signal);
    await until('asked', () => server.requests.length === 1);
    stop.abort();
    await expect(answer).rejects.toThrow('aborted');
  });
});
