import { BackendAround } from '../backends/backend-around.ts';
import type { Backend } from '../backends/backend.ts';
import type { ApplyPort } from '../backends/iptables/apply.ts';
import { hasLocalnetGuard, writeLocalnetGuard } from '../backends/iptables/localnet-guard.ts';
import { detectVariant, iptablesTools } from '../backends/iptables/variant.ts';
import { errorText } from '../error.ts';
import type { Sysctls } from '../host/sysctl.ts';
import { defaultLockPaths } from '../host/xtables-lock.ts';
import type { Log } from '../telemetry/log.ts';
import type { BackendsOptions } from './open-mode.ts';
import { putBack } from './mode-settings.ts';
import type { ModeSettings } from './mode-settings.ts';
import { servesLocalhostNodePorts } from './node-context.ts';

/** Lets packets with addresses of 127.0.0.0/8 be routed. */
export const localnetKey = 'net/ipv4/conf/all/route_localnet';

/**
 * What needs privileges and comes before the rules, for --init-only: the setting that makes node ports
 * answer on 127.0.0.1, after the rule without which it would open 127.0.0.0/8 to the node's neighbours.
 */
export async function allowLocalhostNodePorts(
  options: BackendsOptions,
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

/** Puts route_localnet back where another mode had set it; tells whether it is. Packets to 127.0.0.0/8 of others are safe either way. */
export async function forgoLocalhostNodePorts(settings: ModeSettings): Promise<boolean> {
  return putBack((key) => key === localnetKey, settings);
}

/** Records that KUBE-FIREWALL is going to be ours, where it is not there yet. Once a sync has made it, that cannot be told. */
export async function noteGuard(
  port: ApplyPort,
  record: BackendsOptions['record'],
  signal: AbortSignal,
): Promise<void> {
  if (!(await hasLocalnetGuard(port, signal))) await record.noteFirewall(port.iptables.variant);
}

/**
 * Lets packets to node ports of 127.0.0.1 be routed, after each full sync: never before KUBE-FIREWALL
 * is in, for the setting alone opens 127.0.0.0/8 to the node's neighbours (CVE-2020-8558).
 */
export class LocalhostNodePorts extends BackendAround {
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
    super(backend);
    this.#noteGuard = note;
    this.#sysctls = sysctls;
    this.#log = log;
  }

  override async sync(...args: Parameters<Backend['sync']>): ReturnType<Backend['sync']> {
    if (!this.#isNoted) {
      await this.#noteGuard(args[2]);
      this.#isNoted = true;
    }
    const report = await super.sync(...args);
    if (report.full) await this.#allow();
    return report;
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

/**
 * A mode whose node ports do not answer on 127.0.0.1, on a node where another one's did: route_localnet goes back before its
 * first sync, and with it KUBE-FIREWALL where that was ours alone.
 */
export class NoLocalhostNodePorts extends BackendAround {
  readonly #settings: ModeSettings;
  readonly #variant: string;
  /** Whether KUBE-FIREWALL is ours. */
  readonly #guard: { isOurs: boolean };
  #isPutBack = false;

  /** `make` is told whether KUBE-FIREWALL, where it is there, is ours to remove. */
  constructor(
    variant: string,
    settings: ModeSettings,
    make: (ownsGuard: () => boolean) => Backend,
  ) {
    const guard = { isOurs: false };
    super(make(() => guard.isOurs));
    this.#guard = guard;
    this.#variant = variant;
    this.#settings = settings;
  }

  override async sync(...args: Parameters<Backend['sync']>): ReturnType<Backend['sync']> {
    if (!this.#isPutBack) {
      this.#isPutBack = await forgoLocalhostNodePorts(this.#settings);
      const { firewalls } = await this.#settings.record.read();
      this.#guard.isOurs = this.#isPutBack && firewalls.includes(this.#variant);
    }
    return super.sync(...args);
  }
}
