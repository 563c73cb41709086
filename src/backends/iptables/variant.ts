import { SwitchyardError } from '../../error.ts';
import type { Family } from '../../ip/address.ts';
import { readSetting } from '../../host/sysctl.ts';
import type { ToolRunner } from '../../host/run-tool.ts';

/** Which kernel interface the tools speak. Rules of one are invisible to the other. */
export type Variant = 'legacy' | 'nft';

/** `[1, 8, 9]` */
export type Version = readonly [number, number, number];

/** The programs of one variant and family. */
export interface IptablesTools {
  readonly variant: Variant;
  readonly family: Family;
  readonly version: Version;
  readonly iptables: string;
  readonly restore: string;
  readonly save: string;
}

/** A variant and the reason for it, for the log and `doctor`. */
export interface VariantChoice {
  readonly variant: Variant;
  readonly reason: string;
  /** Rules that serve, in the variant that was not chosen: they stay in force beside those of this one. */
  readonly beside?: { readonly variant: Variant; readonly rules: number } | undefined;
}

/** Chains by which the kubelet, or whoever set the node up, says which variant it uses. */
const hintChains = ['KUBE-IPTABLES-HINT', 'KUBE-KUBELET-CANARY'];
const timeoutMs = 60_000;

/** The tables that the kernel has for the legacy tools. */
export type LegacyTables = Readonly<Record<Family, readonly string[]>>;

/** What was seen of one variant on this node. */
export interface VariantEvidence {
  /** A hint chain in mangle, of either family. */
  readonly hint: string | undefined;
  readonly kubeRules: number;
  readonly rules: number;
  /** Whether KUBE-SERVICES has a rule: packets to Services are looked at. */
  readonly serves: boolean;
}

/**
 * Which variant this node uses, for both families alike: a hint chain in mangle, else where more
 * rules of Kubernetes are, else where more rules are at all, else what `iptables` itself is.
 */
export async function detectVariant(
  tools: ToolRunner,
  signal: AbortSignal,
  legacyTables: () => Promise<LegacyTables> = listLegacyTables,
): Promise<VariantChoice> {
  // Asking the legacy tools about a table creates it: ask only for those the kernel lists.
  const tables = await legacyTables();
  const hasLegacy = tables.ipv4.length + tables.ipv6.length > 0;
  const soon = hasLegacy ? undefined : await servedByNft(tools, signal);
  if (soon !== undefined) return soon;
  const nft = await evidence(tools, 'nft', signal);
  const legacy = hasLegacy ? await legacyEvidence(tools, tables, nft, signal) : noEvidence;
  const choice = chooseVariant(nft, legacy) ?? (await plainVariant(tools, signal));
  const [variant, other] =
    choice.variant === 'nft' ? (['legacy', legacy] as const) : (['nft', nft] as const);
  return other.serves ? { ...choice, beside: { variant, rules: other.kubeRules } } : choice;
}

/** The rule of {@link detectVariant} over what was seen; undefined where nothing was. */
export function chooseVariant(
  nft: VariantEvidence,
  legacy: VariantEvidence,
): VariantChoice | undefined {
  if (nft.hint !== undefined)
    return { variant: 'nft', reason: `chain ${nft.hint} is in its mangle table` };
  if (legacy.hint !== undefined) {
    return { variant: 'legacy', reason: `chain ${legacy.hint} is in its mangle table` };
  }
  const counts = nft.kubeRules === legacy.kubeRules ? 'rules' : 'kubeRules';
  if (nft[counts] === legacy[counts]) return undefined;
  const variant = nft[counts] > legacy[counts] ? 'nft' : 'legacy';
  const what = counts === 'rules' ? 'rules' : 'rules of Kubernetes';
  return {
    variant,
    reason: `most ${what} are there (nft ${nft[counts]}, legacy ${legacy[counts]})`,
  };
}

/** The programs of a variant: `iptables-nft-restore`, or the plain names where those are of this variant. */
export async function iptablesTools(
  tools: ToolRunner,
  variant: Variant,
  family: Family,
  signal: AbortSignal,
): Promise<IptablesTools> {
  const base = family === 'ipv4' ? 'iptables' : 'ip6tables';
  for (const iptables of [`${base}-${variant}`, base]) {
    const found = await toolVersion(tools, iptables, signal);
    if (found?.variant !== variant) continue;
    const names = { iptables, restore: `${iptables}-restore`, save: `${iptables}-save` };
    return { variant, family, version: found.version, ...names };
  }
  throw new SwitchyardError(
    'missing',
    `neither ${base}-${variant} nor an ${base} of the ${variant} variant is here`,
    {
      hint: 'install it: apt-get install iptables, or dnf install iptables-nft iptables-legacy',
    },
  );
}

/** `-w 5` waits for the lock; the wait interval is deprecated in the legacy tools. */
export function restoreArgs(tools: IptablesTools): readonly string[] {
  const wait = tools.variant === 'nft' ? ['-w', '5', '-W', '100000'] : ['-w', '5'];
  return [...wait, '--noflush'];
}

/** Reads `iptables v1.8.9 (nf_tables)`; tools older than 1.8 name no variant and are legacy. */
export function parseVersion(text: string): { version: Version; variant: Variant } | undefined {
  const match = /tables\S* v(\d+)\.(\d+)(?:\.(\d+))?(?: \((legacy|nf_tables)\))?\s*$/m.exec(text);
  if (match === null) return undefined;
  const version = [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)] as const;
  return { version, variant: match[4] === 'nf_tables' ? 'nft' : 'legacy' };
}

/** Whether the kernel and the tools can do a family at all; the reason where not. */
export async function familySupported(
  family: Family,
  tools: ToolRunner,
  signal: AbortSignal,
  procPath = '/proc',
): Promise<{ supported: true } | { supported: false; reason: string }> {
  if (family === 'ipv6' && (await readSetting(`${procPath}/net/if_inet6`)) === undefined) {
    return { supported: false, reason: 'the kernel has no IPv6 (no /proc/net/if_inet6)' };
  }
  const base = family === 'ipv4' ? 'iptables' : 'ip6tables';
  const names = [base, `${base}-nft`, `${base}-legacy`];
  for (const name of names) {
    if ((await toolVersion(tools, name, signal)) !== undefined) return { supported: true };
  }
  return { supported: false, reason: `none of ${names.join(', ')} is on this machine` };
}

const noEvidence: VariantEvidence = { hint: undefined, kubeRules: 0, rules: 0, serves: false };

/** With the rules of a proxy before us a dump of everything is large, and where no other variant has tables it tells no more. */
async function servedByNft(
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<VariantChoice | undefined> {
  const args = ['-w', '5', '-t', 'nat', '-S', 'KUBE-SERVICES'];
  const services = await output(tools, 'iptables-nft', args, signal);
  if (!/^-A/m.test(services)) return undefined;
  return { variant: 'nft', reason: 'KUBE-SERVICES of nft serves, and there is no legacy table' };
}

async function evidence(
  tools: ToolRunner,
  variant: Variant,
  signal: AbortSignal,
  { table, families = ['ipv4', 'ipv6'] }: EvidenceScope = {},
): Promise<VariantEvidence> {
  const args = table === undefined ? [] : ['-t', table];
  const dumps = families.map(async (family) => {
    const save = `${family === 'ipv4' ? 'iptables' : 'ip6tables'}-${variant}-save`;
    return dump(tools, save, args, signal);
  });
  return countEvidence((await Promise.all(dumps)).join('\n'));
}

/** What of a variant is looked at; left out: everything. */
interface EvidenceScope {
  readonly table?: string;
  readonly families?: readonly Family[];
}

/** Where nft has nothing of Kubernetes the first table that has settles it; small ones come first. */
async function legacyEvidence(
  tools: ToolRunner,
  tables: LegacyTables,
  nft: VariantEvidence,
  signal: AbortSignal,
): Promise<VariantEvidence> {
  if (nft.kubeRules === 0 && nft.hint === undefined) {
    for (const table of ['mangle', 'filter']) {
      const families = (['ipv4', 'ipv6'] as const).filter((each) => tables[each].includes(table));
      const found = await evidence(tools, 'legacy', signal, { table, families });
      if (found.hint !== undefined || found.kubeRules > 0) return found;
    }
  }
  return evidence(tools, 'legacy', signal);
}

/** What a dump of all tables says. */
export function countEvidence(save: string): VariantEvidence {
  let table = '';
  let hint: string | undefined;
  let kubeRules = 0;
  let rules = 0;
  let serves = false;
  for (const line of save.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    else if (line.startsWith('-A')) {
      rules++;
      if (line.startsWith('-A KUBE-')) kubeRules++;
      serves ||= line.startsWith('-A KUBE-SERVICES ');
    } else if (table === 'mangle' && line.startsWith(':')) {
      hint ??= hintChains.find((chain) => line.startsWith(`:${chain} `));
    }
  }
  return { hint, kubeRules, rules, serves };
}

/** '' where the tool is not there, or has no such thing to print. */
async function output(
  tools: ToolRunner,
  tool: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  try {
    const { exitCode, stdout } = await tools.run(tool, args, { timeoutMs, signal });
    return exitCode === 0 ? stdout : '';
  } catch (error) {
    if (error instanceof SwitchyardError && error.code === 'missing') return '';
    throw error;
  }
}

/** What tools say for good of a kernel without their tables, and of rules (mostly others') that they cannot print. */
const lastingWords =
  /incompatible|not supported|not implemented|Invalid argument|No such file|does not exist|need to insmod|Can't find library|Couldn't load|Parsing nftables rule failed/i;

/**
 * '' where the tool is not there; as much as it printed where it cannot print all. Rejects, retryable, where it failed by
 * what passes (no memory, killed): taken for "no rules", that would choose the other variant, and both would be in force.
 */
async function dump(
  tools: ToolRunner,
  save: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  try {
    const { exitCode, stdout, stderr } = await tools.run(save, args, { timeoutMs, signal });
    const isThere = exitCode !== 127; // a script that looks for the tool does not find it
    if (exitCode === 0 || !isThere || lastingWords.test(stderr)) return stdout;
    const said = stderr.trim() || `exit code ${exitCode}`;
    const isForbidden = /must be root|not permitted/i.test(said);
    throw new SwitchyardError('tool', `${save} failed, and with it the choice of tools: ${said}`, {
      retryable: !isForbidden,
      hint: isForbidden
        ? 'run as root, or with CAP_NET_ADMIN'
        : `run ${save} by hand: it has to print the rules, or to say why it never can`,
    });
  } catch (error) {
    if (error instanceof SwitchyardError && error.code === 'missing') return '';
    throw error;
  }
}

/** Without a sign on the node: what `iptables` itself is, as long as the kernel has what those tools speak to. */
async function plainVariant(tools: ToolRunner, signal: AbortSignal): Promise<VariantChoice> {
  let refused: VariantChoice | undefined;
  for (const name of ['iptables', 'iptables-nft', 'iptables-legacy']) {
    const variant = (await toolVersion(tools, name, signal))?.variant;
    if (variant === undefined) continue;
    const refusal = variant === 'nft' ? await nftRefusal(tools, name, signal) : undefined;
    if (refusal === undefined) {
      const reason = refused?.reason ?? `no rules yet; ${name} is of this variant`;
      return { variant, reason };
    }
    refused ??= {
      variant,
      reason: `no rules yet, and the kernel has no nft interface: ${refusal}`,
    };
  }
  if (refused !== undefined) return refused;
  throw new SwitchyardError('missing', 'iptables is not on this machine', {
    hint: 'install it: apt-get install iptables, or dnf install iptables-nft',
  });
}

/** What nft tools say of a kernel that has no nf_tables at all. */
const noNftWords = /Failed to initialize nft|rule ?set generation|Protocol not supported/i;

/**
 * What the tools say where the kernel does not speak nft; undefined where it does. On a host the distribution has chosen tools that
 * fit its kernel. In a container image nobody has.
 */
async function nftRefusal(
  tools: ToolRunner,
  iptables: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { exitCode, stderr } = await tools.run(`${iptables}-save`, [], { timeoutMs, signal });
  return exitCode !== 0 && noNftWords.test(stderr) ? stderr.trim().split('\n')[0] : undefined;
}

async function toolVersion(
  tools: ToolRunner,
  tool: string,
  signal: AbortSignal,
): Promise<{ version: Version; variant: Variant } | undefined> {
  try {
    const { exitCode, stdout } = await tools.run(tool, ['--version'], { timeoutMs, signal });
    return exitCode === 0 ? parseVersion(stdout) : undefined;
  } catch (error) {
    if (error instanceof SwitchyardError && error.code === 'missing') return undefined;
    throw error;
  }
}

/** The tables that the kernel has for the legacy tools, of both families. */
export async function readLegacyTables(): Promise<string> {
  const { ipv4, ipv6 } = await listLegacyTables();
  return [...ipv4, ...ipv6].join('\n');
}

async function listLegacyTables(): Promise<LegacyTables> {
  const [ipv4, ipv6] = await Promise.all([
    readSetting('/proc/net/ip_tables_names'),
    readSetting('/proc/net/ip6_tables_names'),
  ]);
  return { ipv4: words(ipv4), ipv6: words(ipv6) };
}

function words(list: string | undefined): readonly string[] {
  return list?.match(/\S+/g) ?? [];
}
