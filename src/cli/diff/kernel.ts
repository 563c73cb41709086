import type { DesiredState } from '../../backends/desired.ts';
import type { ComparedPart } from '../../backends/compared.ts';
import { comparedRules } from '../../backends/iptables/compared-rules.ts';
import { comparedSets } from '../../backends/iptables/compared-sets.ts';
import { saveSets } from '../../backends/iptables/ipsets.ts';
import { readTables } from '../../backends/iptables/monitor.ts';
import type { Observed } from '../../backends/iptables/read.ts';
import { iptablesTools } from '../../backends/iptables/variant.ts';
import { comparedBalancing } from '../../backends/ipvs/compared-servers.ts';
import { readDevice } from '../../backends/ipvs/device.ts';
import { listServers } from '../../backends/ipvs/list-servers.ts';
import { savedMembers } from '../../backends/ipvs/ownership.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import { defaultLockPaths } from '../../host/xtables-lock.ts';
import type { Family } from '../../ip/address.ts';
import { silentLog } from '../../telemetry/log.ts';

/** What of the machine is read. */
export interface Kernel {
  readonly tools: ToolRunner;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

/** The tables of a family, as one variant of the tools shows them. */
export async function readRules(
  family: Family,
  variant: DesiredState['variant'],
  { tools, env, signal }: Kernel,
): Promise<Observed> {
  const iptables = await iptablesTools(tools, variant, family, signal);
  const port = { tools, iptables, log: silentLog, lockPaths: defaultLockPaths(env) };
  return readTables(port, signal);
}

/** All that is wanted beside all that the kernel has. `rules`: where they have been read. */
export async function compareWithKernel(
  desired: DesiredState,
  kernel: Kernel,
  rules?: Observed,
): Promise<readonly ComparedPart[]> {
  const { family, sets } = desired.rules;
  const { tools, signal } = kernel;
  const observed = rules ?? (await readRules(family, desired.variant, kernel));
  const parts = [...comparedRules(desired.rules, observed)];
  const { balancing } = desired;
  if (sets.size === 0 && balancing === undefined) return parts; // ipset may not be installed
  const saved = await saveSets(tools, signal);
  parts.push(comparedSets(desired.rules, saved, balancing === undefined));
  if (balancing === undefined) return parts;
  const servers = await listServers(family, tools, signal);
  const bound = await readDevice(family, tools, signal);
  const found = { servers, bound, sets: savedMembers(saved, family) };
  return [...parts, ...comparedBalancing(balancing, found)];
}
