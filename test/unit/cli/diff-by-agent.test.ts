import { describe, expect, it } from 'vitest';
import { lowerAll } from '../../../src/backends/iptables/lower.ts';
import { compareByAgent } from '../../../src/cli/diff/by-agent.ts';
import { compileAll } from '../../../src/graph/compile.ts';
import { desiredLines } from '../../../src/proxy/admin/desired.ts';
import { nodeContext } from '../../support/service-ports.ts';
import { VirtualClock } from '../proxy/virtual-clock.ts';

const rules = lowerAll(compileAll(new Map(), nodeContext()), {
  features: { hairpin: 'bpf', affinity: 'ipset', randomFully: true, comments: 'all' },
  masqueradeMark: 0x4000,
  localhostNodePorts: true,
  conntrackBeLiberal: false,
});

/** Job: what is told of an agent's rules says whether the agent was done with them. */
describe('rules that are as the agent wants them', () => {
  it.each([true, false])(
    'are told with whether nothing waits to be written (%s)',
    async (isSettled) => {
      const lines = [...desiredLines({ state: { variant: 'nft', rules }, syncs: 3, isSettled })];
      const client = { get: async () => lines.join('\n') };
      const { signal } = new AbortController();
      const compared = compareByAgent(client, 'ipv4', async () => [], new VirtualClock(), signal);
      expect(await compared).toEqual({ parts: [], isSettled });
    },
  );
});
