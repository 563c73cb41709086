// Between any two lines of any tool, a packet meets what it met before, what it meets after, or a refusal.
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { IptablesBackend } from '../../../src/backends/iptables/backend.ts';
import { lowerAll } from '../../../src/backends/iptables/lower.ts';
import { renderRestore } from '../../../src/backends/iptables/render.ts';
import { defaultFeatures } from '../../../src/backends/iptables/state.ts';
import type { IptablesState } from '../../../src/backends/iptables/state.ts';
import { lowerIpvs } from '../../../src/backends/ipvs/lower.ts';
import { IpvsRemains } from '../../../src/backends/ipvs/remains.ts';
import type { RuleGraph } from '../../../src/graph/rule-graph.ts';
import { AfterIpvs } from '../../../src/proxy/after-ipvs.ts';
import { FakeIpvsNode } from '../../support/fake-ipvs-node.ts';
import { emptyDelta, emptyGraph } from '../../support/iptables-states.ts';
import { backendParts, startAgent } from '../../support/ipvs-agents.ts';
import { changesThrough, graphsOf } from '../../support/ipvs-changes.ts';
import { ipvsOptions } from '../../support/ipvs-states.ts';
import { Watch, isKnownOrRefused } from '../../support/ipvs-watch.ts';
import type { Explanation } from '../../support/ipvs-watch.ts';
import { VirtualClock } from '../proxy/virtual-clock.ts';

const { signal } = new AbortController();
const clock = new VirtualClock();

/** Where the node stands before the sync that is watched. */
type Start = 'change' | 'restart' | 'nothing' | 'iptables mode' | 'to iptables mode';

const iptablesOptions = {
  features: defaultFeatures,
  masqueradeMark: 0x4000,
  localhostNodePorts: false,
  conntrackBeLiberal: false,
};

/** Brings the node where it stands before, and gives what brings it where it stands after. */
async function prepare(
  node: FakeIpvsNode,
  start: Start,
  before: RuleGraph,
  after: RuleGraph,
): Promise<() => Promise<unknown>> {
  let sync = startAgent(node, { clock });
  if (start === 'iptables mode') {
    const input = renderRestore(lowerAll(before, iptablesOptions));
    await node.tools.run('iptables-restore', [], { input, timeoutMs: 1000, signal });
  } else if (start !== 'nothing') {
    await sync(lowerIpvs(before, ipvsOptions));
    if (start === 'restart') sync = startAgent(node, { clock });
  }
  return start === 'to iptables mode'
    ? async () => runIptables(node, lowerAll(after, iptablesOptions))
    : async () => sync(lowerIpvs(after, ipvsOptions));
}

/** Iptables mode on the node, until nothing of an ipvs mode is left. */
async function runIptables(node: FakeIpvsNode, state: IptablesState): Promise<void> {
  const parts = backendParts(node, clock);
  const backend = new AfterIpvs(
    {
      ...parts,
      remains: new IpvsRemains({ ...parts, excludeCidrs: [], readTable: node.readTable }),
      drainMs: 60_000,
      lifetime: signal,
      onGone: async () => undefined,
    },
    (hooks) => new IptablesBackend({ ...parts, ...hooks, lowering: { lower: () => state } }),
  );
  await backend.sync(emptyGraph, emptyDelta, signal);
  await backend.ended();
}

/**
 * Under the rules of iptables mode node ports answer on every address that is bound, and what they refuse to the node itself
 * ipvs takes first. Whom guards keep away stays away.
 */
const isExplainedBesideIptables: Explanation = (end, known, { port }) => {
  const isGuarded = [...known].join() === 'drop' && port < 30_000;
  return isKnownOrRefused(end, known) || (end.includes(':') && !isGuarded);
};

it.each<Start>(['change', 'restart', 'nothing', 'iptables mode', 'to iptables mode'])(
  'no packet escapes or reaches the node itself between two steps of a sync (%s)',
  async (start) => {
    const isBesideIptables = start.endsWith('iptables mode');
    await fc.assert(
      fc.asyncProperty(changesThrough(2), async (changes) => {
        const [before, after] = graphsOf(changes) as [RuleGraph, RuleGraph];
        const node = new FakeIpvsNode();
        const sync = await prepare(node, start, before, after);
        const watch = new Watch(node, changes);
        const first = watch.begin();
        await sync();
        const last = watch.end();
        const explanation = isBesideIptables ? isExplainedBesideIptables : isKnownOrRefused;
        expect(watch.strange([first, last], explanation)).toEqual([]);
      }),
      // Shrinking would take minutes.
      { numRuns: isBesideIptables ? 8 : 20, endOnFailure: true },
    );
  },
);
