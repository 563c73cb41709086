import { SwitchyardError } from '../../error.ts';
import { isLockFailure, lockError, refusalError, restoreBatch } from './apply.ts';
import type { ApplyPort } from './apply.ts';
import { diff } from './diff.ts';
import { readTables } from './monitor.ts';
import { chains, firewallRules, jumps } from './static-rules.ts';
import type { IptablesState } from './state.ts';

/**
 * Writes KUBE-FIREWALL and the jumps to it, and nothing else: what has to be in before route_localnet is
 * set, where that is done apart from the rules. A full sync finds it and leaves it in place.
 */
export async function writeLocalnetGuard(port: ApplyPort, signal: AbortSignal): Promise<void> {
  const observed = await readTables(port, signal);
  const { restore: text, origins } = diff(undefined, guardState(), '', observed);
  const refusal = await restoreBatch(port, { text, origins }, signal);
  if (refusal !== undefined) throw refusalError(port.iptables.restore, refusal);
}

/** Whether KUBE-FIREWALL exists. Rejects, retryable, where that cannot be told just now. */
export async function hasLocalnetGuard(port: ApplyPort, signal: AbortSignal): Promise<boolean> {
  const { iptables } = port.iptables;
  const args = ['-w', '5', '-S', chains.firewall];
  const result = await port.tools.run(iptables, args, { timeoutMs: 60_000, signal });
  // The chain is named first, also where a rule in it cannot be printed.
  if (result.exitCode === 0 || result.stdout.startsWith(`-N ${chains.firewall}`)) return true;
  if (result.exitCode === 1) return false;
  if (isLockFailure(result)) throw await lockError(port, iptables, result);
  const words = result.stderr.trim() || `exit code ${result.exitCode}`;
  throw new SwitchyardError('tool', `${iptables} cannot look for ${chains.firewall}: ${words}`, {
    retryable: true,
  });
}

function guardState(): IptablesState {
  const { firewall } = chains;
  const chain = { name: firewall, role: 'root', rules: firewallRules() } as const;
  return {
    family: 'ipv4',
    tables: { filter: new Map([[firewall, chain]]), nat: new Map(), mangle: new Map() },
    jumps: jumps(true).filter(({ to }) => to === firewall),
    sets: new Map(),
  };
}
