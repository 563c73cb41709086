import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { EndpointSliceObject, SliceObjectEndpoint } from '../../../src/services/objects.ts';
import { mergeSlices } from '../../../src/services/slice-cache.ts';
import { hostPort } from '../../../src/ip/address.ts';

function pod(address: string, fields: Partial<SliceObjectEndpoint> = {}): SliceObjectEndpoint {
  return {
    addresses: [address],
    ready: undefined,
    serving: undefined,
    terminating: undefined,
    nodeName: undefined,
    zoneHints: [],
    nodeHints: [],
    ...fields,
  };
}

function slice(
  name: string,
  endpoints: readonly SliceObjectEndpoint[],
  fields: Partial<EndpointSliceObject> = {},
): EndpointSliceObject {
  return {
    meta: { namespace: 'default', name, uid: '', createdAtMs: 0 },
    serviceName: 'web',
    addressType: 'IPv4',
    ports: [{ name: '', port: 80, protocol: 'TCP' }],
    endpoints,
    triggerTimeMs: undefined,
    ...fields,
  };
}

const draining = { ready: false, serving: true, terminating: true };

const cases: readonly {
  readonly name: string;
  readonly slices: readonly EndpointSliceObject[];
  readonly expected: readonly string[];
}[] = [
  {
    name: 'an endpoint of two slices is used once',
    slices: [
      slice('a', [pod('10.0.0.1'), pod('10.0.0.2')]),
      slice('b', [pod('10.0.0.2'), pod('10.0.0.3')]),
    ],
    expected: ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80'],
  },
  {
    name: 'the same address on two ports is two endpoints',
    slices: [
      slice('a', [pod('10.0.0.1')]),
      slice('b', [pod('10.0.0.1')], { ports: [{ name: '', port: 81, protocol: 'TCP' }] }),
    ],
    expected: ['10.0.0.1:80', '10.0.0.1:81'],
  },
  {
    name: 'endpoints are sorted bytewise by ip:port',
    slices: [slice('a', [pod('10.0.1.2'), pod('10.0.1.1'), pod('10.0.1.10')])],
    expected: ['10.0.1.10:80', '10.0.1.1:80', '10.0.1.2:80'],
  },
  {
    name: 'only the first address of an endpoint is used, and none of an empty one',
    slices: [
      slice('a', [pod('', { addresses: [] }), pod('', { addresses: ['10.0.0.1', '10.0.0.2'] })]),
    ],
    expected: ['10.0.0.1:80'],
  },
  {
    name: 'an address of the other family is left out',
    slices: [slice('a', [pod('fd00::1'), pod('10.0.0.1')])],
    expected: ['10.0.0.1:80'],
  },
  {
    name: 'a slice of names is left out',
    slices: [slice('a', [pod('10.0.0.1')], { addressType: 'FQDN' })],
    expected: [],
  },
  ...[
    { port: undefined },
    { port: 0 },
    { name: undefined },
    { protocol: undefined },
    { protocol: 'UDP' },
  ].map((fields) => ({
    name: `a slice port with ${Object.keys(fields).join()} ${String(Object.values(fields)[0])} serves no TCP port`,
    slices: [
      slice('a', [pod('10.0.0.1')], {
        ports: [{ name: '', port: 80, protocol: 'TCP', ...fields }],
      }),
    ],
    expected: [],
  })),
];

test.each(cases)('$name', ({ slices, expected }) => {
  const found = mergeSlices(slices, 'ipv4', 'node-a').get('/TCP') ?? [];
  expect(found.map(({ address, port }) => hostPort(address, port))).toEqual(expected);
});

test('a terminating twin never hides a living one, whatever the order of slices', () => {
  for (const [first, second] of [
    [draining, {}],
    [{}, draining],
  ]) {
    const slices = [slice('a', [pod('10.0.0.1', first)]), slice('b', [pod('10.0.0.1', second)])];
    expect(mergeSlices(slices, 'ipv4', '').get('/TCP')).toMatchObject([{ ready: true }]);
  }
});

test('only an endpoint whose node name is exactly ours is local', () => {
  const slices = [
    slice('a', [pod('10.0.0.1', { nodeName: 'node-a' }), pod('10.0.0.2', { nodeName: 'Node-A' })]),
  ];
  const local = (nodeName: string): readonly boolean[] | undefined =>
    mergeSlices(slices, 'ipv4', nodeName)
      .get('/TCP')
      ?.map((endpoint) => endpoint.local);
  expect(local('node-a')).toEqual([true, false]);
  expect(local('')).toEqual([false, false]);
});

test('the order of slices does not matter', () => {
  const endpoint = fc
    .tuple(fc.integer({ min: 1, max: 4 }), fc.constantFrom({}, draining, { ready: false }))
    .map(([last, fields]) => pod(`10.0.0.${last}`, fields));
  const lists = fc.array(fc.array(endpoint, { maxLength: 4 }), { maxLength: 5 });
  fc.assert(
    fc.property(lists, (parts) => {
      const slices = parts.map((endpoints, i) => slice(`s${i}`, endpoints));
      expect(mergeSlices(slices.toReversed(), 'ipv4', '')).toEqual(mergeSlices(slices, 'ipv4', ''));
    }),
  );
});
