// What the proxy lists and watches, and what it can do without.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runProgram } from '../../../src/host/run-program.ts';
import { loadApiClient } from '../../../src/informer/api-client.ts';
import { ApiSource } from '../../../src/informer/api-source.ts';
import type { InformerHandler } from '../../../src/informer/source.ts';
import { ObjectInformers } from '../../../src/proxy/object-informers.ts';
import { ownNode } from '../../../src/proxy/own-node.ts';
import type { ObjectSources } from '../../../src/proxy/sources.ts';
import { startFakeApiServer } from '../../support/fake-api-server.ts';
import type { FakeApiServer } from '../../support/fake-api-server.ts';
import { rawService } from '../../support/scene.ts';
import { ManualClock, recordingLog, until } from '../informer/widgets.ts';

const serviceCidrs = '/apis/networking.k8s.io/v1/servicecidrs';
const random = (): number => 0;

let server: FakeApiServer;
let stop: AbortController;

beforeEach(async () => {
  server = await startFakeApiServer();
  stop = new AbortController();
});

afterEach(async () => {
  stop.abort();
  await server.close();
});

describe('an API server without ServiceCIDRs', () => {
  it.each([404, 403])('which answers %i, tells all else, and is asked again', async (status) => {
    server.put('/api/v1/services', rawService() as never);
    server.inject({ on: 'list', path: serviceCidrs, type: 'status', status, times: 2 });
    const clock = new ManualClock();
    const { log, lines } = recordingLog();
    const client = await loadApiClient({ master: server.url, log, clock, env: {}, runProgram });
    const sources: ObjectSources = {
      server: server.url,
      source: (kind) => new ApiSource({ client, kind, clock, random, log }),
      events: undefined,
      close: async () => client.close(),
    };
    const told: string[] = [];
    const telling = (what: string): InformerHandler<never> => ({
      added: () => void told.push(`+ ${what}`),
      synced: () => void told.push(what),
    });
    const informers = new ObjectInformers({
      sources,
      ownNode: ownNode(sources, 'node-a'),
      nodeHandler: telling('nodes'),
      serviceCidrHandler: telling('servicecidrs'),
      serviceHandlers: [telling('events')],
      sliceHandlers: [],
      consumers: [{ services: telling('services'), slices: telling('slices') }],
      clock,
      log,
    });
    const running = informers.run(stop.signal);
    await until('all else is listed', () => told.length === 6);
    expect(told.toSorted()).toEqual(
      ['+ events', '+ services', 'events', 'nodes', 'services', 'slices'].toSorted(),
    );
    await until(
      'ServiceCIDRs are listed',
      () => told.includes('servicecidrs'),
      () => clock.pass(),
    );
    const refusals = lines.filter((line) => line.includes('cannot list servicecidrs'));
    expect(refusals.map((line) => line.split(':')[0])).toEqual(['warn', 'debug']);
    stop.abort();
    await running;
    await client.close();
  });
});
