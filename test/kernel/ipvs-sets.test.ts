// What ipset prints of the sets of the ipvs mode is what was put in: the audit compares texts.
import process from 'node:process';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { membersReason } from '../../src/backends/iptables/set-audit.ts';
import { lowerIpvs } from '../../src/backends/ipvs/lower.ts';
import { renderIpvs } from '../../src/backends/ipvs/render.ts';
import type { IpvsState } from '../../src/backends/ipvs/state.ts';
import { compileAll } from '../../src/graph/compile.ts';
import { systemTools } from '../../src/host/run-tool.ts';
import type { Family } from '../../src/ip/address.ts';
import { nodeContexts, servicePortLists } from '../support/arbitraries.ts';
import { ipvsOptions } from '../support/ipvs-states.ts';
import { byKey } from '../support/service-ports.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;
const features = { hairpin: 'ipset', randomFully: true } as const;

/** What `ipset save` prints where the sets of a state were restored, in a network namespace that ends with it. */
async function saved(state: IpvsState): Promise<string> {
  const [, sets = ''] = /^## sets: ipset restore\n([^]*?)^## /m.exec(renderIpvs(state)) ?? [];
  const { exitCode, stdout, stderr } = await systemTools.run(
    'unshare',
    ['--net', 'sh', '-c', 'ipset restore && ipset save'],
    { input: sets, timeoutMs: 20_000, signal: new AbortController().signal },
  );
  if (exitCode !== 0) throw new Error(stderr);
  return stdout;
}

describe.skipIf(!able)(
  'sets of the ipvs mode in the kernel (needs root: it makes a network namespace)',
  () => {
    test.each(['ipv4', 'ipv6'] as const)(
      'come back as they were put in: %s',
      async (family: Family) => {
        const filled = new Set<string>();
        const wanted = new Set<string>();
        const cases = fc.tuple(nodeContexts(family), servicePortLists(family));
        await fc.assert(
          fc.asyncProperty(cases, async ([node, list]) => {
            const state = lowerIpvs(compileAll(byKey(list), node), { ...ipvsOptions, features });
            const text = await saved(state);
            for (const { name, members } of state.rules.sets.values()) {
              if (members !== undefined) wanted.add(name);
            }
            for (const [, name = ''] of text.matchAll(/^add (\S+)/gm)) filled.add(name);
            expect(membersReason(state.rules.sets, text)).toBeUndefined();
          }),
          { numRuns: 15, seed: 5 },
        );
        // every set that a state fills was filled once
        expect([...filled].toSorted()).toEqual([...wanted].toSorted());
      },
    );
  },
);
