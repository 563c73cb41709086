import { describe, expect, it } from 'vitest';
import type { NodeContext } from '../../../src/graph/node-context.ts';
import { toFraction } from '../../../src/graph/rational.ts';
import type { ServiceName, ServicePort } from '../../../src/services/service-port.ts';
import { address, cidr, endpoint, nodeContext, servicePort } from '../../support/service-ports.ts';
import { exposed, inShort, local, remote, send, sources, vips } from './send.ts';
import type { Overrides, Source, Vip } from './send.ts';

const guarded = (overrides: Overrides = {}): ServicePort =>
  exposed({ sourceRanges: ['198.51.100.0/24'], ...overrides });

const list = (...addresses: readonly string[]): Partial<NodeContext> => ({
  nodePortAddresses: { kind: 'list', addresses: addresses.map(address) },
});

describe('a service port without a usable endpoint', () => {
  const gone = endpoint('10.244.1.5:8080', {
    local: true,
    ready: false,
    serving: false,
    terminating: true,
  });
  const draining = endpoint('10.244.1.5:8080', { local: true, ready: false, terminating: true });
  const cases: readonly (readonly [string, Overrides, Source, Vip, string])[] = [
    ['no endpoints at all', { endpoints: [] }, 'pod', 'clusterIP', 'reject'],
    ['no endpoints at all', { endpoints: [] }, 'outside', 'nodePort', 'reject'],
    ['no endpoints at all', { endpoints: [] }, 'outside', 'loadBalancer', 'reject'],
    ['no endpoints at all', { endpoints: [] }, 'outside', 'external', 'reject'],
    [
      'no endpoints, internal Local',
      { endpoints: [], internalPolicy: 'Local' },
      'pod',
      'clusterIP',
      'reject',
    ],
    [
      'no endpoints, external Local',
      { endpoints: [], externalPolicy: 'Local' },
      'outside',
      'nodePort',
      'reject',
    ],
    ['all gone', { endpoints: [gone] }, 'pod', 'clusterIP', 'reject'],
    ['all draining: they are used', { endpoints: [draining] }, 'pod', 'clusterIP', 'L'],
    [
      'internal Local, only a remote one',
      { endpoints: [remote], internalPolicy: 'Local' },
      'pod',
      'clusterIP',
      'drop',
    ],
    [
      'external Local, only a remote one',
      { endpoints: [remote], externalPolicy: 'Local' },
      'outside',
      'nodePort',
      'drop',
    ],
    [
      'external Local, only a remote one',
      { endpoints: [remote], externalPolicy: 'Local' },
      'pod',
      'nodePort',
      'R',
    ],
    [
      'external Local, only a remote one',
      { endpoints: [remote], externalPolicy: 'Local' },
      'node',
      'nodePort',
      'R masq',
    ],
    [
      'external Local, only a remote one',
      { endpoints: [remote], externalPolicy: 'Local' },
      'outside',
      'clusterIP',
      'R masq',
    ],
    [
      'both Local, only a remote one',
      { endpoints: [remote], externalPolicy: 'Local', internalPolicy: 'Local' },
      'node',
      'clusterIP',
      'drop',
    ],
    [
      'both Local, only a remote one',
      { endpoints: [remote], externalPolicy: 'Local', internalPolicy: 'Local' },
      'node',
      'nodePort',
      'R masq',
    ],
    [
      'external Local, the local one drains',
      { endpoints: [draining, remote], externalPolicy: 'Local' },
      'outside',
      'external',
      'L',
    ],
    [
      'external Local, the local one drains',
      { endpoints: [draining, remote], externalPolicy: 'Local' },
      'pod',
      'clusterIP',
      'R',
    ],
    [
      'external Local, the local one is gone',
      { endpoints: [gone, remote], externalPolicy: 'Local' },
      'outside',
      'external',
      'drop',
    ],
  ];
  it.each(cases)('%s (%j): %s → %s: %s', (_, overrides, source, vip, expected) => {
    expect(inShort(send([exposed(overrides)], { from: sources[source], to: vips[vip] }))).toBe(
      expected,
    );
  });
});

describe('loadBalancerSourceRanges', () => {
  const cases: readonly (readonly [string, string, string, string])[] = [
    ['a listed source', '198.51.100.3', vips.loadBalancer, 'L,R masq'],
    ['an unlisted source', '8.8.8.8', vips.loadBalancer, 'drop'],
    ['an unlisted pod', sources.pod, vips.loadBalancer, 'drop'],
    ['an unlisted source at the node port', '8.8.8.8', vips.nodePort, 'L,R masq'],
    ['an unlisted source at the external IP', '8.8.8.8', vips.external, 'L,R masq'],
    ['an unlisted source at the cluster IP', '8.8.8.8', vips.clusterIP, 'L,R masq'],
  ];
  it.each(cases)('%s (%s → %s): %s', (_, from, to, expected) => {
    expect(inShort(send([guarded()], { from, to }))).toBe(expected);
  });

  it('let the load balancer address itself in only where a range contains the node', () => {
    const sent = { from: '203.0.113.10', to: vips.loadBalancer };
    const withNode = guarded({ sourceRanges: ['198.51.100.0/24', '192.168.0.0/24'] });
    expect(inShort(send([withNode], sent))).toBe('L,R masq');
    expect(inShort(send([guarded()], sent))).toBe('drop');
  });

  it('say nothing where there are no endpoints: everybody is rejected', () => {
    expect(
      inShort(send([guarded({ endpoints: [] })], { from: '8.8.8.8', to: vips.loadBalancer })),
    ).toBe('reject');
  });
});

describe('node ports', () => {
  const cases: readonly (readonly [string, string, Partial<NodeContext>, string])[] = [
    ['any local address', '10.244.1.1:30080', {}, 'L,R masq'],
    ['loopback, where switched on', '127.0.0.1:30080', {}, 'L,R masq'],
    ['all of 127.0.0.0/8', '127.8.8.8:30080', {}, 'L,R masq'],
    [
      'loopback, where switched off',
      '127.0.0.1:30080',
      { nodePortAddresses: { kind: 'all', loopback: false } },
      'pass',
    ],
    ['an address of another host', '192.168.0.3:30080', {}, 'pass'],
    ['a listed address', '192.168.0.2:30080', list('192.168.0.2'), 'L,R masq'],
    ['an unlisted address', '10.244.1.1:30080', list('192.168.0.2'), 'pass'],
    ['an empty list', '192.168.0.2:30080', list(), 'pass'],
  ];
  it.each(cases)('answer on %s (%s, %j): %s', (_, to, context, expected) => {
    const node = nodeContext(context);
    expect(
      inShort(
        send([exposed()], { from: to.startsWith('127.') ? '127.0.0.1' : '8.8.8.8', to }, node),
      ),
    ).toBe(expected);
  });

  it('never answer on ::1', () => {
    const node = nodeContext({
      family: 'ipv6',
      podDetector: { kind: 'none' },
      localAddresses: ['::1', 'fd00::2'].map(address),
    });
    const port = servicePort({
      clusterIP: 'fd00:96::10',
      nodePort: 30080,
      endpoints: [endpoint('[fd00:1::5]:8080')],
    });
    expect(inShort(send([port], { from: '::1', to: '[::1]:30080' }, node))).toBe('pass');
    expect(inShort(send([port], { from: 'fd00::9', to: '[fd00::2]:30080' }, node))).toBe('R masq');
  });

  it('come after a frontend at the same address, and get what that one does not lead to a pool', () => {
    const other = 'default/other' as ServiceName;
    const atNode = (endpoints: Overrides): ServicePort =>
      servicePort({
        service: other,
        clusterIP: '10.96.0.99',
        port: 30080,
        externalIPs: ['192.168.0.2'],
        ...endpoints,
      });
    const sent = { from: '8.8.8.8', to: vips.nodePort };
    const byExternalIP = send([exposed(), atNode({ endpoints: [remote] })], sent);
    expect(byExternalIP.map((each) => each.origin?.service)).toEqual([other]);
    const fallsThrough = send([exposed(), atNode({ endpoints: [] })], sent);
    expect(inShort(fallsThrough)).toBe('L,R masq');
    const [verdict] = send([exposed({ endpoints: [] }), atNode({ endpoints: [] })], sent);
    expect(verdict).toMatchObject({ kind: 'reject', origin: { service: other } });
  });
});

describe('who counts as a pod', () => {
  it.each([
    [{ kind: 'interface', name: 'cbr0' }, 'cbr0', 'L,R'],
    [{ kind: 'interface', name: 'cbr0' }, 'cbr01', 'L,R masq'],
    [{ kind: 'interfacePrefix', prefix: 'veth' }, 'veth1a2b', 'L,R'],
    [{ kind: 'interfacePrefix', prefix: 'veth' }, 'eth0', 'L,R masq'],
    [{ kind: 'interfacePrefix', prefix: 'veth' }, undefined, 'L,R masq'],
    [{ kind: 'cidr', cidr: cidr('198.51.100.0/24') }, 'eth0', 'L,R'],
  ] as const)('%j, arriving on %s: %s', (podDetector, inInterface, expected) => {
    const sent = { from: sources.outside, to: vips.clusterIP, ...(inInterface && { inInterface }) };
    expect(inShort(send([exposed()], sent, nodeContext({ podDetector })))).toBe(expected);
  });
});

describe('what an outcome tells', () => {
  it('has exact shares that belong to protocol and port', () => {
    const third = endpoint('10.244.3.7:3000');
    const tcp = servicePort({ portName: 'tcp', endpoints: [local, remote, third] });
    const udp = servicePort({ portName: 'udp', protocol: 'UDP', endpoints: [third] });
    const outcomes = send([tcp, udp], { from: sources.pod, to: vips.clusterIP });
    expect(outcomes.map(({ probability }) => toFraction(probability))).toEqual([
      '1/3',
      '1/3',
      '1/3',
    ]);
    expect(
      send([tcp, udp], { from: sources.pod, to: vips.clusterIP, protocol: 'UDP' }),
    ).toMatchObject([
      { endpoint: { address: '10.244.3.7', port: 3000 }, origin: { name: 'default/web:udp' } },
    ]);
    expect(
      inShort(send([tcp, udp], { from: sources.pod, to: vips.clusterIP, protocol: 'SCTP' })),
    ).toBe('pass');
  });

  it('names the affinity of the pool', () => {
    const [first] = send([servicePort({ affinitySeconds: 10_800, endpoints: [local, remote] })], {
      from: sources.pod,
      to: vips.clusterIP,
    });
    expect(first).toMatchObject({ kind: 'endpoint', affinitySeconds: 10_800 });
  });

  it('tells an unused port of a service from an address of nobody', () => {
    const [unused] = send([exposed()], { from: sources.pod, to: '10.96.0.10:81' });
    expect(unused).toMatchObject({
      kind: 'pass',
      reason: 'port is not a service port of this address',
      origin: { service: 'default/web' },
    });
    const [nobody] = send([exposed()], { from: sources.pod, to: '10.96.0.11:80' });
    expect(nobody).toMatchObject({
      kind: 'pass',
      reason: 'no service',
      origin: undefined,
      path: [{ node: 'verdict' }],
    });
  });

  it('has a path of each step, taken or not', () => {
    const [first] = send([exposed({ externalPolicy: 'Local', sourceRanges: ['0.0.0.0/0'] })], {
      from: sources.node,
      to: vips.loadBalancer,
    });
    expect(first?.path.map(({ node, taken }) => [node, taken])).toEqual([
      ['frontend', true],
      ['guard', true],
      ['branch', false],
      ['branch', true],
      ['pool', true],
      ['endpoint', true],
    ]);
  });
});
