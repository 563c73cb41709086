import { randomBytes } from 'node:crypto';
import type { Backend } from '../backends/backend.ts';
import type { ApplyPort } from '../backends/iptables/apply.ts';
import { IptablesBackend } from '../backends/iptables/backend.ts';
import { Lowering } from '../backends/iptables/lower.ts';
import { hasLocalnetGuard, writeLocalnetGuard } from '../backends/iptables/localnet-guard.ts';
import { detectVariant, familySupported, iptablesTools } from '../backends/iptables/variant.ts';
import type { IptablesTools, LegacyTables, VariantChoice } from '../backends/iptables/variant.ts';
import type { Clock } from '../clock.ts';
import type { ProxyConfig } from '../config/proxy-config.ts';
import { SwitchyardError, errorText } from '../error.ts';
import type { NodeRecordFile } from '../host/node-record.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import type { Sysctls } from '../host/sysctl.ts';
import { defaultLockPaths } from '../host/xtables-lock.ts';
import { familyLabel } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import type { Log } from '../telemetry/log.ts';
import { probeFeatures } from '../backends/iptables/features.ts';
import { servesLocalhostNodePorts } from './node-context.ts';

export interface IptablesOptions {
  readonly config: ProxyConfig;
  readonly tools: ToolRunner;
  readonly sysctls: Sysctls;
  readonly record: Pick<NodeRecordFile, 'noteFirewall'>;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  /** The tables that the legacy interface has; asking the tools would make them. */
  readonly legacyTables?: () => Promise<LegacyTables>;
}

/** A family this machine can do, and what programs it. */
export interface FamilyBackend {
  readonly family: Family;
  readonly backend: Backend;
}

const liberalKey = 'net/netfilter/nf_conntrack_tcp_be_liberal';
/** Lets packets with addresses of 127.0.0.0/8 be routed. */
export const localnetKey = 'net/ipv4/conf/all/route_localnet';

/**
 * What needs privileges and comes before the rules, for --init-only: the setting that makes node ports
 * answer on 127.0.0.1, after the rule without which it would open 127.0.0.0/8 to the node's neighbours.
 */
export async function allowLocalhostNodePorts(
  options: IptablesOptions,
  signal: AbortSignal,
): Promise<void> {
  const { config, tools, sysctls, env, log } = options;
  if (!servesLocalhostNodePorts(config, 'ipv4')) return;
  const { variant } = await detectVariant(tools, signal);
  const iptables = await iptablesTools(tools, variant, 'ipv4', signal);
  const port = { tools, iptables, log, lockPaths: defaultLockPaths(env) };
  await noteGuard(port, options.record, signal);
  await writeLocalnetGuard(port, signal);
  await sysctls.write(localnetKey, '1');
}

/**
 * A backend for each family that kernel and tools can do; why another is not used stands in the log.
 * Throws where there is none at all.
 */
export async function openIptables(
  options: IptablesOptions,
  signal: AbortSignal,
): Promise<readonly FamilyBackend[]> {
  const { tools, log, legacyTables } = options;
  const families: Family[] = [];
  const reasons: string[] = [];
  const leaveOut = (family: Family, reason: string, level: 'info' | 'warn'): void => {
    reasons.push(reason);
    log[level]({ family, reason }, `${familyLabel(family)} is not used: ${reason}`);
  };
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
    const { variant, reason, beside } = await detectVariant(tools, signal, legacyTables);
    log.info({ variant, reason }, `iptables tools of variant ${variant}`);
    if (beside !== undefined) warnOfOtherVariant(beside, log);
    // Both are waited for, whatever becomes of one: probing leaves nothing behind only where it ends.
    const settled = await Promise.allSettled(
      families.map(async (family) => ({
        family,
        backend: await openFamilyBackend(family, variant, options, signal),
      })),
    );
    for (const { family, backend } of settled.map(valueOf)) {
      if (typeof backend === 'string') leaveOut(family, backend, 'warn');
      else opened.push({ family, backend });
    }
  }
  if (opened.length > 0) return opened;
  throw new SwitchyardError('missing', `mode iptables cannot be used: ${reasons.join('; ')}`, {
    hint: 'install it: apt-get install iptables, or dnf install iptables-nft',
  });
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

const firstRetryMs = 1000;
const lastRetryMs = 30_000;

/**
 * Opens the backends; as long as only what passes is in the way (another program holds the lock, a tool was killed),
 * it says so and tries again. Throws where somebody has to act.
 */
export async function openIptablesPatiently(
  options: IptablesOptions,
  signal: AbortSignal,
): Promise<readonly FamilyBackend[]> {
  const { clock, log } = options;
  for (let delayMs = firstRetryMs; ; delayMs = Math.min(2 * delayMs, lastRetryMs)) {
    try {
      return await openIptables(options, signal);
    } catch (error) {
      if (!(error instanceof SwitchyardError) || !error.retryable || signal.aborted) throw error;
      log.error(
        { err: error, hint: error.hint, retryInMs: delayMs },
        `cannot start yet: ${error.message}`,
      );
      await clock.sleep(delayMs, signal);
    }
  }
}

function valueOf<T>(result: PromiseSettledResult<T>): T {
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}

/** The backend, or why there can be none for this family. */
async function openFamilyBackend(
  family: Family,
  variant: 'legacy' | 'nft',
  options: IptablesOptions,
  signal: AbortSignal,
): Promise<Backend | string> {
  const { config, tools, sysctls, clock, env, log } = options;
  const lockPaths = defaultLockPaths(env);
  const iptables = await toolsOf(family, variant, tools, signal);
  if (typeof iptables === 'string') return iptables;
  const answer = await probeFeatures({ tools, iptables, log, lockPaths }, signal);
  if (answer.kind === 'unusable') return answer.reason;
  const { features } = answer;
  log.info({ family, features }, 'features of kernel and tools');
  const localhostNodePorts = servesLocalhostNodePorts(config, family);
  const lowering = new Lowering({
    features,
    masqueradeMark: 2 ** config.masqueradeBit,
    localhostNodePorts,
    conntrackBeLiberal: !['0', undefined].includes(await sysctls.read(liberalKey)),
  });
  const instanceId = randomBytes(4).toString('hex');
  const port = { tools, iptables, log, lockPaths };
  const backend = new IptablesBackend({ ...port, lowering, clock, instanceId });
  if (!localhostNodePorts) return backend;
  const note = async (stop: AbortSignal): Promise<void> => noteGuard(port, options.record, stop);
  return new LocalhostNodePorts(backend, note, sysctls, log);
}

/** Records that KUBE-FIREWALL is going to be ours, where it is not there yet. Once a sync has made it, that cannot be told. */
async function noteGuard(
  port: ApplyPort,
  record: IptablesOptions['record'],
  signal: AbortSignal,
): Promise<void> {
  if (!(await hasLocalnetGuard(port, signal))) await record.noteFirewall(port.iptables.variant);
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

/**
 * Lets packets to node ports of 127.0.0.1 be routed, after each full sync: never before KUBE-FIREWALL
 * is in, for the setting alone opens 127.0.0.0/8 to the node's neighbours (CVE-2020-8558).
 */
class LocalhostNodePorts implements Backend {
  readonly #backend: Backend;
  readonly #noteGuard: (signal: AbortSignal) => Promise<void>;
  readonly #sysctls: Sysctls;
  readonly #log: Log;
  #isNoted = false;

  constructor(
    backend: Backend,
    note: (signal: AbortSignal) => Promise<void>,
    sysctls: Sysctls,
    log: Log,
  ) {
    this.#backend = backend;
    this.#noteGuard = note;
    this.#sysctls = sysctls;
    this.#log = log;
  }

  get mode(): Backend['mode'] {
    return this.#backend.mode;
  }

  async sync(...args: Parameters<Backend['sync']>): ReturnType<Backend['sync']> {
    if (!this.#isNoted) {
      await this.#noteGuard(args[2]);
      this.#isNoted = true;
    }
    const report = await this.#backend.sync(...args);
    if (report.full) await this.#allow();
    return report;
  }

  async audit(signal: AbortSignal): Promise<string | undefined> {
    return this.#backend.audit(signal);
  }

  invalidate(): void {
    this.#backend.invalidate();
  }

  /** Everything else works without it: a failure is told, not fatal. */
  async #allow(): Promise<void> {
    try {
      await this.#sysctls.write(localnetKey, '1');
    } catch (error) {
      this.#log.error(
        { hint: 'set it on the host, or use --iptables-localhost-nodeports=false' },
        `node ports do not answer on 127.0.0.1: ${errorText(error)}`,
      );
    }
  }
}
