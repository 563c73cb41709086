import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lowerAll } from '../../../src/backends/iptables/lower.ts';
import { renderRestore } from '../../../src/backends/iptables/render.ts';
import { defaultFeatures } from '../../../src/backends/iptables/state.ts';
import type { Features } from '../../../src/backends/iptables/state.ts';
import { compileAll } from '../../../src/graph/compile.ts';
import { interpret } from '../../../src/graph/interpret.ts';
import { packetFrom } from '../../../src/graph/packet.ts';
import { toNumber } from '../../../src/graph/rational.ts';
import type { RuleGraph } from '../../../src/graph/rule-graph.ts';
import type { Family } from '../../../src/ip/address.ts';
import { attempts, nodeContexts, servicePortLists } from '../../support/arbitraries.ts';
import type { Attempt } from '../../support/arbitraries.ts';
import { parseTables } from '../../support/iptables-simulator/parse.ts';
import { simulate } from '../../support/iptables-simulator/traverse.ts';

type Shares = Record<string, number>;

function add(shares: Shares, key: string, share: number): Shares {
  shares[key] = (shares[key] ?? 0) + share;
  return shares;
}

function meant(graph: RuleGraph, attempt: Attempt): Shares {
  const shares: Shares = {};
  for (const o of interpret(graph, packetFrom(graph.node, attempt))) {
    const key =
      o.kind === 'endpoint' ? `${o.endpoint.address} ${o.endpoint.port} ${o.masquerade}` : o.kind;
    add(shares, key, toNumber(o.probability));
  }
  return shares;
}

function simulated(graph: RuleGraph, features: Features, attempt: Attempt): Shares {
  const options = {
    features,
    masqueradeMark: 0x4000,
    localhostNodePorts: true,
    conntrackBeLiberal: false,
  };
  const state = lowerAll(graph, options);
  const sets = new Map([...state.sets].map(([name, set]) => [String(name), new Set(set.members)]));
  const protocol = attempt.protocol.toLowerCase() as 'tcp' | 'udp' | 'sctp';
  const packet = {
    ...attempt,
    protocol,
    destinationPort: attempt.port,
    sourcePort: 40_000,
    outInterface: 'eth0',
    state: 'NEW' as const,
  };
  const node = { localAddresses: graph.node.localAddresses, sets };
  const shares: Shares = {};
  for (const o of simulate(parseTables(renderRestore(state)), node, packet)) {
    const arrived = o.translated
      ? `${o.destination} ${o.port} ${o.masqueraded}`
      : o.masqueraded
        ? 'masqueraded pass'
        : 'pass';
    add(shares, o.kind === 'delivered' ? arrived : o.kind, o.probability);
  }
  return shares;
}

const variants = (['bpf', 'ipset', 'rules'] as const).flatMap((hairpin) =>
  (['ipset', 'recent'] as const).map((affinity): Features => ({
    ...defaultFeatures,
    hairpin,
    affinity,
  })),
);

describe.each(['ipv4', 'ipv6'] as const)('iptables rules for %s', (family: Family) => {
  it.each(variants)(
    'mean what the graph means (hairpin $hairpin, affinity $affinity)',
    (features) => {
      const cases = fc.tuple(nodeContexts(family), servicePortLists(family)).chain(([node, list]) =>
        fc.record({
          node: fc.constant(node),
          list: fc.constant(list),
          attempt: attempts(family, list),
        }),
      );
      fc.assert(
        fc.property(cases, ({ node, list, attempt }) => {
          const graph = compileAll(new Map(list.map((port) => [port.key, port])), node);
          const [want, got] = [meant(graph, attempt), simulated(graph, features, attempt)];
          expect(Object.keys(got).toSorted()).toEqual(Object.keys(want).toSorted());
          // Probabilities are written with ten digits, and the kernel keeps 31 bits of them.
          for (const [key, share] of Object.entries(want)) expect(got[key]).toBeCloseTo(share, 7);
        }),
        { numRuns: 60 },
      );
    },
  );
});
