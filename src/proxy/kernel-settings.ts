import type { ConntrackConfig } from '../config/proxy-config.ts';
import { errorText } from '../error.ts';
import { applyConntrackSysctls } from '../host/conntrack-sysctls.ts';
import type { Sysctls } from '../host/sysctl.ts';
import type { Log } from '../telemetry/log.ts';

/**
 * Sets the connection tracking limits and time-outs. One that cannot be set is an error in the log,
 * with its cure, and the others still are: Services work with the kernel's own values too.
 */
export async function tuneConntrack(
  config: ConntrackConfig,
  sysctls: Sysctls,
  log: Log,
): Promise<void> {
  const hint =
    'set it on the host, run privileged, or give --conntrack-max-per-core=0 and zero time-outs';
  const told = (error: unknown): void => {
    log.error({ hint }, `connection tracking setting not made: ${errorText(error)}`);
  };
  const lenient: Sysctls = {
    read: async (key) => sysctls.read(key),
    async write(key, value) {
      try {
        return await sysctls.write(key, value);
      } catch (error) {
        told(error);
        return false;
      }
    },
  };
  try {
    await applyConntrackSysctls(
      {
        maxPerCore: config.maxPerCore,
        min: config.min,
        tcpEstablishedTimeoutSeconds: seconds(config.tcpEstablishedTimeoutMs),
        tcpCloseWaitTimeoutSeconds: seconds(config.tcpCloseWaitTimeoutMs),
        tcpBeLiberal: config.tcpBeLiberal,
        udpTimeoutSeconds: seconds(config.udpTimeoutMs),
        udpStreamTimeoutSeconds: seconds(config.udpStreamTimeoutMs),
        accounting: config.accounting,
      },
      lenient,
      log,
    );
  } catch (error) {
    told(error);
  }
}

function seconds(ms: number): number {
  return Math.round(ms / 1000);
}
