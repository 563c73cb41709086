import { inspectFeatures } from '../backends/iptables/features.ts';
import { detectVariant, familySupported, iptablesTools } from '../backends/iptables/variant.ts';
import { errorText } from '../error.ts';
import { defaultLockPaths } from '../host/xtables-lock.ts';
import { familyLabel } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import type { BackendsOptions } from './open-mode.ts';
import type { FamilyBackendsOptions } from './family-backends.ts';

/**
 * For --init-only: tries in both families what rules are made of, so that the kernel loads the modules of it, connection
 * tracking's among them. An agent that follows with fewer rights could not: the legacy tools load their tables by modprobe.
 * Nothing but modules is left behind; what is missing is only told, for the agent says more about it.
 */
export async function loadRuleModules(
  options: Pick<BackendsOptions, 'tools' | 'env' | 'log'> &
    Pick<FamilyBackendsOptions, 'legacyTables'>,
  signal: AbortSignal,
): Promise<void> {
  const { tools, env, log, legacyTables } = options;
  const lockPaths = defaultLockPaths(env);
  const load = async (family: Family): Promise<void> => {
    if (!(await familySupported(family, tools, signal)).supported) return;
    const { variant } = await detectVariant(tools, signal, legacyTables);
    const iptables = await iptablesTools(tools, variant, family, signal);
    await inspectFeatures({ tools, iptables, log, lockPaths }, signal);
    log.info(
      { family, variant },
      'tried what rules are made of: the kernel has loaded its modules',
    );
  };
  for (const family of ['ipv4', 'ipv6'] as const) {
    try {
      await load(family);
    } catch (error) {
      signal.throwIfAborted();
      const what = `modules for the rules of ${familyLabel(family)} may not be loaded`;
      log.warn({ family }, `${what}: ${errorText(error)}`);
    }
  }
}
