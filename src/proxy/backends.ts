import type { ProxyConfig } from '../config/proxy-config.ts';
import { SwitchyardError } from '../error.ts';
import { openIptables } from './iptables-backends.ts';
import { openIpvs, prepareIpvs } from './ipvs-backends.ts';
import { allowLocalhostNodePorts, forgoLocalhostNodePorts } from './localhost-node-ports.ts';
import type { BackendsOptions, FamilyBackend, OpenMode } from './open-mode.ts';
import { openOwnPlaces } from './own-places.ts';
import { openUserspace, prepareUserspace } from './userspace-backends.ts';

/** What the agent asks of a mode. */
interface ModeEntry {
  /** A backend for each family that this machine can do; throws where there is none. */
  open(options: BackendsOptions, signal: AbortSignal): Promise<OpenMode>;
  /** What needs privileges and comes before the rules, for --init-only. */
  prepare(options: BackendsOptions, signal: AbortSignal): Promise<void>;
}

const modes: Readonly<Record<ProxyConfig['mode'], ModeEntry>> = {
  iptables: { open: inKernel(openIptables), prepare: allowLocalhostNodePorts },
  ipvs: {
    open: inKernel(openIpvs),
    prepare: async (options, signal) => {
      await prepareIpvs(options, signal);
      await forgoLocalhostNodePorts(options);
    },
  },
  userspace: {
    open: async (options, signal) =>
      options.config.userspace.portals === 'none'
        ? openOwnPlaces(options)
        : openUserspace(options, signal),
    prepare: prepareUserspace,
  },
};

/** What the kernel does goes on without us. */
function inKernel(
  open: (options: BackendsOptions, signal: AbortSignal) => Promise<readonly FamilyBackend[]>,
): ModeEntry['open'] {
  return async (options, signal) => ({
    families: await open(options, signal),
    leave: async () => {},
    close: async () => {},
  });
}

const firstRetryMs = 1000;
const lastRetryMs = 30_000;

/**
 * Opens the backends; as long as only what passes is in the way (another program holds the lock, a tool was killed),
 * it says so and tries again. Throws where somebody has to act.
 */
export async function openBackends(
  options: BackendsOptions,
  signal: AbortSignal,
): Promise<OpenMode> {
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
