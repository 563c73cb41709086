import { randomBytes } from 'node:crypto';
import type { Backend } from '../backends/backend.ts';
import { IptablesBackend } from '../backends/iptables/backend.ts';
import { Lowering } from '../backends/iptables/lower.ts';
import { detectVariant, familySupported, iptablesTools } from '../backends/iptables/variant.ts';
import type { Clock } from '../clock.ts';
import type { ProxyConfig } from '../config/proxy-config.ts';
import { SwitchyardError, errorText } from '../error.ts';
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
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
}

/** A family this machine can do, and what programs it. */
export interface FamilyBackend {
  readonly family: Family;
  readonly backend: Backend;
}

const liberalKey = 'net/netfilter/nf_conntrack_tcp_be_liberal';
const localnetKey = 'net/ipv4/conf/all/route_localnet';

/** The kernel settings that need privileges and are made before rules: for --init-only. */
export async function allowLocalhostNodePorts(
  config: ProxyConfig,
  sysctls: Sysctls,
): Promise<void> {
  if (servesLocalhostNodePorts(config, 'ipv4')) await sysctls.write(localnetKey, '1');
}

/** A backend for each family that kernel and tools can do; throws where there is none at all. */
export async function openIptables(
  options: IptablesOptions,
  signal: AbortSignal,
): Promise<readonly FamilyBackend[]> {
  const { tools, log } = options;
  const families: Family[] = [];
  const reasons: string[] = [];
  for (const family of ['ipv4', 'ipv6'] as const) {
    const answer = await familySupported(family, tools, signal);
    if (answer.supported) families.push(family);
    else {
      reasons.push(answer.reason);
      log.info({ family, reason: answer.reason }, `${familyLabel(family)} is not used`);
    }
  }
  if (families.length === 0) {
    throw new SwitchyardError('missing', `mode iptables cannot be used: ${reasons.join('; ')}`, {
      hint: 'install it: apt-get install iptables, or dnf install iptables-nft',
    });
  }
  const choice = await detectVariant(tools, signal);
  log.info(choice, `iptables tools of variant ${choice.variant}`);
  return Promise.all(
    families.map(async (family) => openFamilyBackend(family, choice.variant, options, signal)),
  );
}

async function openFamilyBackend(
  family: Family,
  variant: 'legacy' | 'nft',
  options: IptablesOptions,
  signal: AbortSignal,
): Promise<FamilyBackend> {
  const { config, tools, sysctls, clock, env, log } = options;
  const iptables = await iptablesTools(tools, variant, family, signal);
  const lockPaths = defaultLockPaths(env);
  const features = await probeFeatures({ tools, iptables, log, lockPaths }, signal);
  log.info({ family, features }, 'features of kernel and tools');
  const localhostNodePorts = servesLocalhostNodePorts(config, family);
  const lowering = new Lowering({
    features,
    masqueradeMark: 2 ** config.masqueradeBit,
    localhostNodePorts,
    conntrackBeLiberal: !['0', undefined].includes(await sysctls.read(liberalKey)),
  });
  const instanceId = randomBytes(4).toString('hex');
  const backend = new IptablesBackend({
    tools,
    iptables,
    log,
    lockPaths,
    lowering,
    clock,
    instanceId,
  });
  return {
    family,
    backend: localhostNodePorts ? new LocalhostNodePorts(backend, sysctls, log) : backend,
  };
}

/**
 * Lets packets to node ports of 127.0.0.1 be routed, after each full sync: never before KUBE-FIREWALL
 * is in, for the setting alone opens 127.0.0.0/8 to the node's neighbours (CVE-2020-8558).
 */
class LocalhostNodePorts implements Backend {
  readonly #backend: Backend;
  readonly #sysctls: Sysctls;
  readonly #log: Log;

  constructor(backend: Backend, sysctls: Sysctls, log: Log) {
    this.#backend = backend;
    this.#sysctls = sysctls;
    this.#log = log;
  }

  get mode(): Backend['mode'] {
    return this.#backend.mode;
  }

  async sync(...args: Parameters<Backend['sync']>): ReturnType<Backend['sync']> {
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
