import { describe, expect, it } from 'vitest';
import { nodeContext } from '../../support/service-ports.ts';
import {
  draining,
  gone,
  ingress,
  nodes,
  rawEndpoint,
  rawService,
  rawSlice,
  Scene,
  zones,
} from '../../support/scene.ts';
import type { SceneOptions } from '../../support/scene.ts';

const vip = '10.96.0.41';
const [pod, outside, node] = ['10.244.1.9', '198.51.100.7', '192.168.0.2'];
const [a, b, c] = ['10.244.1.1', '10.244.2.2', '10.244.2.3'];
const [onlyA, onlyB, both] = [`${a}:8080 1`, `${b}:8080 1`, `${a}:8080 1/2, ${b}:8080 1/2`];
const ready = { ready: true };
const local = { externalTrafficPolicy: 'Local' };
const internalLocal = { internalTrafficPolicy: 'Local' };
const nodePort = { type: 'NodePort', ports: [{ name: 'http', port: 80, nodePort: 30_080 }] };
const balanced = { ...nodePort, type: 'LoadBalancer' };
const two = [rawSlice([rawEndpoint('here', a), rawEndpoint('elsewhere', b)])];
const masq = (text: string): string => text.replaceAll(/(?=, |$)/g, ' masq');

const dnsSlice = (name: string, ip: string, protocol: string, port: number) =>
  rawSlice([rawEndpoint('here', ip)], {
    metadata: { name, namespace: 'ns1', labels: { 'kubernetes.io/service-name': 'web' } },
    ports: [{ name: 'dns', port, protocol }],
  });

describe('Services and their fields', () => {
  it.each([
    [
      'label service-proxy-name',
      {},
      { labels: { 'service.kubernetes.io/service-proxy-name': '' } },
    ],
    ['label headless', {}, { labels: { 'service.kubernetes.io/headless': '' } }],
    ['clusterIP None', { clusterIP: 'None' }, {}],
    ['ExternalName', { type: 'ExternalName' }, {}],
    ['single-stack IPv6', { clusterIP: 'fd00::1', ipFamilies: ['IPv6'] }, {}],
    ['single-stack IPv6 without ipFamilies', { clusterIP: 'fd00::1' }, {}],
  ])('%s: not ours', (_, spec, metadata) => {
    expect(new Scene([rawService(spec, { metadata })], two).ports).toEqual([]);
  });

  it('each family takes the cluster IP of its place', () => {
    const families = { ipFamilies: ['IPv6', 'IPv4'], clusterIPs: ['fd00::1', '10.96.0.5'] };
    const service = rawService({ clusterIP: 'fd00::1', ...families });
    expect(new Scene([service]).ports).toMatchObject([{ clusterIP: '10.96.0.5' }]);
    expect(new Scene([service], [], { family: 'ipv6' }).ports).toMatchObject([
      { clusterIP: 'fd00::1' },
    ]);
  });

  it('a family beyond clusterIPs has none', () => {
    const service = rawService({ ipFamilies: ['IPv4', 'IPv6'], clusterIPs: [vip] });
    expect(new Scene([service]).ports).toHaveLength(1);
    expect(new Scene([service], [], { family: 'ipv6' }).ports).toEqual([]);
  });

  it('external IPs of this family', () => {
    const service = rawService({ externalIPs: ['203.0.113.4', '2001:db8::4', ' '] });
    expect(new Scene([service]).ports).toMatchObject([{ externalIPs: ['203.0.113.4'] }]);
  });

  it.each([
    ['a host name captures nothing', { hostname: 'lb.example' }, 'pass'],
    ['mode Proxy captures nothing', { ip: '203.0.113.9', ipMode: 'Proxy' }, 'pass'],
    ['no mode', { ip: '203.0.113.9' }, masq(both)],
    ['mode null', { ip: '203.0.113.9', ipMode: null }, masq(both)],
    ['mode VIP', { ip: '203.0.113.9', ipMode: 'VIP' }, masq(both)],
  ])('%s', (_, balancer, expected) => {
    const scene = new Scene([rawService(balanced, ingress(balancer))], two);
    expect(scene.sent(outside, '203.0.113.9', 80)).toBe(expected);
    expect(scene.sent(outside, node, 30_080)).toBe(masq(both));
  });

  it('source ranges are trimmed and masked', () => {
    const service = rawService({ loadBalancerSourceRanges: [' 203.0.113.4/28'] });
    expect(new Scene([service]).ports).toMatchObject([{ sourceRanges: ['203.0.113.0/28'] }]);
  });

  it('source ranges of the other family leave this one open', () => {
    const spec = { ...balanced, loadBalancerSourceRanges: ['2001:db8::/64'] };
    const scene = new Scene([rawService(spec, ingress({ ip: '203.0.113.9' }))], two);
    expect(scene.sent(outside, '203.0.113.9', 80)).toBe(masq(both));
  });

  it('leading zeros are decimal', () => {
    const service = rawService({ clusterIP: '10.96.00.041', externalIPs: ['203.00.113.04'] });
    expect(new Scene([service]).ports).toMatchObject([
      { clusterIP: vip, externalIPs: ['203.0.113.4'] },
    ]);
  });

  it('one number, two protocols: two service ports', () => {
    const ports = [
      { name: 'dns', port: 53, protocol: 'UDP' },
      { name: 'dns', port: 53, protocol: 'TCP' },
    ];
    const slices = [dnsSlice('t', a, 'TCP', 5353), dnsSlice('u', b, 'UDP', 5354)];
    const scene = new Scene([rawService({ ports })], slices);
    expect(scene.sent(pod, vip, 53)).toBe(`${a}:5353 1`);
    expect(scene.sent(pod, vip, 53, 'UDP')).toBe(`${b}:5354 1`);
  });

  it.each([
    ['another port name', { name: 'https', port: 80 }],
    ['another protocol', { name: 'http', port: 80, protocol: 'UDP' }],
  ])('%s has no endpoints', (_, port) => {
    const slice = rawSlice([rawEndpoint('here', a)], { ports: [port] });
    expect(new Scene([rawService()], [slice]).sent(pod, vip, 80)).toBe('reject');
  });
});

interface Row {
  readonly name: string;
  readonly endpoints: readonly unknown[];
  readonly expected: string;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly options?: SceneOptions;
}

describe('the endpoints of the cluster IP, seen from a pod', () => {
  const hinted = (zoneA: object, zoneB: object) => [
    rawEndpoint('here', a, ready, { ...zoneA }),
    rawEndpoint('elsewhere', b, ready, { ...zoneB }),
  ];
  const rows: readonly Row[] = [
    {
      name: 'hints of zones a and b: zone a',
      endpoints: hinted(zones('a'), zones('b')),
      expected: onlyA,
    },
    {
      name: 'a ready one without a hint: all',
      endpoints: hinted(zones('a'), {}),
      expected: both,
    },
    {
      name: 'an unready one without a hint: zone a',
      endpoints: [...hinted(zones('a'), zones('b')), rawEndpoint('elsewhere', c, { ready: false })],
      expected: onlyA,
    },
    {
      name: 'a node without a zone: all',
      endpoints: hinted(zones('a'), zones('b')),
      options: { zone: undefined },
      expected: both,
    },
    {
      name: 'an empty zone never matches: all',
      endpoints: hinted(zones(''), zones('b')),
      options: { zone: '' },
      expected: both,
    },
    { name: 'other zones only: all', endpoints: hinted(zones('c'), zones('b')), expected: both },
    {
      name: 'an endpoint for several zones',
      endpoints: hinted(zones('a', 'b'), zones('b')),
      expected: onlyA,
    },
    {
      name: 'node hints beat zone hints',
      endpoints: hinted(
        { ...zones('b'), ...nodes('node-1') },
        { ...zones('a'), ...nodes('node-2') },
      ),
      expected: onlyA,
    },
    {
      name: 'node hints for others: by zone',
      endpoints: hinted(
        { ...zones('a'), ...nodes('node-3') },
        { ...zones('b'), ...nodes('node-2') },
      ),
      expected: onlyA,
    },
    {
      name: 'node hints on some only: by zone',
      endpoints: hinted(zones('a'), { ...zones('b'), ...nodes('node-1') }),
      expected: onlyA,
    },
    {
      name: 'internal policy Local: this node',
      endpoints: hinted({}, {}),
      spec: internalLocal,
      expected: onlyA,
    },
    {
      name: 'internal policy Local, none here',
      endpoints: [rawEndpoint('elsewhere', b)],
      spec: internalLocal,
      expected: 'drop',
    },
    {
      name: 'internal policy Local, none',
      endpoints: [],
      spec: internalLocal,
      expected: 'reject',
    },
    {
      name: 'all terminate but serve',
      endpoints: [rawEndpoint('here', a, draining)],
      expected: onlyA,
    },
    {
      name: 'all terminate and do not serve',
      endpoints: [rawEndpoint('here', a, gone)],
      expected: 'reject',
    },
    {
      name: 'some are ready, others terminate',
      endpoints: [rawEndpoint('here', a), rawEndpoint('elsewhere', b, draining)],
      expected: onlyA,
    },
    {
      name: 'hints of terminating ones do not matter',
      endpoints: [
        rawEndpoint('here', a, draining, zones('a')),
        rawEndpoint('elsewhere', b, draining, zones('b')),
      ],
      expected: both,
    },
    {
      name: 'published though not ready: the slice says ready',
      endpoints: [rawEndpoint('here', a)],
      spec: { publishNotReadyAddresses: true },
      expected: onlyA,
    },
  ];
  it.each(rows)('$name', ({ endpoints, spec = {}, options = {}, expected }) => {
    const scene = new Scene([rawService(spec)], [rawSlice(endpoints)], options);
    expect(scene.sent(pod, vip, 80)).toBe(expected);
  });
});

describe('policy Local on a node port', () => {
  it.each<readonly [string, readonly unknown[], object, object]>([
    [
      'hints narrow the cluster IP only',
      [rawEndpoint('here', a, ready, zones('b')), rawEndpoint('elsewhere', b, ready, zones('a'))],
      local,
      { clusterIP: onlyB, outside: onlyA },
    ],
    [
      'none here',
      [rawEndpoint('elsewhere', b)],
      local,
      { outside: 'drop', pod: onlyB, node: masq(onlyB), clusterIP: onlyB },
    ],
    [
      'none here, internal policy Local too',
      [rawEndpoint('elsewhere', b)],
      { ...local, ...internalLocal },
      { outside: 'drop', pod: onlyB, node: masq(onlyB), clusterIP: 'drop' },
    ],
    [
      'the one here terminates but serves',
      [rawEndpoint('here', a, draining), rawEndpoint('elsewhere', b)],
      local,
      { outside: onlyA, clusterIP: onlyB },
    ],
    [
      'one here is ready, one terminates',
      [rawEndpoint('here', a), rawEndpoint('here', '10.244.1.2', draining)],
      local,
      { outside: onlyA },
    ],
    [
      'the one here no longer serves',
      [rawEndpoint('here', a, gone), rawEndpoint('elsewhere', b)],
      local,
      { outside: 'drop' },
    ],
  ])('%s', (_, endpoints, policies, expected) => {
    const scene = new Scene([rawService({ ...nodePort, ...policies })], [rawSlice(endpoints)]);
    expect({
      clusterIP: scene.sent(pod, vip, 80),
      outside: scene.sent(outside, node, 30_080),
      pod: scene.sent(pod, node, 30_080),
      node: scene.sent(node, node, 30_080),
    }).toMatchObject(expected);
  });

  it('means nothing where nothing leads in from outside', () => {
    expect(new Scene([rawService(local)], two).ports).toMatchObject([
      { externalPolicy: 'Cluster' },
    ]);
  });
});

describe('addresses and sources', () => {
  const status = ingress({ ip: '203.0.113.9' });

  it('without endpoints every address refuses', () => {
    const scene = new Scene([rawService({ ...balanced, externalIPs: ['203.0.113.1'] }, status)]);
    for (const to of ['203.0.113.1', '203.0.113.9', vip])
      expect(scene.sent(outside, to, 80)).toBe('reject');
    expect(scene.sent(outside, node, 30_080)).toBe('reject');
  });

  it('an endpoint that reaches itself is masqueraded', () => {
    const scene = new Scene([rawService()], [rawSlice([rawEndpoint('here', a)])]);
    expect(scene.sent(a, vip, 80)).toBe(masq(onlyA));
  });

  it.each([
    ['by default', nodeContext(), ['', ' masq']],
    ['with masqueradeAll', nodeContext({ masqueradeAll: true }), [' masq', ' masq']],
    ['without a detector', nodeContext({ podDetector: { kind: 'none' } }), ['', '']],
  ])('a pod and an outsider at the cluster IP, %s', (_, context, [fromPod, fromOutside]) => {
    const slices = [rawSlice([rawEndpoint('here', a)])];
    const scene = new Scene([rawService()], slices, { node: context });
    expect(scene.sent(pod, vip, 80)).toBe(`${onlyA}${fromPod}`);
    expect(scene.sent(outside, vip, 80)).toBe(`${onlyA}${fromOutside}`);
  });

  it('75, 76 external policy Local keeps the source of outsiders', () => {
    const scene = new Scene([rawService({ ...balanced, ...local }, status)], two);
    expect(scene.sent(outside, node, 30_080)).toBe(onlyA);
    expect(scene.sent(pod, '203.0.113.9', 80)).toBe(both);
    expect(scene.sent(node, '203.0.113.9', 80)).toBe(masq(both));
  });

  it('source ranges guard the balancer’s address alone', () => {
    const spec = { ...balanced, loadBalancerSourceRanges: ['203.0.113.128/25'] };
    const scene = new Scene([rawService(spec, status)], two);
    expect(scene.sent('203.0.113.200', '203.0.113.9', 80)).toBe(masq(both));
    for (const from of [outside, pod]) expect(scene.sent(from, '203.0.113.9', 80)).toBe('drop');
    expect(scene.sent(outside, vip, 80)).toBe(masq(both));
    expect(scene.sent(outside, node, 30_080)).toBe(masq(both));
  });

  it('a range that holds the node lets in what carries the address itself', () => {
    const spec = { ...balanced, loadBalancerSourceRanges: ['192.168.0.0/24'] };
    const scene = new Scene([rawService(spec, status)], two);
    expect(scene.sent('203.0.113.9', '203.0.113.9', 80)).toBe(masq(both));
  });

  it('source ranges of a Service without endpoints refuse everybody', () => {
    const spec = { ...balanced, loadBalancerSourceRanges: ['203.0.113.128/25'] };
    expect(new Scene([rawService(spec, status)]).sent(outside, '203.0.113.9', 80)).toBe('reject');
  });

  it('the health check port is open without endpoints too', () => {
    const scene = new Scene([rawService({ ...balanced, ...local, healthCheckNodePort: 32_000 })]);
    expect([...scene.graph.healthCheckPorts.keys()]).toEqual([32_000]);
  });
});

it('an endpoint that is not on this node is never local, whatever case its name has', () => {
  const slice = rawSlice([{ addresses: [a], nodeName: 'NODE-1' }]);
  expect(new Scene([rawService(internalLocal)], [slice]).sent(pod, vip, 80)).toBe('drop');
});
