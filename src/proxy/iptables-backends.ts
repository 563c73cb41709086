import { randomBytes } from 'node:crypto';
import type { Backend } from '../backends/backend.ts';
import type { ApplyPort } from '../backends/iptables/apply.ts';
import { IptablesBackend } from '../backends/iptables/backend.ts';
import { probeFeatures } from '../backends/iptables/features.ts';
import { Lowering } from '../backends/iptables/lower.ts';
import { IpvsRemains } from '../backends/ipvs/remains.ts';
import type { Sysctls } from '../host/sysctl.ts';
import { AfterIpvs } from './after-ipvs.ts';
import type { FamilyBackend } from './open-mode.ts';
import { openFamilyBackends } from './family-backends.ts';
import type { FamilyBackendsOptions } from './family-backends.ts';
import { checkAccounting, countTraffic } from './iptables-traffic.ts';
import { LocalhostNodePorts, noteGuard } from './localhost-node-ports.ts';
import { isIpvsSetting, putBack } from './mode-settings.ts';
import { servesLocalhostNodePorts } from './node-context.ts';

/**
 * A backend for each family that kernel and tools can do; why another is not used stands in the log.
 * Throws where there is none at all.
 */
export async function openIptables(
  options: FamilyBackendsOptions,
  signal: AbortSignal,
): Promise<readonly FamilyBackend[]> {
  if (options.traffic?.hasBytes) await checkAccounting(options);
  return openFamilyBackends(options, async (port) => openBackend(port, options, signal), signal);
}

/** Whether packets outside the TCP window are tracked: then no INVALID packet is dropped. */
export async function isConntrackLiberal(sysctls: Sysctls): Promise<boolean> {
  const value = await sysctls.read('net/netfilter/nf_conntrack_tcp_be_liberal');
  return !['0', undefined].includes(value);
}

/** The backend, or why there can be none for this family. */
async function openBackend(
  port: ApplyPort,
  { config, sysctls, clock, record, log, traffic }: FamilyBackendsOptions,
  signal: AbortSignal,
): Promise<Backend | string> {
  const { family } = port.iptables;
  const answer = await probeFeatures(port, signal);
  if (answer.kind === 'unusable') return answer.reason;
  const { features } = answer;
  log.info({ family, features }, 'features of kernel and tools');
  const localhostNodePorts = servesLocalhostNodePorts(config, family);
  const lowering = new Lowering({
    features,
    masqueradeMark: 2 ** config.masqueradeBit,
    localhostNodePorts,
    conntrackBeLiberal: await isConntrackLiberal(sysctls),
  });
  const instanceId = randomBytes(4).toString('hex');
  const counting = countTraffic(port, traffic);
  const backend = new AfterIpvs(
    {
      family,
      remains: new IpvsRemains({
        family,
        tools: port.tools,
        excludeCidrs: config.ipvs.excludeCidrs,
      }),
      drainMs: config.ipvs.drainMs,
      clock,
      log,
      lifetime: signal,
      onGone: async () => void (await putBack(isIpvsSetting, { sysctls, record, log })),
    },
    (hooks) => new IptablesBackend({ ...port, ...hooks, ...counting, lowering, clock, instanceId }),
  );
  if (!localhostNodePorts) return backend;
  const note = async (stop: AbortSignal): Promise<void> => noteGuard(port, record, stop);
  return new LocalhostNodePorts(backend, note, sysctls, log);
}
