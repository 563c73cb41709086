import { inspectFeatures } from '../backends/iptables/features.ts';
import type { FeatureReport } from '../backends/iptables/features.ts';
import { detectVariant, iptablesTools, readLegacyTables } from '../backends/iptables/variant.ts';
import type { Variant } from '../backends/iptables/variant.ts';
import { missingForIpvs } from '../backends/ipvs/preflight.ts';
import { ipv6Problem } from '../backends/ipvs/schedulers.ts';
import { usualChoice } from '../backends/ipvs/scheduling.ts';
import type { ProxyConfig } from '../config/proxy-config.ts';
import { SwitchyardError, errorText } from '../error.ts';
import { readKernelParts } from '../host/kernel-modules.ts';
import type { KernelParts } from '../host/kernel-modules.ts';
import { PrivateNetwork } from '../host/private-network.ts';
import type { Privileges } from '../host/privileges.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import { familyLabel } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import { silentLog } from '../telemetry/log.ts';
import type {
  NftReading,
  ProbeReading,
  RulesReading,
  ToolReading,
  VariantReading,
} from './readings.ts';
import { ruleFacts } from './rule-facts.ts';
import type { RuleFacts } from './rule-facts.ts';

const timeoutMs = 60_000;
const asRoot = 'run it as root';

/** Which variant an agent would choose. */
export async function readVariant(tools: ToolRunner, signal: AbortSignal): Promise<VariantReading> {
  try {
    return { kind: 'chosen', choice: await detectVariant(tools, signal) };
  } catch (error) {
    const hint = error instanceof SwitchyardError ? error.hint : undefined;
    const reason = `it is not known which variant this node uses: ${errorText(error)}`;
    return { kind: 'unknown', reason, cure: hint ?? asRoot };
  }
}

/** The rules of both variants. The legacy tools are asked only where the kernel has tables of theirs: asking would make them. */
export async function readRules(
  tools: ToolRunner,
  families: readonly Family[],
  signal: AbortSignal,
): Promise<RulesReading> {
  const unread: string[] = [];
  const variants: Variant[] = ['nft'];
  try {
    if ((await readLegacyTables()).trim() !== '') variants.push('legacy');
  } catch (error) {
    unread.push(`rules of the legacy variant: ${errorText(error)}`);
  }
  const read: RuleFacts[] = [];
  for (const variant of variants) {
    for (const family of families) {
      const answer = await dump(variant, family, tools, signal);
      if (typeof answer !== 'string') read.push(answer);
      else unread.push(`rules (${familyLabel(family)}, ${variant}): ${answer}`);
    }
  }
  return { read, unread };
}

async function dump(
  variant: Variant,
  family: Family,
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<RuleFacts | string> {
  try {
    const { save } = await iptablesTools(tools, variant, family, signal);
    const { exitCode, stdout, stderr } = await tools.run(save, [], { timeoutMs, signal });
    return exitCode === 0 ? ruleFacts(variant, family, stdout) : stderr.trim();
  } catch (error) {
    return errorText(error);
  }
}

/** Names of tables, and chains that drop what is forwarded. What is in the tables of others is not asked for: old tools fail at it. */
export async function readNftTables(tools: ToolRunner, signal: AbortSignal): Promise<NftReading> {
  try {
    const { exitCode, stdout, stderr } = await tools.run('nft', ['list', 'chains'], {
      timeoutMs,
      signal,
    });
    if (exitCode !== 0) return { kind: 'unread', why: stderr.trim() };
    return { kind: 'read', ...parseNftChains(stdout) };
  } catch (error) {
    return { kind: 'unread', why: errorText(error) };
  }
}

/** Reads `nft list chains`. */
export function parseNftChains(text: string): Omit<Extract<NftReading, { kind: 'read' }>, 'kind'> {
  const tables = new Set<string>();
  const droppingForward: string[] = [];
  let table = '';
  let chain = '';
  for (const line of text.split('\n')) {
    const [, opened] = /^table (\S+ \S+) \{/.exec(line) ?? [];
    const [, named] = /^\s+chain (\S+) \{/.exec(line) ?? [];
    if (opened !== undefined) tables.add((table = opened));
    if (named !== undefined) chain = named;
    const isDropping = /hook forward .*policy drop;/.test(line);
    // these two are those of the iptables tools, which show them better
    if (isDropping && !/^ip6? filter$/.test(table)) droppingForward.push(`${table} ${chain}`);
  }
  return { tables: [...tables], droppingForward };
}

/** What trying rules takes. */
export interface ProbeOptions {
  readonly config: ProxyConfig;
  /** Those of the machine. */
  readonly runner: ToolRunner;
  readonly privileges: Privileges;
  readonly families: readonly Family[];
  readonly variant: VariantReading;
  /** Of the iptables tools, for where nothing else tells the variant. */
  readonly tools: readonly ToolReading[];
  readonly kernel: KernelParts;
}

/**
 * Tries what the agent tries at its start, in a network namespace that nobody else is in. ipvs only where that loads no module,
 * or where its mode is what is asked about.
 */
export async function probe(options: ProbeOptions, signal: AbortSignal): Promise<ProbeReading> {
  const { privileges, families, kernel } = options;
  const variant = variantOf(options);
  if (variant === undefined) {
    return {
      kind: 'skipped',
      why: 'rules were not tried: there are no iptables tools',
      cure: 'see tool.iptables',
    };
  }
  const isPrivileged = privileges.isRoot && privileges.mayMakeNamespaces;
  let network: PrivateNetwork;
  try {
    network = await PrivateNetwork.open({ tools: options.runner, isPrivileged }, signal);
  } catch (error) {
    const hint = error instanceof SwitchyardError ? error.hint : undefined;
    return {
      kind: 'skipped',
      why: `rules were not tried: ${errorText(error)}`,
      cure: hint ?? asRoot,
    };
  }
  try {
    const { tools } = network;
    const reports = families.map(
      async (family) => [family, await tryFamily(family, variant, tools, signal)] as const,
    );
    const settled = await Promise.all(reports);
    return {
      kind: 'tried',
      byRoot: isPrivileged,
      families: new Map(settled),
      ...(await tryIpvs(options, tools, signal)),
      loaded: newModules(kernel, await readKernelParts()),
      variant,
    };
  } finally {
    await network.close();
  }
}

function variantOf({ variant, tools }: ProbeOptions): Variant | undefined {
  if (variant.kind === 'chosen') return variant.choice.variant;
  const found = tools.find((each) => each.found && each.variant !== undefined);
  return found?.found === true ? found.variant : undefined;
}

async function tryFamily(
  family: Family,
  variant: Variant,
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<FeatureReport | { readonly problem: string }> {
  try {
    const iptables = await iptablesTools(tools, variant, family, signal);
    const lockPaths = { lockFile: '/dev/null', proc: '/proc' };
    return await inspectFeatures({ tools, iptables, log: silentLog, lockPaths }, signal);
  } catch (error) {
    return { problem: errorText(error) };
  }
}

async function tryIpvs(
  { config, kernel, families }: ProbeOptions,
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<Pick<Extract<ProbeReading, { kind: 'tried' }>, 'ipvs' | 'ipvs6'>> {
  const isThere =
    kernel.loaded.has('ip_vs') ||
    kernel.builtIn.has('ip_vs') ||
    kernel.options?.get('IP_VS') === 'y';
  // Where this kernel has none, trying loads nothing either.
  const isAbsent = kernel.options !== undefined && !kernel.options.has('IP_VS');
  if (config.mode !== 'ipvs' && !isThere && !isAbsent) return { ipvs: undefined, ipvs6: undefined };
  const scheduler = usualChoice(config.ipvs.scheduler);
  const missing = await missingForIpvs({ tools, scheduler }, signal);
  const asksV6 = missing.length === 0 && families.includes('ipv6');
  return { ipvs: missing, ipvs6: asksV6 ? await ipv6Problem(tools, signal) : undefined };
}

function newModules(before: KernelParts, after: KernelParts): readonly string[] {
  return [...after.loaded].filter((name) => !before.loaded.has(name)).toSorted();
}
