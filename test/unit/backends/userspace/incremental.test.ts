import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { diff } from '../../../../src/backends/iptables/diff.ts';
import { membersOf } from '../../../../src/backends/iptables/diff-sets.ts';
import { renderTables } from '../../../../src/backends/iptables/render.ts';
import { KeyedTable } from '../../../../src/backends/keyed-table.ts';
import { lowerUserspace, UserspaceLowering } from '../../../../src/backends/userspace/lower.ts';
import { PortalGraphs } from '../../../../src/backends/userspace/portal-graph.ts';
import { defaultUserspaceOptions } from '../../../../src/backends/userspace/state.ts';
import type {
  ListenerPort,
  ListenerPorts,
  UserspaceState,
} from '../../../../src/backends/userspace/state.ts';
import { GraphCompiler } from '../../../../src/graph/compile.ts';
import type { NodeContext } from '../../../../src/graph/node-context.ts';
import type { ListenerKey } from '../../../../src/relay/relay.ts';
import type {
  ServiceName,
  ServicePort,
  ServicePortKey,
  ServicePortName,
} from '../../../../src/services/service-port.ts';
import { nodeContexts, servicePortLists } from '../../../support/arbitraries.ts';
import { address, endpoint, nodeContext, servicePort } from '../../../support/service-ports.ts';

// One state after the other: the same as each made from nothing, at the cost of what changed.

const nothing = { everything: false, frontends: new Set<never>(), pools: new Set<never>() };

/** A compiler and a lowering that are told of one change after the other. */
class Node {
  readonly services = new Map<ServicePortKey, ServicePort>();
  readonly #compiler = new GraphCompiler();
  readonly #lowering = new UserspaceLowering(defaultUserspaceOptions);
  readonly #portals = new PortalGraphs();
  ports: ListenerPorts = new KeyedTable();
  #nextPort = 20_001;
  #context: NodeContext = nodeContext();
  #anew: (() => UserspaceState) | undefined;
  /** Of the last portal graph. */
  portalDelta: readonly string[] = [];

  put(...services: readonly ServicePort[]): UserspaceState {
    for (const each of services) this.services.set(each.key, each);
    return this.sync(new Set(services.map(({ key }) => key)));
  }

  sync(
    changed: ReadonlySet<ServicePortKey>,
    exclude?: ReadonlySet<ServicePortName>,
    context = this.#context,
    refused: readonly number[] = [],
  ): UserspaceState {
    this.#context = context;
    const { graph, delta } = this.#compiler.compile(this.services, changed, context);
    const listeners = this.#lowering.listeners(graph, delta, this.ports);
    const changes = new Map<ListenerKey, ListenerPort | undefined>();
    for (const key of this.ports.keys()) if (!listeners.has(key)) changes.set(key, undefined);
    for (const [i, key] of [...listeners.keys()].toSorted().entries()) {
      const held = this.ports.get(key);
      const isRefused = refused.includes(i);
      if (held && 'refused' in held === isRefused) continue;
      changes.set(key, isRefused ? { refused: 'EADDRINUSE' } : { port: this.#nextPort++ });
    }
    this.ports = this.ports.with(changes);
    const { ports } = this;
    this.#anew = () => lowerUserspace(graph, ports, defaultUserspaceOptions, exclude);
    this.portalDelta = [...this.#portals.lower(graph, delta, ports).delta.frontends];
    this.#lowering.listeners(graph, nothing, ports);
    return this.#lowering.portals(graph, ports, exclude);
  }

  /** The state of the last graph, made from nothing. */
  anew(): UserspaceState {
    if (!this.#anew) throw new Error('nothing was lowered');
    return this.#anew();
  }
}

/** All of a state that anybody reads, in an order. */
function whole({
  rules,
  listeners,
  refused,
  leftOut,
  portals,
  address: at,
}: UserspaceState): unknown {
  const sets = Array.from(rules.sets.values(), (set) => [
    set.name,
    set.create,
    [...membersOf(set)].toSorted(),
  ]);
  return {
    at,
    rules: renderTables(rules),
    jumps: rules.jumps,
    sets,
    listeners: sorted(listeners),
    refused,
    leftOut,
    frontends: sorted(portals.frontends),
    pools: sorted(portals.pools),
  };
}

function sorted<K extends string, V>(map: ReadonlyMap<K, V>): readonly unknown[] {
  return [...map].toSorted(([a], [b]) => (a < b ? -1 : 1));
}

const steps = fc.array(
  fc.record({
    list: servicePortLists('ipv4'),
    keeps: fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }),
    context: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, nodeContexts('ipv4')),
    excluded: fc.subarray(['default/s0', 'default/s1']),
    refused: fc.array(fc.nat(20), { maxLength: 4 }),
  }),
  { minLength: 1, maxLength: 6 },
);

function fleet(count: number): readonly ServicePort[] {
  return Array.from({ length: count }, (_, i) =>
    servicePort({
      service: `default/s-${i}` as ServiceName,
      clusterIP: `10.96.${i >> 8}.${i % 256}`,
      nodePort: 30_000 + i,
      endpoints: [endpoint(`10.244.2.${i % 250}:8080`)],
    }),
  );
}

/** The first of a fleet, with other endpoints. */
function moved(...endpoints: readonly string[]): ServicePort {
  const [first] = fleet(1);
  if (first === undefined) throw new Error('no fleet');
  const other = servicePort({ endpoints: endpoints.map((each) => endpoint(each)) });
  return { ...first, endpoints: other.endpoints };
}

/** Where the first of a fleet leads. */
const endpointsOf = ({ listeners }: UserspaceState) => {
  const to = listeners.get('default/s-0:/TCP cluster ipv4' as ListenerKey)?.routes[0]?.to;
  return to === undefined || to === 'refuse'
    ? []
    : to.endpoints.map((each) => `${each.address}:${each.port}`);
};

describe('userspace states, one after the other', () => {
  it('are what the last graph and ports alone would give', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const node = new Node();
        for (const { list, keeps, context, excluded, refused } of all) {
          const changed = new Set(list.map(({ key }) => key));
          for (const [i, port] of list.entries()) {
            if (keeps[i] === true) node.services.set(port.key, port);
            else node.services.delete(port.key);
          }
          const state = node.sync(
            changed,
            new Set(excluded as ServicePortName[]),
            context,
            refused,
          );
          expect(whole(state)).toEqual(whole(node.anew()));
        }
      }),
      { numRuns: 60 },
    );
  });

  it('differ in one listener where endpoints alone change, and in no rule, portal or set', () => {
    const node = new Node();
    const before = node.put(...fleet(300));
    const after = node.put(moved('10.244.9.9:8080', '10.244.9.10:8080'));
    expect(node.portalDelta).toEqual([]);
    expect(after.rules).toBe(before.rules);
    const differing = Array.from(after.listeners.changesFrom(before.listeners), ([key]) => key);
    expect(differing).toEqual(['default/s-0:/TCP cluster ipv4']);
  });

  it('refuse a service that loses its endpoints, and take away its listener and port', () => {
    const node = new Node();
    const before = node.put(...fleet(3));
    const after = node.put(moved());
    expect(node.portalDelta.toSorted()).toEqual(['10.96.0.0/TCP/80', 'nodePort/TCP/30000']);
    expect(after.listeners.size).toBe(before.listeners.size - 1);
    const { restore, sets } = diff(before.rules, after.rules, 'test/2');
    expect(sets.remove).toEqual([{ set: 'KUBE-USERSPACE-PORTS', member: '192.168.0.2,tcp:20001' }]);
    expect(restore).toContain('default/s-0 has no endpoints');
  });

  it('need one portal and one member more for one service more', () => {
    const node = new Node();
    const before = node.put(...fleet(300));
    const come = servicePort({
      service: 'default/zz' as ServiceName,
      clusterIP: '10.97.0.1',
      endpoints: [endpoint('10.244.2.7:8080')],
    });
    const after = node.put(come);
    expect(node.portalDelta).toEqual(['10.97.0.1/TCP/80']);
    expect(after.listeners.size).toBe(before.listeners.size + 1);
    const { sets, tables } = diff(before.rules, after.rules, 'test/2');
    expect(sets).toMatchObject({
      create: [],
      add: [{ set: 'KUBE-USERSPACE-PORTS', member: '192.168.0.2,tcp:20301' }],
      remove: [],
    });
    expect(tables).toEqual(['nat']);
  });

  it('leave out endpoints that become places of this proxy, and lead there again when they are none', () => {
    const node = new Node();
    const [own, other, nodePort, listener] = [
      '10.244.2.9:80',
      '10.97.0.1:80',
      '192.168.0.2:30500',
      '192.168.0.2:20003',
    ];
    const leading = moved(own, other, nodePort, listener);
    expect(endpointsOf(node.put(...fleet(2), leading))).toEqual(
      [own, other, listener, nodePort].toSorted(),
    );
    const come = servicePort({
      service: 'default/zz' as ServiceName,
      clusterIP: '10.97.0.1',
      nodePort: 30_500,
      endpoints: [endpoint('10.244.2.7:8080')],
    });
    const after = node.put(come);
    expect(endpointsOf(after)).toEqual([own]);
    expect(after.leftOut).toMatchObject([
      {
        name: 'default/s-0',
        endpoint: other,
        reason: expect.stringMatching(/^10\.97\.0\.1\/TCP\/80 stands/),
      },
      { endpoint: listener, reason: expect.stringMatching(/^the listener of default\/zz/) },
      { endpoint: nodePort, reason: expect.stringMatching(/^nodePort\/TCP\/30500 stands/) },
    ]);
    node.services.delete(come.key);
    const again = node.sync(new Set([come.key]));
    expect(endpointsOf(again)).toEqual([own, other, listener, nodePort].toSorted());
    expect(again.leftOut).toEqual([]);
    // the same place of the other protocol is somebody else's
    const udp = node.put({ ...come, protocol: 'UDP', key: 'default/zz:/UDP' as ServicePortKey });
    expect(udp.leftOut).toEqual([]);
  });

  it('follow the one address of the node', () => {
    const node = new Node();
    node.put(...fleet(2));
    const after = node.sync(
      new Set(),
      undefined,
      nodeContext({ nodeAddress: address('192.168.0.9') }),
    );
    const [set] = after.rules.sets.values();
    expect(set && [...membersOf(set)].toSorted()).toEqual([
      '192.168.0.9,tcp:20001',
      '192.168.0.9,tcp:20002',
    ]);
    const none = node.sync(new Set(), undefined, nodeContext({ nodeAddress: undefined }));
    expect(none.address).toBeUndefined();
    expect(none.refused.map(({ reason }) => reason)).toEqual([
      'this node has no IPv4 address to listen at',
      'this node has no IPv4 address to listen at',
    ]);
  });

  it('are the same object where nothing differs', () => {
    const node = new Node();
    const before = node.put(...fleet(20));
    const again = node.sync(new Set());
    expect(again.rules).toBe(before.rules);
    expect(again.listeners).toBe(before.listeners);
    const anew = node.sync(new Set(), undefined, nodeContext({ masqueradeAll: true }));
    expect(anew.listeners).toBe(before.listeners);
    expect(diff(before.rules, anew.rules, 'test/2').restore).toBe('');
  });
});
