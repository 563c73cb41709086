import { describe, expect, it } from 'vitest';
import { conflictText } from '../../../src/graph/claims.ts';
import { compileAll, GraphCompiler } from '../../../src/graph/compile.ts';
import type { FrontendId, GraphDelta, RuleGraph } from '../../../src/graph/rule-graph.ts';
import type { ServiceName, ServicePort } from '../../../src/services/service-port.ts';
import {
  address,
  byKey,
  cidr,
  endpoint,
  nodeContext,
  servicePort,
} from '../../support/service-ports.ts';

const local = endpoint('10.244.1.5:8080', { local: true });
const remote = endpoint('10.244.2.6:8080');
const node = nodeContext();

type Overrides = Parameters<typeof servicePort>[0];

function named(name: string, overrides: Overrides = {}): ServicePort {
  return servicePort({
    service: `default/${name}` as ServiceName,
    endpoints: [local, remote],
    ...overrides,
  });
}

function frontendOf(graph: RuleGraph, id: string) {
  return graph.frontends.get(id as FrontendId);
}

function holder(graph: RuleGraph, id: string): string | undefined {
  return frontendOf(graph, id)?.origin.service;
}

function deltaText({ everything, frontends, pools }: GraphDelta): object {
  return { everything, frontends: [...frontends].toSorted(), pools: pools.size };
}

describe('frontends', () => {
  it('are the cluster IP, each load balancer and external IP, and the node port', () => {
    const port = named('web', {
      nodePort: 30080,
      loadBalancerIPs: ['203.0.113.1'],
      externalIPs: ['203.0.113.2'],
    });
    const { frontends } = compileAll(byKey([port]), node);
    expect(Array.from(frontends.values(), ({ id, kind }) => `${kind} ${id}`)).toEqual([
      'clusterIP 10.96.0.10/TCP/80',
      'loadBalancerIP 203.0.113.1/TCP/80',
      'externalIP 203.0.113.2/TCP/80',
      'nodePort nodePort/TCP/30080',
    ]);
  });

  it('say of each pool which list of endpoints it is, also where both are equal', () => {
    const port = named('web', { nodePort: 30080, externalPolicy: 'Local', endpoints: [local] });
    const { frontends, pools } = compileAll(byKey([port]), node);
    expect(pools.size).toBe(1);
    const lists = Array.from(frontends.values(), ({ id, branches }) => [
      id,
      ...branches.map(({ from, to }) => `${from} ${to.kind === 'pool' ? to.list : to.kind}`),
    ]);
    expect(lists).toEqual([
      ['10.96.0.10/TCP/80', 'pod cluster', 'anywhere cluster'],
      ['nodePort/TCP/30080', 'pod cluster', 'node cluster', 'anywhere local'],
    ]);
  });

  it('keep one of an address listed twice: cluster IP, then load balancer IP, then external IP', () => {
    const port = named('web', {
      loadBalancerIPs: ['10.96.0.10', '203.0.113.1'],
      externalIPs: ['10.96.0.10', '203.0.113.1'],
      sourceRanges: ['198.51.100.0/24'],
    });
    const graph = compileAll(byKey([port]), node);
    expect(
      Array.from(graph.frontends.values(), ({ kind, guard }) => [kind, guard !== undefined]),
    ).toEqual([
      ['clusterIP', false],
      ['loadBalancerIP', true],
    ]);
    expect(graph.conflicts).toEqual([]);
  });

  it('all end in a branch from anywhere', () => {
    const policies = ['Cluster', 'Local'] as const;
    for (const internalPolicy of policies) {
      for (const externalPolicy of policies) {
        const port = named('web', { internalPolicy, externalPolicy, nodePort: 30080 });
        for (const { branches } of compileAll(byKey([port]), node).frontends.values()) {
          expect(branches.at(-1)?.from).toBe('anywhere');
        }
      }
    }
  });

  it('have no guard without source ranges or without endpoints', () => {
    const open = named('open', { loadBalancerIPs: ['203.0.113.1'] });
    const empty = named('empty', {
      loadBalancerIPs: ['203.0.113.2'],
      sourceRanges: ['10.0.0.0/8'],
      endpoints: [],
      clusterIP: '10.96.0.11',
    });
    const graph = compileAll(byKey([open, empty]), node);
    expect(frontendOf(graph, '203.0.113.1/TCP/80')?.guard).toBeUndefined();
    expect(frontendOf(graph, '203.0.113.2/TCP/80')?.guard).toBeUndefined();
  });
});

describe('pools', () => {
  it('that are equal are one node, whoever uses them', () => {
    const graph = compileAll(byKey([named('a'), named('b', { clusterIP: '10.96.0.11' })]), node);
    expect(graph.pools.size).toBe(1);
  });

  it('with affinity belong to their service port', () => {
    const sticky = { affinitySeconds: 10_800 };
    const ports = [
      named('a', sticky),
      named('b', { ...sticky, clusterIP: '10.96.0.11' }),
      named('c', { clusterIP: '10.96.0.12' }),
    ];
    expect(compileAll(byKey(ports), node).pools.size).toBe(3);
  });

  it('stay as long as somebody uses them', () => {
    const compiler = new GraphCompiler();
    const [a, b] = [named('a'), named('b', { clusterIP: '10.96.0.11' })];
    const { graph } = compiler.compile(byKey([a, b]), new Set(), node);
    const first = compiler.compile(byKey([b]), new Set([a.key]), node);
    expect(deltaText(first.delta)).toEqual({
      everything: false,
      frontends: ['10.96.0.10/TCP/80'],
      pools: 0,
    });
    expect(graph.pools.size).toBe(1);
    const second = compiler.compile(byKey([]), new Set([b.key]), node);
    expect(second.delta.pools.size).toBe(1);
    expect(graph.pools.size).toBe(0);
  });
});

describe('an address that two services want', () => {
  const older = named('b', { createdAtMs: 1000 });
  const younger = named('a', { createdAtMs: 2000 });
  const unknown = named('0', { createdAtMs: 0 });
  const id = '10.96.0.10/TCP/80';
  const both = byKey([younger, older]);

  it.each([
    ['the older', [younger, older], 'default/b'],
    ['one of known age', [unknown, younger], 'default/a'],
    ['of the same age the smaller name', [named('z'), named('y')], 'default/y'],
  ])('belongs to %s', (_, ports, winner) => {
    for (const order of [ports, ports.toReversed()]) {
      const graph = compileAll(byKey(order), node);
      expect(holder(graph, id)).toBe(winner);
      expect(graph.conflicts).toMatchObject([{ claimed: id, winner: { service: winner } }]);
    }
  });

  it('goes over to the next when the winner goes, and back when it returns', () => {
    const compiler = new GraphCompiler();
    compiler.compile(both, new Set(), node);
    const gone = compiler.compile(byKey([younger]), new Set([older.key]), node);
    expect([...gone.delta.frontends]).toEqual([id]);
    expect(holder(gone.graph, id)).toBe('default/a');
    expect(gone.graph.conflicts).toEqual([]);
    const { graph } = compiler.compile(both, new Set([older.key]), node);
    expect(holder(graph, id)).toBe('default/b');
    expect(graph.conflicts).toHaveLength(1);
  });

  it('changes nothing when the loser changes its endpoints', () => {
    const compiler = new GraphCompiler();
    compiler.compile(both, new Set(), node);
    const changed = named('a', { createdAtMs: 2000, endpoints: [remote] });
    const { delta, graph } = compiler.compile(
      byKey([changed, older]),
      new Set([changed.key]),
      node,
    );
    expect(deltaText(delta)).toEqual({ everything: false, frontends: [], pools: 0 });
    expect(graph.pools.size).toBe(1);
  });

  it('may be a node port', () => {
    const ports = [
      named('a', { nodePort: 30080 }),
      named('b', { nodePort: 30080, clusterIP: '10.96.0.11' }),
    ];
    expect(compileAll(byKey(ports), node).conflicts).toMatchObject([
      { claimed: 'nodePort/TCP/30080', loser: { service: 'default/b' } },
    ]);
  });

  it.each([
    ['the older', { createdAtMs: 1000 }, { createdAtMs: 2000 }, 'its Service is older'],
    [
      'the one of known age',
      { createdAtMs: 2000 },
      { createdAtMs: 0 },
      'the age of the other Service is unknown',
    ],
    [
      'the smaller name, at the same age',
      { createdAtMs: 1000 },
      { createdAtMs: 1000 },
      'both are of the same age, and its name comes first',
    ],
    [
      'the smaller name, where no age is known',
      { createdAtMs: 0 },
      { createdAtMs: 0 },
      'the age of both is unknown, and its name comes first',
    ],
    [
      'the one whose cluster IP it is, whatever their ages',
      { createdAtMs: 0 },
      { createdAtMs: 1, externalIPs: ['10.96.0.10'], clusterIP: '10.96.0.11' },
      'a cluster IP comes before other addresses',
    ],
  ])('is held by %s, and the reason is told', (_, winner, loser, reason) => {
    const ports = [named('a', winner), named('b', loser)];
    const { conflicts, frontends } = compileAll(byKey(ports), node);
    expect(conflicts.map(conflictText)).toEqual([
      `default/b wants 10.96.0.10/TCP/80, which default/a holds: ${reason}`,
    ]);
    expect(frontends.get(id as FrontendId)).toMatchObject({
      kind: 'clusterIP',
      origin: { service: 'default/a' },
    });
  });

  it('is not contested by another protocol or port', () => {
    const ports = [named('a'), named('b', { protocol: 'UDP' }), named('c', { port: 81 })];
    expect(compileAll(byKey(ports), node).conflicts).toEqual([]);
  });
});

const withNodePort = (createdAtMs: number) => named('np', { nodePort: 30_080, createdAtMs });
const withNodeAddress = (createdAtMs: number) =>
  named('ext', {
    clusterIP: '10.96.0.11',
    externalIPs: ['192.168.0.2'],
    port: 30_080,
    createdAtMs,
  });

describe('the node’s own address as an external IP', () => {
  const id = '192.168.0.2/TCP/30080';
  it('does not take the node port of an older Service', () => {
    const graph = compileAll(byKey([withNodePort(1000), withNodeAddress(2000)]), node);
    expect(holder(graph, id)).toBeUndefined();
    expect(holder(graph, 'nodePort/TCP/30080')).toBe('default/np');
    expect(graph.conflicts.map(conflictText)).toEqual([
      `default/ext wants ${id}, which default/np holds: its Service is older`,
    ]);
  });

  it('keeps its number from the node port of a newer one, which answers elsewhere', () => {
    const graph = compileAll(byKey([withNodePort(2000), withNodeAddress(1000)]), node);
    expect(holder(graph, id)).toBe('default/ext');
    expect(holder(graph, 'nodePort/TCP/30080')).toBe('default/np');
    expect(graph.conflicts.map(conflictText)).toEqual([
      `default/np wants ${id}, which default/ext holds: its Service is older`,
    ]);
  });

  it('changes hands with the node port', () => {
    const compiler = new GraphCompiler();
    const [older, younger] = [withNodePort(1000), withNodeAddress(2000)];
    compiler.compile(byKey([younger]), new Set(), node);
    const came = compiler.compile(byKey([older, younger]), new Set([older.key]), node);
    expect([...came.delta.frontends]).toContain(id);
    expect(holder(came.graph, id)).toBeUndefined();
    const gone = compiler.compile(byKey([younger]), new Set([older.key]), node);
    expect(holder(gone.graph, id)).toBe('default/ext');
    expect(gone.graph.conflicts).toEqual([]);
  });

  it('is contested only where node ports answer on it', () => {
    const elsewhere = nodeContext({
      nodePortAddresses: { kind: 'list', addresses: [address('10.0.0.1')] },
    });
    const graph = compileAll(byKey([withNodePort(1000), withNodeAddress(2000)]), elsewhere);
    expect(holder(graph, id)).toBe('default/ext');
    expect(graph.conflicts).toEqual([]);
  });

  it('may be beside the node port of the same Service', () => {
    const both = named('web', { nodePort: 80, externalIPs: ['192.168.0.2'] });
    const graph = compileAll(byKey([both]), node);
    expect(holder(graph, '192.168.0.2/TCP/80')).toBe('default/web');
    expect(graph.conflicts).toEqual([]);
  });
});

describe('health check node ports', () => {
  it('are listed with their service, also without endpoints, and go with its last service port', () => {
    const [http, https] = [
      named('web', { portName: 'http', healthCheckNodePort: 32000, endpoints: [] }),
      named('web', { portName: 'https', port: 443, healthCheckNodePort: 32000, endpoints: [] }),
    ];
    const compiler = new GraphCompiler();
    const { graph } = compiler.compile(byKey([http, https]), new Set(), node);
    expect([...graph.healthCheckPorts]).toMatchObject([[32000, { service: 'default/web' }]]);
    compiler.compile(byKey([https]), new Set([http.key]), node);
    expect(graph.healthCheckPorts.size).toBe(1);
    compiler.compile(byKey([]), new Set([https.key]), node);
    expect(graph.healthCheckPorts.size).toBe(0);
  });
});

describe('a health check node port that two Services want', () => {
  it('belongs to the older, and is reported once a Service', () => {
    const check = { healthCheckNodePort: 32_000 };
    const ports = [
      named('a-new', { ...check, createdAtMs: 2000, portName: 'http' }),
      named('a-new', { ...check, createdAtMs: 2000, portName: 'https', port: 443 }),
      named('z-old', { ...check, createdAtMs: 1000, portName: 'http', clusterIP: '10.96.0.11' }),
      named('z-old', {
        ...check,
        createdAtMs: 1000,
        portName: 'https',
        port: 443,
        clusterIP: '10.96.0.11',
      }),
    ];
    const { healthCheckPorts, conflicts } = compileAll(byKey(ports), node);
    expect(healthCheckPorts.get(32_000)?.service).toBe('default/z-old');
    expect(conflicts.map(conflictText)).toEqual([
      'default/a-new:http wants healthCheckNodePort/32000, which default/z-old:http holds: its Service is older',
    ]);
  });
});

describe('the delta', () => {
  const web = named('web', { nodePort: 30080 });

  it('is everything at first, and names all there is', () => {
    const { delta } = new GraphCompiler().compile(byKey([web]), new Set(), node);
    expect(deltaText(delta)).toEqual({
      everything: true,
      frontends: ['10.96.0.10/TCP/80', 'nodePort/TCP/30080'],
      pools: 1,
    });
  });

  it('is everything when the node changed, by content', () => {
    const compiler = new GraphCompiler();
    compiler.compile(byKey([web]), new Set(), node);
    expect(compiler.compile(byKey([web]), new Set(), nodeContext()).delta.everything).toBe(false);
    const moved = nodeContext({ podDetector: { kind: 'cidr', cidr: cidr('10.244.9.0/24') } });
    const { delta, graph } = compiler.compile(byKey([web]), new Set(), moved);
    expect(delta.everything).toBe(true);
    expect(graph.node).toEqual(moved);
    const masqueradeAll = compiler.compile(
      byKey([web]),
      new Set(),
      nodeContext({ masqueradeAll: true }),
    );
    expect(deltaText(masqueradeAll.delta)).toEqual({
      everything: true,
      frontends: ['10.96.0.10/TCP/80'],
      pools: 0,
    });
  });

  it('names the frontends and pools that differ, and no others', () => {
    const compiler = new GraphCompiler();
    const other = named('other', { clusterIP: '10.96.0.11', endpoints: [remote] });
    compiler.compile(byKey([web, other]), new Set(), node);
    const changed = named('web', { nodePort: 30081 });
    const { delta } = compiler.compile(
      byKey([changed, other]),
      new Set([web.key, other.key]),
      node,
    );
    expect(deltaText(delta)).toEqual({
      everything: false,
      frontends: ['nodePort/TCP/30080', 'nodePort/TCP/30081'],
      pools: 0,
    });
  });

  it('is empty, and frontends keep their identity, when a change means nothing', () => {
    const compiler = new GraphCompiler();
    const { graph } = compiler.compile(byKey([web]), new Set(), node);
    const before = frontendOf(graph, '10.96.0.10/TCP/80');
    const { delta } = compiler.compile(
      byKey([named('web', { nodePort: 30080, uid: 'another' })]),
      new Set([web.key]),
      node,
    );
    expect(deltaText(delta)).toEqual({ everything: false, frontends: [], pools: 0 });
    expect(frontendOf(graph, '10.96.0.10/TCP/80')).toBe(before);
  });
});
