import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loopbackAddresses } from '../../../../src/backends/userspace/loopback-addresses.ts';
import { renderStanding } from '../../../../src/backends/userspace/render.ts';
import { standListeners } from '../../../../src/backends/userspace/standing.ts';
import type { StandingOptions } from '../../../../src/backends/userspace/standing.ts';
import { standingTable } from '../../../../src/backends/userspace/standing-table.ts';
import { compileAll } from '../../../../src/graph/compile.ts';
import { interpret } from '../../../../src/graph/interpret.ts';
import { answersNodePorts, packetFrom } from '../../../../src/graph/packet.ts';
import { toNumber } from '../../../../src/graph/rational.ts';
import type {
  Branch,
  Frontend,
  FrontendId,
  Pool,
  PoolId,
  RuleGraph,
} from '../../../../src/graph/rule-graph.ts';
import type { Address, Family } from '../../../../src/ip/address.ts';
import type { ListenerKey } from '../../../../src/relay/relay.ts';
import type { ServiceName, ServicePort } from '../../../../src/services/service-port.ts';
import { attempts, nodeContexts, servicePortLists } from '../../../support/arbitraries.ts';
import {
  address,
  byKey,
  endpoint,
  nodeContext,
  servicePort,
} from '../../../support/service-ports.ts';
import { parseUserspace } from '../../../support/userspace-simulator/parse.ts';
import { carried } from '../../../support/userspace-simulator/shares.ts';

// Listeners at the frontends' own places: where each stands, and that it means what the graph means.

const options: StandingOptions = { portOffset: 10_000, udpTimeoutMs: 250, drainSeconds: 300 };
const name = (text: string): ServiceName => text as ServiceName;

/** What interpret says of a client of one frontend: without rules, whatever is dropped is refused. */
function meant(graph: RuleGraph, frontend: Frontend, source: Address): Record<string, number> {
  const destination =
    frontend.address ??
    [address('127.0.0.1'), ...graph.node.localAddresses].find((each) =>
      answersNodePorts(graph.node, each),
    );
  if (destination === undefined) throw new Error('node ports answer nowhere');
  const { protocol, port } = frontend;
  const alone = { ...graph, frontends: new Map([[frontend.id, frontend]]) };
  const packet = packetFrom(graph.node, { protocol, source, destination, port });
  const shares: Record<string, number> = {};
  for (const outcome of interpret(alone, packet)) {
    const key =
      outcome.kind === 'endpoint'
        ? `${outcome.endpoint.address} ${outcome.endpoint.port}`
        : 'reject';
    shares[key] = (shares[key] ?? 0) + toNumber(outcome.probability);
  }
  return shares;
}

function whyNotServed(graph: RuleGraph, frontend: Frontend, sources: readonly Address[]): RegExp {
  const { protocol, kind, address: at } = frontend;
  if (protocol === 'SCTP') return /^SCTP has no sockets here$/;
  if (kind.endsWith('IP') && kind !== 'clusterIP' && at && !graph.node.localAddresses.includes(at))
    return /^no address of this machine$/;
  const isServed = sources.some((source) => !('reject' in meant(graph, frontend, source)));
  return isServed ? / listens there$/ : /./;
}

/** The graph without endpoints at which a listener would stand if all endpoints were others. */
function withoutOwnPlaces(graph: RuleGraph): RuleGraph {
  const elsewhere = [{ address: address('198.51.100.250'), port: 1, weight: 1 }];
  const pools = Array.from(graph.pools, ([id, each]) => [id, { ...each, endpoints: elsewhere }]);
  const { listeners } = standListeners(
    [{ ...graph, frontends: graph.frontends, pools: new Map(pools as [PoolId, Pool][]) }],
    options,
  );
  const own = new Set(
    Array.from(listeners.values()).flatMap(({ protocol, place }) =>
      [place?.port, place?.otherwise].map((port) => `${protocol} ${place?.address} ${port}`),
    ),
  );
  const left = new Map<PoolId, Pool>();
  const frontends = Array.from(graph.frontends, ([id, frontend]): [FrontendId, Frontend] => {
    const branches = frontend.branches.map((branch): Branch => {
      const pool = branch.to.kind === 'pool' ? graph.pools.get(branch.to.pool) : undefined;
      if (branch.to.kind !== 'pool' || pool === undefined) return branch;
      const endpoints = pool.endpoints.filter(
        (each) => !own.has(`${frontend.protocol} ${each.address} ${each.port}`),
      );
      if (endpoints.length === 0) return { ...branch, to: { kind: 'reject', reason: '' } };
      const other = `${pool.id} of ${id}` as PoolId;
      left.set(other, { ...pool, id: other, endpoints });
      return { ...branch, to: { ...branch.to, pool: other } };
    });
    return [id, { ...frontend, branches }];
  });
  return { ...graph, frontends: new Map(frontends), pools: left };
}

describe.each(['ipv4', 'ipv6'] as const)('without portals, %s', (family: Family) => {
  it('a listener does with each client what the graph says', () => {
    const cases = fc.tuple(nodeContexts(family), servicePortLists(family)).chain(([node, list]) =>
      fc.record({
        node: fc.constant(node),
        list: fc.constant(list),
        // some external addresses are this machine's
        here: fc.subarray([...new Set(list.flatMap((each) => each.loadBalancerIPs))]),
        clients: fc.array(attempts(family, list), { minLength: 1, maxLength: 8 }),
      }),
    );
    fc.assert(
      fc.property(cases, ({ node, list, here, clients }) => {
        const localAddresses = [...node.localAddresses, ...here];
        const graph = compileAll(byKey(list), { ...node, localAddresses });
        const others = withoutOwnPlaces(graph);
        const state = standListeners([graph], options);
        const parsed = parseUserspace(renderStanding(state));
        expect(parsed.listeners).toHaveLength(state.listeners.size);
        const sources = clients.map(({ source }) => source);
        for (const { frontend, served } of state.frontends) {
          const listener =
            'key' in served ? parsed.listeners.find(({ key }) => key === served.key) : undefined;
          const reason = 'reason' in served ? served.reason : '';
          const other = others.frontends.get(frontend.id) ?? frontend;
          expect(reason).toMatch(listener ? /^$/ : whyNotServed(others, other, sources));
          const { protocol, port } = listener ?? frontend;
          expect({ protocol, port }).toEqual({ protocol: frontend.protocol, port: frontend.port });
          for (const source of listener ? sources : []) {
            const got = Object.fromEntries(carried(listener ?? { routes: [] }, source));
            const want = meant(others, others.frontends.get(frontend.id) ?? frontend, source);
            expect(Object.keys(got).toSorted()).toEqual(Object.keys(want).toSorted());
            for (const [key, share] of Object.entries(want)) expect(got[key]).toBeCloseTo(share, 9);
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});

const web = (overrides: Parameters<typeof servicePort>[0] = {}): ServicePort =>
  servicePort({ endpoints: [endpoint('10.244.1.5:8080', { local: true })], ...overrides });
const webV6 = (overrides: Parameters<typeof servicePort>[0] = {}): ServicePort =>
  servicePort({ clusterIP: 'fd96::10', endpoints: [endpoint('[fd01::5]:8080')], ...overrides });
const nodeV6 = nodeContext({
  family: 'ipv6',
  podDetector: { kind: 'none' },
  nodeAddress: address('2001:db8::1'),
  localAddresses: [address('2001:db8::1'), address('::1')],
  nodePortAddresses: { kind: 'all', loopback: false },
  serviceCidrs: [],
});

/** Places by listener, and the endpoints of each. */
function placesOf(...graphs: readonly RuleGraph[]): readonly string[] {
  const { listeners } = standListeners(graphs, options);
  return Array.from(listeners.values(), ({ place, routes }) => {
    const pools = routes.map(({ to }) =>
      to === 'refuse' ? to : to.endpoints.map((each) => each.address).join('+'),
    );
    return `${place?.address} ${place?.port} ${place?.otherwise} ${pools.join(' ')}`;
  });
}

const own = loopbackAddresses([name('default/web')]).get(name('default/web'));

const leadingTo = (...endpoints: readonly string[]) =>
  web({ endpoints: endpoints.map((each) => endpoint(each)) });
const stateOf = (port: ServicePort) =>
  standListeners([compileAll(byKey([port]), nodeContext())], options);

/** The routes to a load balancer address that is this machine's. */
function guarded(...sourceRanges: readonly string[]) {
  const port = web({
    loadBalancerIPs: ['192.168.0.2'],
    sourceRanges,
    externalPolicy: 'Local',
    endpoints: [endpoint('10.244.2.6:8080'), endpoint('10.244.1.5:8080', { local: true })],
  });
  const { listeners } = standListeners([compileAll(byKey([port]), nodeContext())], options);
  const at = listeners.get('default/web:/TCP at 192.168.0.2:80' as ListenerKey);
  return at?.routes.map(({ sources, to }) => [
    sources?.join(' '),
    to === 'refuse' ? to : to.endpoints.length,
  ]);
}

describe('a place', () => {
  it("is the Service's own loopback address, or its cluster IP where that is one", () => {
    expect(own).toMatch(/^127\.[1-9]\d*\.\d+\.[1-9]\d*$/);
    const db = web({ service: name('default/db'), clusterIP: '127.10.0.1', port: 5432 });
    expect(placesOf(compileAll(byKey([web({ port: 8080 }), db]), nodeContext()))).toEqual([
      '127.10.0.1 5432 undefined 10.244.1.5',
      `${own} 8080 undefined 10.244.1.5`,
    ]);
  });

  it('of a node port is 127.0.0.1, or the addresses that are for node ports', () => {
    const list = byKey([web({ port: 8080, nodePort: 30_080 })]);
    expect(placesOf(compileAll(list, nodeContext()))[1]).toBe(
      '127.0.0.1 30080 undefined 10.244.1.5',
    );
    const addresses = [address('192.168.0.2'), address('10.244.1.1')];
    const nodePortAddresses = { kind: 'list', addresses } as const;
    expect(placesOf(compileAll(list, nodeContext({ nodePortAddresses }))).slice(1)).toEqual([
      '192.168.0.2 30080 undefined 10.244.1.5',
      '10.244.1.1 30080 undefined 10.244.1.5',
    ]);
  });

  it('below 1024 has another port to take, which nobody else wants', () => {
    const admin = web({ portName: 'admin', port: 10_080 });
    const top = web({ portName: 'top', port: 1023 });
    const graph = compileAll(byKey([web(), admin, top]), nodeContext());
    expect(placesOf(graph)).toEqual([
      `${own} 80 10081 10.244.1.5`,
      `${own} 10080 undefined 10.244.1.5`,
      `${own} 1023 11023 10.244.1.5`,
    ]);
  });

  it('has one listener where a Service has two families: the preferred one that has endpoints', () => {
    const v4 = compileAll(byKey([web()]), nodeContext());
    const v6 = compileAll(byKey([webV6()]), nodeV6);
    expect(placesOf(v4, v6)).toEqual([`${own} 80 10080 10.244.1.5`]);
    expect(placesOf(v6, v4)).toEqual([`${own} 80 10080 fd01::5`]);
    const empty = compileAll(byKey([web({ endpoints: [] })]), nodeContext());
    expect(placesOf(empty, v6)).toEqual([`${own} 80 10080 fd01::5`]);
  });

  it('of a Service of IPv6 alone is an IPv4 loopback address, where the node itself is known', () => {
    const local = webV6({ nodePort: 30_080, externalPolicy: 'Local' });
    const graph = compileAll(byKey([local]), nodeV6);
    const { listeners } = standListeners([graph], options);
    const nodePort = listeners.get('default/web:/TCP at 127.0.0.1:30080' as ListenerKey);
    expect(nodePort?.routes).toMatchObject([
      { sources: ['127.0.0.0/8', '::1/128', '2001:db8::1/128'], to: { endpoints: [{}] } },
    ]);
    expect(placesOf(graph)[0]).toBe(`${own} 80 10080 fd01::5`);
  });

  it('lets in who is in the source ranges, by where they come from', () => {
    // pods of the node are 10.244.1.0/24, and reach any endpoint
    expect(guarded('10.0.0.0/8', '198.51.100.7/32')).toEqual([
      ['10.244.1.0/24 10.244.1.1/32', 2],
      ['10.0.0.0/8 198.51.100.7/32', 1],
    ]);
    expect(guarded('10.244.1.128/25')).toEqual([
      ['10.244.1.128/25', 2],
      ['10.244.1.128/25', 1],
    ]);
  });

  it('is no endpoint of anybody, whichever of its ports it has in the end; who has no other is not served', () => {
    const back = [`${own}:80`, `${own}:10080`, '127.0.0.1:30080', '0.0.0.0:30080'];
    const looping = { ...leadingTo('10.244.1.5:8080', ...back), nodePort: 30_080 };
    const state = stateOf(looping);
    expect(placesOf(compileAll(byKey([looping]), nodeContext()))).toEqual([
      `${own} 80 10080 10.244.1.5`,
      '127.0.0.1 30080 undefined 10.244.1.5',
    ]);
    expect(state.leftOut.map((each) => each.endpoint)).toEqual(back.toSorted());
    expect(renderStanding(state)).toContain(
      `# left out: default/web ${own}:80: the listener of default/web:/TCP at ${own}:80 stands there`,
    );
    const alone = stateOf({ ...leadingTo(`${own}:80`), nodePort: 30_080 });
    expect([alone.listeners.size, alone.leftOut.length]).toEqual([0, 1]);
    // UDP is another place
    const udp = stateOf(
      web({ protocol: 'UDP', portName: 'u', port: 53, endpoints: [endpoint(`${own}:80`)] }),
    );
    expect([udp.listeners.size, udp.leftOut]).toEqual([1, []]);
  });

  it('stands in a table, with the port it has in the end', () => {
    const graph = compileAll(
      byKey([web({ externalIPs: ['203.0.113.9'] }), web({ portName: 'sig', protocol: 'SCTP' })]),
      nodeContext(),
    );
    const state = standListeners([graph], options);
    const [key] = state.listeners.keys();
    const moved = new Map([[key as ListenerKey, { port: 10_080 }]]);
    expect(standingTable(state, moved).split('\n')).toEqual([
      'SERVICE          FRONTEND                        LISTENS AT',
      `default/web      cluster IP 10.96.0.10:80/TCP    ${own}:10080`,
      'default/web      external IP 203.0.113.9:80/TCP  - (no address of this machine)',
      'default/web:sig  cluster IP 10.96.0.10:80/SCTP   - (SCTP has no sockets here)',
      '',
    ]);
  });
});

describe('loopback addresses', () => {
  const many = Array.from({ length: 20_000 }, (_, i) => name(`default/s-${i}`));

  it('are each one of its own, outside of 127.0.0.0/16, whatever the order', () => {
    const all = loopbackAddresses(many);
    expect(new Set(all.values()).size).toBe(many.length);
    for (const each of all.values()) {
      const [first, second = 0, , last = 0] = each.split('.').map(Number);
      expect([first, second > 0, last > 0 && last < 255]).toEqual([127, true, true]);
    }
    expect(loopbackAddresses(many.toReversed())).toEqual(all);
  });

  it('stay where another name has the same hash: who has the address keeps it', () => {
    const all = loopbackAddresses(many);
    const second = many.find((each) => loopbackAddresses([each]).get(each) !== all.get(each));
    if (second === undefined) throw new Error('no two names have one hash');
    const wanted = loopbackAddresses([second]).get(second) as Address;
    const first = many.find((each) => all.get(each) === wanted) as ServiceName;
    expect(first < second).toBe(true);
    const kept = new Map([[second, wanted]]);
    const both = loopbackAddresses([first, second], kept);
    expect(both.get(second)).toBe(wanted);
    expect(both.get(first)).not.toBe(wanted);
  });

  it('that are kept are given only where they can be, and once', () => {
    const places = ['127.0.0.1', '127.3.3.255', '192.0.2.1', '127.5.5.5', '127.5.5.5', '127.6.6.6'];
    const kept = new Map(places.map((place, i) => [name(`n/${i}`), address(place)]));
    const given = loopbackAddresses(kept.keys(), kept, new Set([address('127.6.6.6')]));
    expect(given.get(name('n/3'))).toBe('127.5.5.5');
    for (const i of [0, 1, 2, 4, 5])
      expect(given.get(name(`n/${i}`))).toBe(
        loopbackAddresses([name(`n/${i}`)]).get(name(`n/${i}`)),
      );
  });
});
