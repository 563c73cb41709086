import type { Backend } from '../backends/backend.ts';
import type { Draining } from '../backends/ipvs/drains.ts';
import type { Clock } from '../clock.ts';
import type { ProxyConfig } from '../config/proxy-config.ts';
import { SwitchyardError } from '../error.ts';
import type { NodeRecordFile } from '../host/node-record.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import type { Sysctls } from '../host/sysctl.ts';
import type { Family } from '../ip/address.ts';
import type { Log } from '../telemetry/log.ts';
import { openIptables } from './iptables-backends.ts';
import { openIpvs, prepareIpvs } from './ipvs-backends.ts';
import { allowLocalhostNodePorts } from './localhost-node-ports.ts';
import type { ReservedAddresses } from './reserved-addresses.ts';

/** What the backends of any mode need of the machine and the process. */
export interface BackendsOptions {
  readonly config: ProxyConfig;
  readonly tools: ToolRunner;
  readonly sysctls: Sysctls;
  readonly record: Pick<NodeRecordFile, 'noteFirewall' | 'read'>;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  /** Addresses of others, which ipvs mode must not take; left out: none are known. */
  readonly reserved?: Reservations | undefined;
  /** Told of the real servers that drain; for metrics. */
  readonly onDraining?: (family: Family, draining: Draining) => void;
}

/** What is said of addresses changes with `version`. */
export type Reservations = Pick<ReservedAddresses, 'reason' | 'ready' | 'version'>;

/** A family this machine can do, and what programs it. */
export interface FamilyBackend {
  readonly family: Family;
  readonly backend: Backend;
}

/** What the agent asks of a mode. */
interface ModeEntry {
  /** A backend for each family that this machine can do; throws where there is none. */
  open(options: BackendsOptions, signal: AbortSignal): Promise<readonly FamilyBackend[]>;
  /** What needs privileges and comes before the rules, for --init-only. */
  prepare(options: BackendsOptions, signal: AbortSignal): Promise<void>;
}

const modes: Readonly<Record<ProxyConfig['mode'], ModeEntry>> = {
  iptables: { open: openIptables, prepare: allowLocalhostNodePorts },
  ipvs: { open: openIpvs, prepare: prepareIpvs },
};

const firstRetryMs = 1000;
const lastRetryMs = 30_000;

/**
 * Opens the backends; as long as only what passes is in the way (another program holds the lock, a tool was killed),
 * it says so and tries again. Throws where somebody has to act.
 */
export async function openBackends(
  options: BackendsOptions,
  signal: AbortSignal,
): Promise<readonly FamilyBackend[]> {
  const { clock, log } = options;
  for (let delayMs = firstRetryMs; ; delayMs = Math.min(2 * delayMs, lastRetryMs)) {
    try {
      return await modes[options.config.mode].open(options, signal);
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

/** Does what --init-only asks of the configured mode, besides the settings that all modes share. */
export async function prepareNode(options: BackendsOptions, signal: AbortSignal): Promise<void> {
  await modes[options.config.mode].prepare(options, signal);
}
