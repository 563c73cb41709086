// The annotations of a Service that say how load is spread, from the object to the pool of the rule graph.
import { describe, expect, it } from 'vitest';
import type { Pool } from '../../../src/graph/rule-graph.ts';
import { WireReader } from '../../../src/informer/wire-message.ts';
import { serviceKind } from '../../../src/services/service-kind.ts';
import { serviceWire } from '../../../src/services/wire-schemas.ts';
import { encodeMessage } from '../../support/wire-encoder.ts';
import { rawEndpoint, rawService, rawSlice, Scene } from '../../support/scene.ts';

const here = rawEndpoint('here', '10.244.1.5');
const elsewhere = rawEndpoint('elsewhere', '10.244.2.7');
const other = rawEndpoint('elsewhere', '10.244.2.8');

function service(annotations: Readonly<Record<string, unknown>>, spec = {}): unknown {
  const own = Object.entries(annotations).map(([key, value]) => [`switchyard.io/${key}`, value]);
  const others = { 'example.org/weights': 'none of ours' };
  return rawService(spec, { metadata: { annotations: { ...others, ...Object.fromEntries(own) } } });
}

function scene(annotations: Readonly<Record<string, unknown>>, spec = {}): Scene {
  return new Scene([service(annotations, spec)], [rawSlice([here, elsewhere, other])]);
}

function poolOf({ graph }: Scene): Pool | undefined {
  const [pool, ...more] = graph.pools.values();
  expect(more).toEqual([]);
  return pool;
}

const field = (name: string): string => `metadata.annotations[switchyard.io/${name}]`;

describe('weights', () => {
  it('are shares, by address, by node, and else 1', () => {
    const asked = scene({ weights: '10.244.1.5=5, node/node-2 = 2,' });
    expect(asked.problems).toEqual([]);
    expect(asked.sent('10.244.1.9', '10.96.0.41', 80)).toBe(
      '10.244.1.5:8080 5/9, 10.244.2.7:8080 2/9, 10.244.2.8:8080 2/9',
    );
    expect(scene({ weights: '10.244.2.7=2' }).sent('10.244.1.9', '10.96.0.41', 80)).toBe(
      '10.244.1.5:8080 1/4, 10.244.2.7:8080 1/2, 10.244.2.8:8080 1/4',
    );
  });

  it('of an address count before those of its node', () => {
    const asked = scene({ weights: 'node/node-2=4,10.244.2.8=3,node/node-1=1' });
    expect(asked.sent('10.244.1.9', '10.96.0.41', 80)).toBe(
      '10.244.1.5:8080 1/8, 10.244.2.7:8080 1/2, 10.244.2.8:8080 3/8',
    );
  });

  it('take an IPv6 address in any spelling', () => {
    const { object, problems } = serviceKind.slim(service({ weights: 'FD00:0::5=65535' }));
    expect(problems).toEqual([]);
    expect([...(object?.balancing?.weights ?? [])]).toEqual([['fd00::5', 65_535]]);
  });
});

describe('scheduler, flags and drain time', () => {
  it('stand on the pool', () => {
    const asked = scene({
      scheduler: ' mh ',
      'scheduler-flags': 'mh-port, mh-fallback,mh-port',
      'drain-seconds': '0',
    });
    expect(asked.problems).toEqual([]);
    expect(poolOf(asked)).toMatchObject({
      scheduling: { scheduler: 'mh', flags: ['mh-fallback', 'mh-port'] },
      drainSeconds: 0,
    });
  });

  it.each([
    ['1ms', 1],
    [' 250ms ', 250],
    ['30s', 30_000],
    ['2m', 120_000],
    ['24h', 86_400_000],
  ])('a UDP time-out of %s is %i ms', (text, udpTimeoutMs) => {
    const asked = scene({ 'udp-timeout': text, 'proxy-protocol': 'v2' });
    expect(asked.problems).toEqual([]);
    expect(poolOf(asked)).toMatchObject({ udpTimeoutMs, proxyProtocol: true });
  });

  it('tell pools apart that are else equal', () => {
    const pools = [
      {},
      { scheduler: 'mh' },
      { scheduler: 'mh', 'scheduler-flags': 'mh-port' },
      { scheduler: 'sh' },
      { 'drain-seconds': '30' },
      { 'drain-seconds': '31' },
      { 'udp-timeout': '30s' },
      { 'udp-timeout': '31s' },
      { 'proxy-protocol': 'v2' },
      { weights: '10.244.1.5=2' },
    ].map((annotations) => poolOf(scene(annotations))?.id);
    expect(new Set(pools).size).toBe(pools.length);
  });

  it('are not there where nothing asks for them', () => {
    const { object } = serviceKind.slim(rawService());
    expect(Object.keys(object ?? {})).not.toContain('balancing');
    const [port] = scene({}).ports;
    expect(Object.keys(port ?? {})).not.toContain('balancing');
    expect(Object.keys(poolOf(scene({})) ?? {})).toEqual(['id', 'endpoints', 'affinity']);
  });

  it('come in the binary form of a list too', () => {
    const raw = service({ scheduler: 'sh', weights: 'node/a=7' }) as Readonly<
      Record<string, unknown>
    >;
    const read = new WireReader(encodeMessage(serviceWire, raw)).message(serviceWire);
    const { object, problems } = serviceKind.slim(read);
    expect(problems).toEqual([]);
    expect(object?.balancing).toEqual({
      scheduling: { scheduler: 'sh', flags: [] },
      weights: new Map([['node/a', 7]]),
    });
  });
});

describe('what is not understood is reported, and the default is used', () => {
  const weightForm = 'expected ADDRESS=WEIGHT or node/NAME=WEIGHT with a weight of 1 to 65535, got';

  it.each<[Readonly<Record<string, unknown>>, readonly string[]]>([
    [
      { scheduler: 'WRR' },
      [
        `${field('scheduler')}: expected one of rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, mh, ovf, got "WRR"`,
      ],
    ],
    [
      { scheduler: 'sh', 'scheduler-flags': 'mh-port' },
      [`${field('scheduler-flags')}: mh-port needs switchyard.io/scheduler: mh`],
    ],
    [
      { 'scheduler-flags': 'sh-port' },
      [`${field('scheduler-flags')}: sh-port needs switchyard.io/scheduler: sh`],
    ],
    [
      { scheduler: 'mh', 'scheduler-flags': 'port' },
      [
        `${field('scheduler-flags')}: expected mh-fallback, mh-port, sh-fallback, sh-port, got "port"`,
      ],
    ],
    [{ weights: 'web-1=2' }, [`${field('weights')}: ${weightForm} "web-1=2"`]],
    [{ weights: '10.244.1.5=0' }, [`${field('weights')}: ${weightForm} "10.244.1.5=0"`]],
    [{ weights: '10.244.1.5=65536' }, [`${field('weights')}: ${weightForm} "10.244.1.5=65536"`]],
    [{ weights: '10.244.1.5=1.5' }, [`${field('weights')}: ${weightForm} "10.244.1.5=1.5"`]],
    [{ weights: '10.244.1.5' }, [`${field('weights')}: ${weightForm} "10.244.1.5"`]],
    [{ weights: 'node/=3' }, [`${field('weights')}: ${weightForm} "node/=3"`]],
    [
      { weights: '10.244.1.5=1,10.244.1.5=2' },
      [`${field('weights')}: 10.244.1.5 has a weight already`],
    ],
    [{ weights: 3 }, [`${field('weights')}: expected a text, got 3`]],
    [{ 'drain-seconds': '30s' }, [`${field('drain-seconds')}: expected 0 to 86400, got "30s"`]],
    [{ 'drain-seconds': '86401' }, [`${field('drain-seconds')}: expected 0 to 86400, got "86401"`]],
    [
      { 'udp-timeout': '0s' },
      [`${field('udp-timeout')}: expected 1ms to 24h, such as 250ms or 30s, got "0s"`],
    ],
    [
      { 'udp-timeout': '30' },
      [`${field('udp-timeout')}: expected 1ms to 24h, such as 250ms or 30s, got "30"`],
    ],
    [
      { 'udp-timeout': '1.5s' },
      [`${field('udp-timeout')}: expected 1ms to 24h, such as 250ms or 30s, got "1.5s"`],
    ],
    [
      { 'udp-timeout': '25h' },
      [`${field('udp-timeout')}: expected 1ms to 24h, such as 250ms or 30s, got "25h"`],
    ],
    [
      { 'udp-timeout': '-1s' },
      [`${field('udp-timeout')}: expected 1ms to 24h, such as 250ms or 30s, got "-1s"`],
    ],
    [{ 'proxy-protocol': 'v1' }, [`${field('proxy-protocol')}: expected v2, got "v1"`]],
    [
      { weight: '10.244.1.5=2' },
      [
        `${field('weight')}: is not read; known are switchyard.io/scheduler, switchyard.io/scheduler-flags, switchyard.io/weights, switchyard.io/drain-seconds, switchyard.io/udp-timeout, switchyard.io/proxy-protocol`,
      ],
    ],
  ])('%j', (annotations, problems) => {
    const asked = scene(annotations);
    expect(asked.problems).toEqual(problems);
    expect(asked.sent('10.244.1.9', '10.96.0.41', 80)).toBe(
      '10.244.1.5:8080 1/3, 10.244.2.7:8080 1/3, 10.244.2.8:8080 1/3',
    );
    expect(poolOf(asked)?.drainSeconds).toBeUndefined();
    expect(poolOf(asked)?.udpTimeoutMs).toBeUndefined();
    expect(poolOf(asked)?.proxyProtocol).toBeUndefined();
    expect(poolOf(asked)?.scheduling?.flags ?? []).toEqual([]);
  });

  it('and what stands beside it counts', () => {
    const asked = scene({ weights: 'x=9,10.244.1.5=2', scheduler: 'none', 'drain-seconds': '9' });
    expect(asked.problems).toHaveLength(2);
    expect(poolOf(asked)).toMatchObject({ drainSeconds: 9, endpoints: [{ weight: 2 }, {}, {}] });
  });
});
