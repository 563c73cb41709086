import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { diff } from '../../../../src/backends/iptables/diff.ts';
import { prepareScript } from '../../../../src/backends/iptables/ipsets.ts';
import { IpvsLowering, lowerIpvs } from '../../../../src/backends/ipvs/lower.ts';
import { renderIpvs } from '../../../../src/backends/ipvs/render.ts';
import type { IpvsState } from '../../../../src/backends/ipvs/state.ts';
import { KeyedTable } from '../../../../src/backends/keyed-table.ts';
import { GraphCompiler } from '../../../../src/graph/compile.ts';
import type { NodeContext } from '../../../../src/graph/node-context.ts';
import type {
  ServiceName,
  ServicePort,
  ServicePortKey,
  ServicePortName,
} from '../../../../src/services/service-port.ts';
import { nodeContexts, servicePortLists } from '../../../support/arbitraries.ts';
import { ipvsOptions, serverLines } from '../../../support/ipvs-states.ts';
import { address, endpoint, nodeContext, servicePort } from '../../../support/service-ports.ts';

// One state after the other: the same as each made from nothing, at the cost of what changed.

/** A compiler and a lowering that are told of one change after the other. */
class Node {
  readonly ports = new Map<ServicePortKey, ServicePort>();
  readonly #compiler = new GraphCompiler();
  readonly #lowering = new IpvsLowering(ipvsOptions);
  #context: NodeContext = nodeContext();
  #anew = (): IpvsState => this.sync(new Set());

  put(...ports: readonly ServicePort[]): IpvsState {
    for (const port of ports) this.ports.set(port.key, port);
    return this.sync(new Set(ports.map(({ key }) => key)));
  }

  sync(
    changed: ReadonlySet<ServicePortKey>,
    exclude?: ReadonlySet<ServicePortName>,
    context = this.#context,
  ): IpvsState {
    this.#context = context;
    const { graph, delta } = this.#compiler.compile(this.ports, changed, context);
    this.#anew = () => lowerIpvs(graph, ipvsOptions, exclude);
    return this.#lowering.lower(graph, delta, exclude);
  }

  /** The state of the last graph, made from nothing. */
  anew(): IpvsState {
    return this.#anew();
  }
}

/** All of a state that anybody reads, in an order. */
function whole(state: IpvsState): readonly unknown[] {
  const owners = [...state.addresses].map(([at, { origin }]) => `${at} ${origin?.servicePort}`);
  return [renderIpvs(state).split('\n'), state.refused, owners.toSorted()];
}

const steps = fc.array(
  fc.record({
    list: servicePortLists('ipv4'),
    keeps: fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }),
    context: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, nodeContexts('ipv4')),
    excluded: fc.subarray(['default/s0', 'default/s1']),
  }),
  { minLength: 1, maxLength: 6 },
);

function fleet(count: number): readonly ServicePort[] {
  return Array.from({ length: count }, (_, i) =>
    servicePort({
      service: `default/s-${i}` as ServiceName,
      clusterIP: `10.96.${i >> 8}.${i % 256}`,
      externalIPs: [`203.0.113.${i % 200}`],
      port: 1000 + i,
      endpoints: [endpoint(`10.244.2.${i % 250}:8080`)],
    }),
  );
}

describe('ipvs states, one after the other', () => {
  it('are what the last graph alone would give', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const node = new Node();
        for (const { list, keeps, context, excluded } of all) {
          const changed = new Set(list.map(({ key }) => key));
          for (const [i, port] of list.entries()) {
            if (keeps[i] === true) node.ports.set(port.key, port);
            else node.ports.delete(port.key);
          }
          const state = node.sync(changed, new Set(excluded as ServicePortName[]), context);
          expect(whole(state)).toEqual(whole(node.anew()));
        }
      }),
      { numRuns: 60 },
    );
  });

  it('follow the addresses of the node', () => {
    const node = new Node();
    const taken = servicePort({ nodePort: 30_080, externalIPs: ['203.0.113.9'], endpoints: [] });
    const port = { ...taken, endpoints: fleet(1)[0]?.endpoints ?? taken.endpoints };
    expect([...node.put(port).addresses.keys()].toSorted()).toEqual(['10.96.0.10', '203.0.113.9']);
    const localAddresses = ['127.0.0.1', '192.168.0.2', '203.0.113.9'].map(address);
    const after = node.sync(new Set(), undefined, nodeContext({ localAddresses }));
    expect([...after.addresses.keys()]).toEqual(['10.96.0.10']);
    expect(serverLines(after)).toContain('-t 203.0.113.9:30080 -s rr');
    expect(serverLines(after)).toContain('-t 203.0.113.9:80 -s rr');
  });

  it('keep whatever did not change, also where everything is made anew', () => {
    const node = new Node();
    const before = node.put(...fleet(300));
    const again = node.sync(new Set(), undefined, nodeContext({ masqueradeAll: true }));
    for (const [key, server] of before.servers) expect(again.servers.get(key)).toBe(server);
    expect(again.rules.sets.get('KUBE-IPVS-SERVED-1' as never)).toBe(
      before.rules.sets.get('KUBE-IPVS-SERVED-1' as never),
    );
    expect(again.servers).toBe(before.servers);
    expect(again.addresses).toBe(before.addresses);
    const same = node.sync(new Set());
    expect(same.rules).toBe(again.rules);
  });

  it('differ in one server where endpoints of one service change, and in no set', () => {
    const node = new Node();
    const before = node.put(...fleet(300));
    const [first] = fleet(1);
    if (first === undefined) throw new Error('no fleet');
    const endpoints = servicePort({ endpoints: [endpoint('10.244.9.9:8080')] }).endpoints;
    const after = node.put({ ...first, endpoints });
    if (!(after.servers instanceof KeyedTable && before.servers instanceof KeyedTable)) {
      throw new TypeError('servers are no tables');
    }
    expect(
      [...after.servers.changesFrom(before.servers)].map(([key]) => String(key)).toSorted(),
    ).toEqual(['TCP/10.96.0.0:1000', 'TCP/203.0.113.0:1000']);
    expect(after.rules.sets).toBe(before.rules.sets);
  });

  it('of another service need lines of sets and no rule', () => {
    const node = new Node();
    const before = node.put(...fleet(300));
    const gone = servicePort({ service: 'default/s-7' as ServiceName }).key;
    node.ports.delete(gone);
    const come = servicePort({
      service: 'default/new' as ServiceName,
      loadBalancerIPs: ['198.51.100.7'],
      sourceRanges: ['203.0.113.0/24'],
      endpoints: [endpoint('10.244.2.1:8080')],
    });
    node.ports.set(come.key, come);
    const after = node.sync(new Set([gone, come.key]));
    const { restore, sets, deletions } = diff(before.rules, after.rules, 'generation a 2');
    expect({ restore, deletions }).toEqual({ restore: '', deletions: [] });
    expect(prepareScript(sets, []).split('\n')).toEqual([
      'add -exist KUBE-IPVS-MASQ-ALL-1 198.51.100.7,tcp:80',
      'add -exist KUBE-IPVS-MASQ-OTHERS-1 10.96.0.10,tcp:80',
      'add -exist KUBE-IPVS-ALLOWED-1 198.51.100.7,tcp:80,203.0.113.0/24',
      'add -exist KUBE-IPVS-GUARDED-1 198.51.100.7,tcp:80',
      'add -exist KUBE-IPVS-SERVED-1 10.96.0.10,tcp:80',
      'add -exist KUBE-IPVS-SERVED-1 198.51.100.7,tcp:80',
      'add -exist KUBE-IPVS-BOUND-1 198.51.100.7',
      'del -exist KUBE-IPVS-MASQ-ALL-1 203.0.113.7,tcp:1007',
      'del -exist KUBE-IPVS-MASQ-OTHERS-1 10.96.0.7,tcp:1007',
      'del -exist KUBE-IPVS-SERVED-1 10.96.0.7,tcp:1007',
      'del -exist KUBE-IPVS-SERVED-1 203.0.113.7,tcp:1007',
      'del -exist KUBE-IPVS-BOUND-1 10.96.0.7',
      '',
    ]);
  });
});
