import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lowerIpvs } from '../../../src/backends/ipvs/lower.ts';
import { defaultIpvsFeatures } from '../../../src/backends/ipvs/options.ts';
import type { IpvsOptions } from '../../../src/backends/ipvs/options.ts';
import { renderIpvs } from '../../../src/backends/ipvs/render.ts';
import { compileAll } from '../../../src/graph/compile.ts';
import type { RuleGraph } from '../../../src/graph/rule-graph.ts';
import type { Address, Family } from '../../../src/ip/address.ts';
import type { ServiceName } from '../../../src/services/service-port.ts';
import { attempts, nodeContexts, servicePortLists } from '../../support/arbitraries.ts';
import type { Attempt } from '../../support/arbitraries.ts';
import { meantByIpvs, withoutOwnSources } from '../../support/ipvs-deviations.ts';
import type { Shares } from '../../support/ipvs-deviations.ts';
import { parseIpvs } from '../../support/ipvs-simulator/parse.ts';
import type { ParsedIpvs } from '../../support/ipvs-simulator/parse.ts';
import { simulatedShares } from '../../support/ipvs-simulator/shares.ts';
import { ipvsOptions } from '../../support/ipvs-states.ts';
import { address, byKey, endpoint, nodeContext, servicePort } from '../../support/service-ports.ts';

// The rendered text, walked as the kernel walks it, against the meaning of the graph.

/** What may differ while the text is the same. */
interface Circumstances {
  /** What the node's own firewall does with what nobody accepted of what is forwarded. */
  readonly policy: 'ACCEPT' | 'DROP';
  readonly state: 'NEW' | 'ESTABLISHED' | 'INVALID';
  readonly conntrackBeLiberal: boolean;
  /** The node's own packet to a bound address has that as its source, as the kernel chooses it. */
  readonly fromItself: boolean;
}

const circumstances: fc.Arbitrary<Circumstances> = fc.record({
  policy: fc.constantFrom('ACCEPT', 'DROP'),
  state: fc.constantFrom('NEW', 'NEW', 'NEW', 'NEW', 'ESTABLISHED', 'INVALID'),
  conntrackBeLiberal: fc.boolean(),
  fromItself: fc.boolean(),
});

/** Where packets go that are the first of no connection: on, but forwarded only where they belong to one. */
function tracked(
  { policy, state, conntrackBeLiberal }: Circumstances,
  isForwarded: boolean,
): Shares {
  if (!isForwarded || state === 'ESTABLISHED') return { pass: 1 };
  return conntrackBeLiberal && policy === 'ACCEPT' ? { pass: 1 } : { drop: 1 };
}

function meant(
  graph: RuleGraph,
  ipvs: ParsedIpvs,
  attempt: Attempt,
  around: Circumstances,
  options: IpvsOptions,
): Shares {
  const own = [...graph.node.localAddresses, ...ipvs.addresses];
  const isForwarded = attempt.inInterface !== undefined && !own.includes(attempt.destination);
  if (around.state !== 'NEW') return tracked(around, isForwarded);
  const { shares } = meantByIpvs(graph, attempt, options);
  // What ipvs takes is never forwarded: it leaves by OUTPUT.
  return 'pass' in shares && isForwarded && around.policy === 'DROP' ? { drop: 1 } : shares;
}

const cases = (family: Family) =>
  fc.tuple(nodeContexts(family), servicePortLists(family)).chain(([node, list]) => {
    const outside = list.flatMap((port) => [...port.externalIPs, ...port.loadBalancerIPs]);
    return fc.record({
      node: fc.constant(node),
      list: fc.constant(list),
      attempt: attempts(family, list),
      around: circumstances,
      /** An address of another Node. */
      foreign: fc.constantFrom(undefined, undefined, ...outside),
      scheduler: fc.constantFrom('rr', 'lc', 'dh', 'wlc'),
    });
  });

describe.each(['ipv4', 'ipv6'] as const)('the ipvs text for %s', (family: Family) => {
  it.each(['bpf', 'ipset'] as const)(
    'means what the graph means, but for the deviations (hairpin %s)',
    (hairpin) => {
      fc.assert(
        fc.property(cases(family), ({ node, list, attempt: drawn, around, foreign, scheduler }) => {
          const graph = compileAll(byKey(list), node);
          const reserved = (at: Address) =>
            at === foreign ? 'an address of Node node-2' : undefined;
          const { conntrackBeLiberal } = around;
          const features = { ...defaultIpvsFeatures, hairpin };
          const options = { ...ipvsOptions, features, conntrackBeLiberal, reserved, scheduler };
          const text = renderIpvs(lowerIpvs(graph, options));
          const ipvs = parseIpvs(
            text.replace(/^\*filter$/m, `*filter\n:FORWARD ${around.policy} [0:0]`),
          );
          const isItself =
            around.fromItself &&
            drawn.inInterface === undefined &&
            ipvs.addresses.includes(drawn.destination);
          const attempt = isItself ? { ...drawn, source: drawn.destination } : drawn;
          const own = node.localAddresses;
          const seen = simulatedShares(ipvs, own, attempt, around.state);
          const got = withoutOwnSources(seen, own);
          const want = withoutOwnSources(meant(graph, ipvs, attempt, around, options), own);
          expect(Object.keys(got).toSorted()).toEqual(Object.keys(want).toSorted());
          for (const [key, share] of Object.entries(want)) expect(got[key]).toBeCloseTo(share, 7);
        }),
        { numRuns: 200 },
      );
    },
  );
});

it("the node reaches a pod of its own network at another service's node port without endpoints", () => {
  const node = nodeContext();
  const own = endpoint('192.168.0.2:30090', { local: true });
  const refused = servicePort({
    service: 'default/other' as ServiceName,
    clusterIP: '10.96.0.11',
    nodePort: 30_090,
  });
  const graph = compileAll(byKey([servicePort({ endpoints: [own] }), refused]), node);
  const ipvs = parseIpvs(renderIpvs(lowerIpvs(graph, ipvsOptions)));
  const attempt: Attempt = {
    protocol: 'TCP',
    source: address('192.168.0.2'),
    inInterface: undefined,
    destination: address('10.96.0.10'),
    port: 80,
  };
  const to = (destination: Address, port: number) =>
    simulatedShares(ipvs, node.localAddresses, { ...attempt, destination, port });
  expect(to(address('10.96.0.10'), 80)).toEqual({ '192.168.0.2 30090 true': 1 });
  expect(to(address('192.168.0.2'), 30_090)).toEqual({ reject: 1 });
});
