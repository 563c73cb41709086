/** Its one job: counters are read at the interval that was asked for, and no more often than they may cost. */
import { describe, expect, it } from 'vitest';
import { relayTraffic } from '../../../src/proxy/relay-traffic.ts';
import { ServiceTraffic, openServiceTraffic } from '../../../src/proxy/service-traffic.ts';
import type { TrafficSource } from '../../../src/proxy/service-traffic.ts';
import type { ServiceObject } from '../../../src/services/objects.ts';
import type { Log } from '../../../src/telemetry/log.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import type { RelayRow } from '../../../src/telemetry/relay-metrics.ts';
import type { Traffic } from '../../../src/telemetry/traffic-tally.ts';
import { VirtualClock } from './virtual-clock.ts';

const config = { what: 'connections', intervalMs: 10_000, series: 10, namespaces: [] } as const;

const web = {
  meta: { namespace: 'default', name: 'web' },
  ports: [
    { name: 'http', protocol: 'TCP', port: 80, nodePort: 0 },
    { name: '', protocol: 'UDP', port: 80, nodePort: 0 },
  ],
} as unknown as ServiceObject;

/** What the listeners of `default/web` have carried. */
function relayRow(connections: number, bytes: number, port = 'http'): RelayRow {
  return {
    namespace: 'default',
    service: 'web',
    port,
    protocol: 'TCP',
    connections,
    bytesIn: bytes,
    bytesOut: 2 * bytes,
    active: 0,
    dialFailures: {},
    retries: 0,
    refused: 0,
    evicted: 0,
  };
}

function running(tookMs = 0) {
  const clock = new VirtualClock();
  const warnings: string[] = [];
  const log: Log = { ...silentLog, warn: (_fields, text) => void warnings.push(text) };
  const traffic = new ServiceTraffic({ traffic: config, clock, log });
  const reads: number[] = [];
  let failure: Error | undefined;
  const source: TrafficSource = {
    name: 'rules',
    read: async () => {
      reads.push(clock.monotonic());
      if (tookMs > 0) await clock.sleep(tookMs);
      if (failure !== undefined) throw failure;
    },
  };
  traffic.watch(source);
  const stop = new AbortController();
  const ended = traffic.run(stop.signal);
  const fail = (error: Error | undefined): void => {
    failure = error;
  };
  return { clock, warnings, traffic, reads, fail, stop, ended };
}

describe('reading what is counted', () => {
  it('begins at once and comes every interval, until it is stopped', async () => {
    const { clock, reads, stop, ended, traffic } = running();
    await clock.advance(25_000);
    expect(reads).toEqual([0, 10_000, 20_000]);
    expect(traffic.lastReadMs).toBe(20_000);
    stop.abort();
    await ended;
  });

  it('takes no more than a twentieth of the time', async () => {
    const { clock, reads, stop, ended } = running(2000);
    await clock.advance(100_000);
    expect(reads).toEqual([0, 40_000, 80_000]);
    stop.abort();
    await clock.advance(2000);
    await ended;
  });

  it('goes on after a failure, which is told once and counted', async () => {
    const { clock, warnings, traffic, fail, stop, ended } = running();
    await clock.advance(1000);
    fail(new Error('no lock'));
    await clock.advance(30_000);
    expect(warnings).toEqual(['cannot read what rules have counted: no lock']);
    expect(traffic).toMatchObject({ failures: 3, lastReadMs: 0 });
    fail(undefined);
    await clock.advance(10_000);
    expect(traffic).toMatchObject({ failures: 3, lastReadMs: 40_000 });
    traffic.missed();
    expect(traffic).toMatchObject({ failures: 4, lastReadMs: 40_000 });
    stop.abort();
    await ended;
  });

  it('names the service ports of the Services that exist', () => {
    const { traffic, stop } = running();
    stop.abort();
    traffic.handler.added?.(web);
    traffic.add('default/web:http/TCP', { connections: 1 });
    traffic.add('default/web/UDP', { connections: 2 });
    expect(traffic.rows().map(({ connections }) => connections)).toEqual([1, 2, 0]);
    traffic.handler.removed?.(web);
    traffic.add('default/web/UDP', { connections: 4 });
    expect(traffic.rows().map(({ connections }) => connections)).toEqual([4]);
  });

  it('is for those who asked', () => {
    const options = { clock: new VirtualClock(), log: silentLog };
    expect(openServiceTraffic({ ...config, what: 'none' }, options)).toBeUndefined();
    expect(openServiceTraffic({ ...config, what: 'connections' }, options)?.hasBytes).toBe(false);
    expect(openServiceTraffic({ ...config, what: 'bytes' }, options)?.hasBytes).toBe(true);
  });
});

describe('the traffic of listeners', () => {
  it('is what their counters have grown by', async () => {
    const { signal } = new AbortController();
    const added: [string, Partial<Traffic>][] = [];
    let rows = [relayRow(3, 10), relayRow(1, 1, '')];
    const source = relayTraffic(() => rows, { add: (...each) => void added.push(each) });
    await source.read(signal);
    rows = [relayRow(5, 15), relayRow(1, 4, '')];
    await source.read(signal);
    rows = []; // the service port goes, and comes again
    await source.read(signal);
    rows = [relayRow(2, 7)];
    await source.read(signal);
    expect(added).toEqual([
      ['default/web:http/TCP', { connections: 3, received: 10, sent: 20 }],
      ['default/web/TCP', { connections: 1, received: 1, sent: 2 }],
      ['default/web:http/TCP', { connections: 2, received: 5, sent: 10 }],
      ['default/web/TCP', { connections: 0, received: 3, sent: 6 }],
      ['default/web:http/TCP', { connections: 2, received: 7, sent: 14 }],
    ]);
  });
});

function counting(): ServiceTraffic {
  return new ServiceTraffic({ traffic: config, clock: new VirtualClock(), log: silentLog });
}

describe('an agent that takes over', () => {
  it('goes on with what was counted, of service ports that exist still', () => {
    const [first, second] = [counting(), counting()];
    const api = { meta: { namespace: 'default', name: 'api' }, ports: web.ports } as ServiceObject;
    for (const service of [web, api]) first.handler.added?.(service);
    first.add('default/web:http/TCP', { connections: 5 });
    first.add('default/api:http/TCP', { connections: 7 });
    first.add('default/unknown/TCP', { connections: 1 });
    first.missed();
    second.handler.added?.(web);
    second.goOnFrom(first);
    second.add('default/web:http/TCP', { connections: 2 });
    expect(second.rows().map(({ service, connections }) => [service, connections])).toEqual([
      ['web', 7],
      ['_other', 1],
    ]);
    expect(second.failures).toBe(1);
  });
});
