import { randomBytes } from 'node:crypto';
import { hairpinMatch } from '../backends/iptables/hairpin.ts';
import type { ApplyPort } from '../backends/iptables/apply.ts';
import { tryRules } from '../backends/iptables/probe.ts';
import type { Features } from '../backends/iptables/state.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import type { Family } from '../ip/address.ts';

/** MASQUERADE --random-fully came with iptables 1.6.2. */
const randomFullySince = [1, 6, 2] as const;
const timeoutMs = 10_000;

/**
 * What kernel and tools can do for one family: each feature is tried, in a chain and a set of its
 * own that nothing leads to and that are gone afterwards.
 */
export async function probeFeatures(port: ApplyPort, signal: AbortSignal): Promise<Features> {
  const { family, version } = port.iptables;
  const bpf = await takes(port, [`${hairpinMatch(family, 'bpf')} -j RETURN`], signal);
  const sets = await withProbeSet(port.tools, family, signal, async (name) =>
    takes(
      port,
      [`-m set --match-set ${name} src -j RETURN`, `-j SET --add-set ${name} src --exist`],
      signal,
    ),
  );
  return {
    hairpin: bpf ? 'bpf' : sets ? 'ipset' : 'rules',
    affinity: sets ? 'ipset' : 'recent',
    randomFully: compareVersions(version, randomFullySince) >= 0,
    comments: 'auto',
  };
}

async function takes(
  port: ApplyPort,
  rules: readonly string[],
  signal: AbortSignal,
): Promise<boolean> {
  const probes = rules.map((args) => ({
    table: 'nat' as const,
    rule: { args, origin: undefined },
  }));
  return (await tryRules(port, probes, signal)) === undefined;
}

/** False where sets cannot be made: ipset or its kernel module is missing. */
async function withProbeSet(
  tools: ToolRunner,
  family: Family,
  signal: AbortSignal,
  action: (name: string) => Promise<boolean>,
): Promise<boolean> {
  const name = `SWITCHYARD-PROBE-${randomBytes(4).toString('hex')}`;
  const inet = family === 'ipv4' ? 'inet' : 'inet6';
  const run = async (...args: readonly string[]): Promise<boolean> =>
    (await tools.run('ipset', args, { timeoutMs, signal })).exitCode === 0;
  try {
    if (!(await run('create', name, 'hash:ip', 'family', inet, 'timeout', '60'))) return false;
  } catch {
    return false; // no ipset on this machine
  }
  try {
    return await action(name);
  } finally {
    await run('destroy', name);
  }
}

function compareVersions(left: readonly number[], right: readonly number[]): number {
  for (const [i, part] of right.entries()) {
    const difference = (left[i] ?? 0) - part;
    if (difference !== 0) return difference;
  }
  return 0;
}
