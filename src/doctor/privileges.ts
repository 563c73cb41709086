import type { Privileges } from '../host/privileges.ts';
import { registered } from './check.ts';
import { ok, ruleWays, warning } from './finding.ts';
import type { Finding } from './finding.ts';

const id = 'privileges';
const unseen =
  'rules, who holds sockets and locks, and what the kernel refuses cannot be seen without';

/** Whether doctor can see all that it looks for, and is where an agent would be. */
export const privileges = registered<Privileges>({
  id,
  read: async (readings) => readings.privileges(),
  judge: (found) => [rights(found), ...network(found), ...settings(found)],
});

function rights({ isRoot, mayChangeNetwork }: Privileges): Finding {
  if (isRoot && mayChangeNetwork) return ok(`${id}.rights`, 'root with CAP_NET_ADMIN');
  const text = isRoot ? 'root, but without CAP_NET_ADMIN' : 'not root';
  const cure =
    'run it as root (an agent needs root or CAP_NET_ADMIN; userspace mode without portals does not)';
  return warning(`${id}.rights`, `${text}: ${unseen}`, cure);
}

function network({ sharesNetworkOfInit }: Privileges): readonly Finding[] {
  if (sharesNetworkOfInit === undefined) return [];
  const name = `${id}.network`;
  if (sharesNetworkOfInit) return [ok(name, 'in the network namespace of process 1', ruleWays)];
  const text = 'in another network namespace than process 1: what is told here may not be the node';
  return [warning(name, text, 'run it on the host; in a pod, with hostNetwork: true', ruleWays)];
}

function settings({ mayWriteSysctls, isRoot }: Privileges): readonly Finding[] {
  const name = `${id}.sysctls`;
  if (mayWriteSysctls) return [ok(name, 'kernel settings can be written', ruleWays)];
  if (!isRoot) return [];
  // What is not as it has to be is told by the settings themselves.
  const text = 'kernel settings are read-only here: they have to be right already';
  return [ok(name, text, ruleWays)];
}
