import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileAll, GraphCompiler } from '../../../src/graph/compile.ts';
import { toDot } from '../../../src/graph/draw-dot.ts';
import { toJson } from '../../../src/graph/draw-json.ts';
import { compareBytes } from '../../../src/graph/order.ts';
import { interpret } from '../../../src/graph/interpret.ts';
import { packetFrom } from '../../../src/graph/packet.ts';
import { one, sum } from '../../../src/graph/rational.ts';
import type { FrontendId, PoolId, RuleGraph } from '../../../src/graph/rule-graph.ts';
import type {
  ServiceName,
  ServicePort,
  ServicePortKey,
} from '../../../src/services/service-port.ts';
import { address, cidr, endpoint, nodeContext, servicePort } from '../../support/service-ports.ts';

/** Few addresses for many services, so that they meet. */
const anyVip = fc.constantFrom('203.0.113.1', '203.0.113.2', '10.96.0.1', '192.168.0.2');
const anyPolicy = fc.constantFrom('Cluster' as const, 'Local' as const);
const anyEndpoint = fc
  .tuple(fc.integer({ min: 1, max: 5 }), fc.boolean(), fc.constantFrom('ready', 'draining', 'gone'))
  .map(([host, local, state]) =>
    endpoint(`10.244.${local ? 1 : 2}.${host}:8080`, {
      local,
      ready: state === 'ready',
      serving: state !== 'gone',
      terminating: state !== 'ready',
    }),
  );

const anyPort: fc.Arbitrary<ServicePort> = fc
  .record({
    name: fc.constantFrom('a', 'b', 'c', 'd'),
    protocol: fc.constantFrom('TCP' as const, 'UDP' as const),
    clusterIP: fc.constantFrom('10.96.0.1', '10.96.0.2', '10.96.0.3'),
    port: fc.constantFrom(80, 81),
    nodePort: fc.constantFrom(0, 80, 30080),
    externalIPs: fc.uniqueArray(anyVip, { maxLength: 2 }),
    loadBalancerIPs: fc.uniqueArray(anyVip, { maxLength: 2 }),
    sourceRanges: fc.subarray(['198.51.100.0/24', '192.168.0.0/24'], { maxLength: 2 }),
    affinitySeconds: fc.constantFrom(undefined, 60),
    internalPolicy: anyPolicy,
    externalPolicy: anyPolicy,
    healthCheckNodePort: fc.constantFrom(0, 32000, 32001),
    createdAtMs: fc.constantFrom(0, 1000, 2000),
    endpoints: fc.uniqueArray(anyEndpoint, { maxLength: 4, selector: (each) => each.address }),
  })
  .map(({ name, ...rest }) => servicePort({ ...rest, service: `default/${name}` as ServiceName }));

const anyNode = fc.constantFrom(
  nodeContext(),
  nodeContext({ masqueradeAll: true }),
  nodeContext({ podDetector: { kind: 'none' } }),
);

/** A service port comes or changes, goes, or the node changes. */
const anyChange = fc.oneof(
  { weight: 6, arbitrary: anyPort.map((port) => ({ kind: 'set' as const, port })) },
  { weight: 3, arbitrary: fc.nat(20).map((index) => ({ kind: 'remove' as const, index })) },
  { weight: 1, arbitrary: anyNode.map((node) => ({ kind: 'node' as const, node })) },
);

interface Snapshot {
  readonly frontends: ReadonlyMap<FrontendId, string>;
  readonly pools: ReadonlySet<PoolId>;
}

function snapshot(graph: RuleGraph): Snapshot {
  const frontends = new Map(
    Array.from(graph.frontends, ([id, each]) => [id, JSON.stringify(each)]),
  );
  return { frontends, pools: new Set(graph.pools.keys()) };
}

/** The ids that differ between two snapshots, found the slow way. */
function difference(a: Snapshot, b: Snapshot): readonly string[] {
  const frontends = new Set([...a.frontends.keys(), ...b.frontends.keys()]);
  const pools = new Set([...a.pools, ...b.pools]);
  return inOrder([
    ...[...frontends].filter((id) => a.frontends.get(id) !== b.frontends.get(id)),
    ...[...pools].filter((id) => a.pools.has(id) !== b.pools.has(id)),
  ]);
}

function inOrder(ids: readonly string[]): readonly string[] {
  return ids.toSorted(compareBytes);
}

describe('compiling change by change', () => {
  it('equals compiling everything, and the delta is what differs', () => {
    fc.assert(
      fc.property(fc.array(fc.array(anyChange, { maxLength: 4 }), { maxLength: 12 }), (batches) => {
        const compiler = new GraphCompiler();
        const ports = new Map<ServicePortKey, ServicePort>();
        let node = nodeContext();
        let before: Snapshot = { frontends: new Map(), pools: new Set() };
        for (const batch of batches) {
          const changed = new Set<ServicePortKey>();
          for (const change of batch) {
            if (change.kind === 'node') node = change.node;
            if (change.kind === 'node') continue;
            const key =
              change.kind === 'set'
                ? change.port.key
                : [...ports.keys()][change.index % (ports.size || 1)];
            if (key === undefined) continue;
            changed.add(key);
            if (change.kind === 'set') ports.set(key, change.port);
            else ports.delete(key);
          }
          const { graph, delta } = compiler.compile(ports, changed, node);
          const whole = compileAll(ports, node);
          expect(toJson(graph)).toBe(toJson(whole));
          expect(toDot(graph)).toBe(toDot(whole));
          const after = snapshot(graph);
          expect(inOrder([...delta.frontends, ...delta.pools])).toEqual(difference(before, after));
          before = after;
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('the outcomes of any packet', () => {
  it('have probabilities of exactly 1 in sum, and agree on the way there', () => {
    const anySource = fc.constantFrom(
      '10.244.1.1',
      '10.244.1.3',
      '192.168.0.2',
      '198.51.100.7',
      '8.8.8.8',
      '203.0.113.1',
    );
    const anyDestination = fc.oneof(
      anyVip,
      fc.constantFrom('10.96.0.2', '127.0.0.1', '10.244.1.1', '1.1.1.1'),
    );
    fc.assert(
      fc.property(
        fc.array(anyPort, { maxLength: 6 }),
        anyNode,
        anySource,
        anyDestination,
        fc.constantFrom(80, 81, 30080),
        (list, node, from, to, port) => {
          const graph = compileAll(new Map(list.map((each) => [each.key, each])), node);
          const packet = packetFrom(node, {
            protocol: 'TCP',
            source: address(from),
            destination: address(to),
            port,
          });
          const outcomes = interpret(graph, packet);
          expect(sum(outcomes.map(({ probability }) => probability))).toEqual(one);
          expect(new Set(outcomes.map(({ kind }) => kind)).size).toBe(1);
          const reached = outcomes.flatMap((each) => (each.kind === 'endpoint' ? [each] : []));
          const pool = reached[0] && graph.pools.get(reached[0].pool);
          expect(reached.map(({ endpoint: each }) => each)).toEqual(pool?.endpoints ?? []);
        },
      ),
    );
  });

  it('never pass a guard they are not allowed by', () => {
    fc.assert(
      fc.property(anyPort, (port) => {
        const guarded: ServicePort = {
          ...port,
          loadBalancerIPs: [address('203.0.113.9')],
          sourceRanges: [cidr('198.51.100.0/24')],
        };
        const node = nodeContext();
        const graph = compileAll(new Map([[guarded.key, guarded]]), node);
        const journey = {
          protocol: guarded.protocol,
          source: address('8.8.8.8'),
          destination: address('203.0.113.9'),
          port: guarded.port,
        };
        const [outcome] = interpret(graph, packetFrom(node, journey));
        expect(outcome?.kind).toBe(guarded.endpoints.hasAny ? 'drop' : 'reject');
      }),
    );
  });
});
