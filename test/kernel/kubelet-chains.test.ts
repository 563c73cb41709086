import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { detectVariant } from '../../src/backends/iptables/variant.ts';
import { systemTools } from '../../src/host/run-tool.ts';
import type { ToolRunner } from '../../src/host/run-tool.ts';
import { keepIptablesChains } from '../../src/kubelet/housekeeping/iptables-chains.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { VirtualClock } from '../unit/proxy/virtual-clock.ts';
import { NetworkNamespace } from '../support/network-namespace.ts';
import { eventually } from '../support/node-lab.ts';

const { signal } = new AbortController();
const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn('skipped: iptables in a network namespace of its own needs root');

/** The chains by which a node tells which variant of iptables it uses, made by the real tools. */
describe.skipIf(!isRoot).each(['legacy', 'nft'])('a kubelet whose iptables is %s', (variant) => {
  let network: NetworkNamespace;
  let stop: AbortController;
  let clock: VirtualClock;
  let keeping: Promise<void>;

  const inside = async (tool: string, ...args: readonly string[]): Promise<string> => {
    const command = ['netns', 'exec', network.name, tool, ...args];
    return (await systemTools.run('ip', command, { timeoutMs: 20_000, signal })).stdout;
  };
  /** On this node `iptables` is of the variant. */
  const tools: ToolRunner = {
    run: async (tool, args, options) => {
      const chosen = /^ip6?tables$/.test(tool) ? `${tool}-${variant}` : tool;
      return systemTools.run('ip', ['netns', 'exec', network.name, chosen, ...args], options);
    },
  };
  const chains = async (): Promise<readonly string[]> => {
    const saved = ['iptables', 'ip6tables'].map(async (tool) =>
      inside(`${tool}-${variant}-save`, '-t', 'mangle'),
    );
    return (await Promise.all(saved)).flatMap((text) => text.match(/^:KUBE-\S+ - /gm) ?? []);
  };
  const both = [':KUBE-IPTABLES-HINT - ', ':KUBE-KUBELET-CANARY - '];

  beforeEach(async () => {
    network = await NetworkNamespace.create('192.0.2.1');
    stop = new AbortController();
    clock = new VirtualClock();
    keeping = keepIptablesChains({ tools, clock, log: silentLog }, stop.signal);
  });
  afterEach(async () => {
    stop.abort();
    await keeping;
    await network.close();
  });

  it('has both in both families, and makes them again where somebody has flushed the tables', async () => {
    await eventually(chains, (found) => found.length === 4);
    expect((await chains()).toSorted()).toEqual([both[0], both[0], both[1], both[1]]);
    await inside(`iptables-${variant}`, '-t', 'mangle', '-X');
    expect(await chains()).toEqual(both);
    await eventually(
      async () => {
        await clock.advance(60_000);
        return chains();
      },
      (found) => found.length === 4,
    );
  });

  it('tells a service proxy which variant it is to use', async () => {
    await eventually(chains, (found) => found.length === 4);
    expect(await detectVariant(tools, signal)).toMatchObject({ variant });
  });
});
