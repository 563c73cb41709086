import type { Backend } from '../backends/backend.ts';
import type { ApplyPort } from '../backends/iptables/apply.ts';
import { detectVariant, familySupported, iptablesTools } from '../backends/iptables/variant.ts';
import type { IptablesTools, LegacyTables, VariantChoice } from '../backends/iptables/variant.ts';
import { SwitchyardError } from '../error.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import { defaultLockPaths } from '../host/xtables-lock.ts';
import { familyLabel } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import type { Log } from '../telemetry/log.ts';
import { AfterNftables } from './after-nftables.ts';
import type { BackendsOptions, FamilyBackend } from './open-mode.ts';

export interface FamilyBackendsOptions extends BackendsOptions {
  /** The tables that the legacy interface has; asking the tools would make them. */
  readonly legacyTables?: () => Promise<LegacyTables>;
}

/** The backend of a family whose iptables tools work, or why there can be none. */
export type OpenFamilyBackend = (port: ApplyPort) => Promise<Backend | string>;

/**
 * A backend for each family that kernel and iptables tools can do; why another is not used stands in the log.
 * Throws where there is none at all.
 */
export async function openFamilyBackends(
  options: FamilyBackendsOptions,
  open: OpenFamilyBackend,
  signal: AbortSignal,
): Promise<readonly FamilyBackend[]> {
  const { config, tools, log, legacyTables } = options;
  const families: Family[] = [];
  const reasons: string[] = [];
  const leaveOut = (family: Family, reason: string, level: 'info' | 'warn'): void => {
    reasons.push(reason);
    log[level]({ family, reason }, `${familyLabel(family)} is not used: ${reason}`);
  };
  const choosing = detectVariant(tools, signal, legacyTables);
  choosing.catch(() => undefined); // heard below, where there is a family to choose for
  const answers = await Promise.all(
    (['ipv4', 'ipv6'] as const).map(async (family) => ({
      family,
      answer: await familySupported(family, tools, signal),
    })),
  );
  for (const { family, answer } of answers) {
    if (answer.supported) families.push(family);
    else leaveOut(family, answer.reason, 'info');
  }
  const opened: FamilyBackend[] = [];
  if (families.length > 0) {
    const { variant, reason, beside } = await choosing;
    log.info({ variant, reason }, `iptables tools of variant ${variant}`);
    if (beside !== undefined) warnOfOtherVariant(beside, log);
    // Both are waited for, whatever becomes of one: probing leaves nothing behind only where it ends.
    const settled = await Promise.allSettled(
      families.map(async (family) => ({
        family,
        backend: await openWithTools(family, variant, options, open, signal),
      })),
    );
    for (const { family, backend } of settled.map(valueOf)) {
      if (typeof backend === 'string') leaveOut(family, backend, 'warn');
      else opened.push({ family, backend });
    }
  }
  if (opened.length > 0) return opened;
  throw new SwitchyardError(
    'missing',
    `mode ${config.mode} cannot be used: ${reasons.join('; ')}`,
    { hint: 'install it: apt-get install iptables, or dnf install iptables-nft' },
  );
}

async function openWithTools(
  family: Family,
  variant: 'legacy' | 'nft',
  { tools, env, log, withoutNftables }: FamilyBackendsOptions,
  open: OpenFamilyBackend,
  signal: AbortSignal,
): Promise<Backend | string> {
  const iptables = await toolsOf(family, variant, tools, signal);
  if (typeof iptables === 'string') return iptables;
  const backend = await open({ tools, iptables, log, lockPaths: defaultLockPaths(env) });
  if (typeof backend === 'string') return backend;
  return new AfterNftables(backend, family, tools, log, withoutNftables);
}

/** The kernel goes through both: what one does not translate, such as to a Service without endpoints, the other may. */
function warnOfOtherVariant(
  { variant, rules }: NonNullable<VariantChoice['beside']>,
  log: Log,
): void {
  const flush = `iptables-${variant} -w -t nat -F KUBE-SERVICES`;
  const hint =
    `take them out of use by \`${flush}\`, the same with -t filter and with ip6tables-${variant}, which interrupts nothing; ` +
    'or end the agent, run `switchyard cleanup`, which removes those of both variants, and start it again';
  log.warn(
    { variant, rules, hint },
    `${rules} rules of a service proxy are in force in the ${variant} variant too, which is not used here: they may answer with pods that are gone`,
  );
}

function valueOf<T>(result: PromiseSettledResult<T>): T {
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}

/** The programs of a family, or why there are none. */
async function toolsOf(
  family: Family,
  variant: 'legacy' | 'nft',
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<IptablesTools | string> {
  try {
    return await iptablesTools(tools, variant, family, signal);
  } catch (error) {
    if (error instanceof SwitchyardError && error.code === 'missing') return error.message;
    throw error;
  }
}
