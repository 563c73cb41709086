import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { membersOf } from '../../../src/backends/iptables/diff-sets.ts';
import { lowerAll } from '../../../src/backends/iptables/lower.ts';
import { renderRestore } from '../../../src/backends/iptables/render.ts';
import { defaultFeatures } from '../../../src/backends/iptables/state.ts';
import type { Features } from '../../../src/backends/iptables/state.ts';
import { compileAll } from '../../../src/graph/compile.ts';
import { interpret } from '../../../src/graph/interpret.ts';
import { packetFrom } from '../../../src/graph/packet.ts';
import { toNumber } from '../../../src/graph/rational.ts';
import type { RuleGraph } from '../../../src/graph/rule-graph.ts';
import type { Address, Family } from '../../../src/ip/address.ts';
import { attempts, nodeContexts, servicePortLists } from '../../support/arbitraries.ts';
import type { Attempt } from '../../support/arbitraries.ts';
import { withoutOwnSources } from '../../support/ipvs-deviations.ts';
import { parseTables } from '../../../src/walk/parse.ts';
import { walk } from '../../../src/walk/traverse.ts';

type Shares = Record<string, number>;

function add(shares: Shares, key: string, share: number): Shares {
  shares[key] = (shares[key] ?? 0) + share;
  return shares;
}

/** What may differ while the rules are the same. */
interface Circumstances {
  /** What the node's own firewall does with what nobody accepted. */
  readonly policy: 'ACCEPT' | 'DROP';
  readonly state: 'NEW' | 'ESTABLISHED' | 'INVALID';
  readonly conntrackBeLiberal: boolean;
}

function meant(graph: RuleGraph, attempt: Attempt, circumstances: Circumstances): Shares {
  const shares: Shares = {};
  const isSentOn = (to: Address): boolean =>
    attempt.inInterface !== undefined && !graph.node.localAddresses.includes(to);
  const toOther = isSentOn(attempt.destination);
  if (circumstances.state !== 'NEW') return { [tracked(circumstances, toOther)]: 1 };
  for (const o of interpret(graph, packetFrom(graph.node, attempt))) {
    const isPool = o.kind === 'endpoint';
    const arrived = isPool ? `${o.endpoint.address} ${o.endpoint.port} ${o.masquerade}` : o.kind;
    const isForwarded = isPool ? isSentOn(o.endpoint.address) : o.kind === 'pass' && toOther;
    // What is not masqueraded, pods' own traffic above all, is somebody else's to accept.
    const isStopped = circumstances.policy === 'DROP' && isForwarded && !(isPool && o.masquerade);
    add(shares, isStopped ? 'drop' : arrived, toNumber(o.probability));
  }
  return shares;
}

/** Packets of connections that exist go where those went; packets of none are not forwarded. */
function tracked({ policy, state, conntrackBeLiberal }: Circumstances, toOther: boolean): string {
  if (!toOther || state === 'ESTABLISHED') return 'pass';
  return conntrackBeLiberal && policy === 'ACCEPT' ? 'pass' : 'drop';
}

function simulated(
  graph: RuleGraph,
  features: Features,
  attempt: Attempt,
  { policy, state: packetState, conntrackBeLiberal }: Circumstances,
): Shares {
  const options = { features, masqueradeMark: 0x4000, localhostNodePorts: true };
  const state = lowerAll(graph, { ...options, conntrackBeLiberal });
  const sets = new Map(
    [...state.sets].map(([name, set]) => [String(name), new Set(membersOf(set))]),
  );
  const protocol = attempt.protocol.toLowerCase() as 'tcp' | 'udp' | 'sctp';
  const packet = {
    ...attempt,
    protocol,
    destinationPort: attempt.port,
    sourcePort: 40_000,
    outInterface: 'eth0',
    state: packetState,
  };
  const node = { localAddresses: graph.node.localAddresses, sets };
  const rules = `${renderRestore(state)}*filter\n:FORWARD ${policy} [0:0]\nCOMMIT\n`;
  const shares: Shares = {};
  for (const o of walk(parseTables(rules), node, packet)) {
    const arrived = o.translated
      ? `${o.destination} ${o.port} ${o.masqueraded}`
      : o.masqueraded
        ? 'masqueraded pass'
        : 'pass';
    add(shares, o.kind === 'delivered' ? arrived : o.kind, o.probability);
  }
  return shares;
}

const circumstances: fc.Arbitrary<Circumstances> = fc.record({
  policy: fc.constantFrom('ACCEPT', 'DROP'),
  state: fc.constantFrom('NEW', 'NEW', 'NEW', 'NEW', 'ESTABLISHED', 'INVALID'),
  conntrackBeLiberal: fc.boolean(),
});

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
          around: circumstances,
        }),
      );
      fc.assert(
        fc.property(cases, ({ node, list, attempt, around }) => {
          const graph = compileAll(new Map(list.map((port) => [port.key, port])), node);
          const own = node.localAddresses;
          const want = withoutOwnSources(meant(graph, attempt, around), own);
          const got = withoutOwnSources(simulated(graph, features, attempt, around), own);
          expect(Object.keys(got).toSorted()).toEqual(Object.keys(want).toSorted());
          // Probabilities are written with ten digits, and the kernel keeps 31 bits of them.
          for (const [key, share] of Object.entries(want)) expect(got[key]).toBeCloseTo(share, 7);
        }),
        { numRuns: 80 },
      );
    },
  );
});
